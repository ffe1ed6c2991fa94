"""Data sets in the plane that are drawn: circles, moons, spirals, blobs, xor.

Each is a noise-free shape, its points in random order, plus Gaussian noise. The training set has
``n`` points, the test set ``n // 3`` from a random stream of its own. Points stay as drawn: none of
these sets is standardised.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initlab._base import streams
from initlab._base.spec import Call
from initlab.data.arguments import LARGEST_SAMPLE, noise_of, seed_of, whole
from initlab.data.dataset import Dataset, Matrix

Random = np.random.Generator | np.random.RandomState
Labels = NDArray[np.int64]
Shape = Callable[[int, Random], tuple[Matrix, Labels]]

# Four points in the test set: one a quadrant of xor, two a class elsewhere.
_SMALLEST_SAMPLE = 12


def circles(n: int = 300, noise: float = 0.05, seed: int = 1) -> Dataset:
    """Two concentric circles: class 0 on radius 1, class 1 on radius 0.8.

    Without arguments this is the data of the course's "Initialization" exercise, number for number:
    scikit-learn's ``make_circles`` on NumPy's legacy generator, seed 1 for the training set and
    seed 2 for the test set. Any other ``seed`` likewise gives the training set, and the one after
    it the test set. The global generator is left alone.

    Parameters
    ----------
    n
        Training points, 12 or more; ``n // 2`` of them on the outer circle.
    noise
        Standard deviation of the noise on each coordinate, 0 or more.
    seed
        Where the random numbers come from, 0 or more.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.
    """
    seed = seed_of(seed)
    # The shuffle and the noise draw from one stream in make_circles' order; its numbers follow.
    train, test = streams.legacy(seed), streams.legacy(seed + 1)
    origin = f"drawn from NumPy's legacy stream {seed}, the test set from stream {seed + 1}"
    if (n, noise, seed) == (300, 0.05, 1):
        origin = f"the data set published with the course: {origin}"
    return _dataset(
        circles, _circles, ("outer", "inner"), (train, test), origin, n=n, noise=noise, seed=seed
    )


def moons(n: int = 300, noise: float = 0.2, seed: int = 1) -> Dataset:
    """Two half circles of radius 1 that reach into each other, as in scikit-learn's ``make_moons``.

    Class 0 is the upper half of the circle around (0, 0), class 1 the lower half of the one around
    (1, 0.5). Arguments and errors as for :func:`circles`.
    """
    return _seeded(moons, _moons, ("upper", "lower"), n=n, noise=noise, seed=seed)


def spirals(n: int = 300, noise: float = 0.03, seed: int = 1) -> Dataset:
    """Two interleaved arms, each the other's mirror image through the origin.

    An arm has radius r from 0.15 to 1 at the angle 3π r, so it makes a turn and a quarter, and the
    arms run 1/3 apart along a ray. Points are spread evenly in r², which is nearly evenly along the
    arm. Arguments and errors as for :func:`circles`.
    """
    return _seeded(spirals, _spirals, ("first arm", "second arm"), n=n, noise=noise, seed=seed)


def blobs(n: int = 300, noise: float = 0.4, seed: int = 1, centers: int = 3) -> Dataset:
    """Round clouds, one a class, their centres evenly on a circle around the origin.

    Neighbouring centres are 2 apart, however many there are. Arguments and errors as for
    :func:`circles`, and:

    Parameters
    ----------
    n
        Training points, at least 12 and at least 3 a class.
    noise
        Standard deviation of a cloud along each coordinate.
    seed
        Where the random numbers come from.
    centers
        Number of classes, 2 to 100; two make a binary task.
    """
    count = whole("centers", centers, 2, 100)
    whole("n", n, max(_SMALLEST_SAMPLE, 3 * count), LARGEST_SAMPLE)

    def shape(size: int, _: Random) -> tuple[Matrix, Labels]:
        labels = np.arange(size) % count
        return _polar(1 / math.sin(math.pi / count), 2 * math.pi * labels / count), labels

    names = tuple(map(str, range(count)))
    return _seeded(blobs, shape, names, n=n, noise=noise, seed=seed, centers=count)


def xor(n: int = 300, noise: float = 0.05, seed: int = 1) -> Dataset:
    """Uniform points in the square from -1 to 1; the class tells whether the signs differ.

    Class 0 fills the quadrants where both coordinates have the same sign, class 1 the other two,
    each quadrant as many points as the next, give or take one. Noise is added after the class is
    set. Arguments and errors as for :func:`circles`.
    """
    return _seeded(xor, _quadrants, ("same signs", "opposite signs"), n=n, noise=noise, seed=seed)


def _circles(n: int, _: Random) -> tuple[Matrix, Labels]:
    labels = _halves(n)
    angle = np.concatenate(
        [np.linspace(0, 2 * np.pi, size, endpoint=False) for size in np.bincount(labels)]
    )
    return _polar(np.where(labels == 0, 1.0, 0.8), angle), labels


def _moons(n: int, _: Random) -> tuple[Matrix, Labels]:
    labels = _halves(n)
    angle = np.concatenate([np.linspace(0, np.pi, size) for size in np.bincount(labels)])
    arcs = _polar(1.0, angle)
    return np.where(labels[:, None] == 0, arcs, np.array([1.0, 0.5]) - arcs), labels


def _spirals(n: int, _: Random) -> tuple[Matrix, Labels]:
    labels = _halves(n)
    radius = np.sqrt(
        np.concatenate([np.linspace(0.15**2, 1, size) for size in np.bincount(labels)])
    )
    return _polar(radius, np.pi * (3 * radius + labels)), labels


def _quadrants(n: int, random: Random) -> tuple[Matrix, Labels]:
    quadrant = np.arange(n) % 4  # counter-clockwise
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])[quadrant]
    return signs * random.uniform(0.0, 1.0, (n, 2)), quadrant % 2


def _halves(n: int) -> Labels:
    """``n // 2`` zeros, then ones."""
    return (np.arange(n) >= n // 2).astype(np.int64)


def _polar(radius: Any, angle: NDArray[Any]) -> Matrix:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _seeded(
    make: Callable[..., Dataset], shape: Shape, classes: tuple[str, ...], **arguments: Any
) -> Dataset:
    """Draw training and test set from the two streams that follow from seed and name."""
    seed = seed_of(arguments["seed"])
    train, test = (
        streams.stream(seed, f"data {make.__name__}", part) for part in ("train", "test")
    )
    origin = f"drawn with seed {seed}, the test set from a stream of its own"
    return _dataset(make, shape, classes, (train, test), origin, **arguments)


def _dataset(
    make: Callable[..., Dataset],
    shape: Shape,
    classes: tuple[str, ...],
    random: tuple[Random, Random],
    origin: str,
    **arguments: Any,
) -> Dataset:
    n = whole("n", arguments["n"], _SMALLEST_SAMPLE, LARGEST_SAMPLE)
    noise = noise_of(arguments["noise"])
    train_x, train_y = _draw(shape, n, noise, random[0])
    test_x, test_y = _draw(shape, n // 3, noise, random[1])
    return Dataset(
        name=_spec(make, arguments | {"n": n, "noise": noise}),
        task="binary" if len(classes) == 2 else "multiclass",
        train_x=train_x,
        train_y=train_y,
        test_x=test_x,
        test_y=test_y,
        classes=classes,
        feature_names=("x1", "x2"),
        notes=(
            origin,
            f"{n} training and {n // 3} test points, Gaussian noise of std {noise:g}",
            "used as drawn, not standardised",
        ),
    )


def _draw(shape: Shape, n: int, noise: float, random: Random) -> tuple[Matrix, Labels]:
    x, y = shape(n, random)
    order = np.arange(n)
    random.shuffle(order)
    return x[order] + noise * random.standard_normal(x.shape), y[order]


def _spec(make: Callable[..., Dataset], arguments: dict[str, Any]) -> str:
    """Print the call; arguments at their defaults are left out."""
    parameters = inspect.signature(make).parameters
    given = [
        (key, int(value) if value == int(value) else value)  # 1, not 1.0
        for key, value in arguments.items()
        if value != parameters[key].default
    ]
    return str(Call(make.__name__, (), tuple(given)))

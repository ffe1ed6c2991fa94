"""Mean field theory on one core: a point at a time, and a phase diagram, beside SciPy and NumPy.

A point is all that is known of two inputs in a deep network: moments, q*, χ1, c* and both depth
scales, at weight and bias variances that no call has seen. The alternative is what one writes with
SciPy to the same accuracy: `quad` between the kinks, `dblquad` between those of both inputs,
`brentq` for both fixed points; both have to agree to 1e-8.

A phase diagram has 200 x 200 points. The alternative is the usual loop: Gauss-Hermite quadrature
with 64 nodes, or 64 x 64, and both maps iterated at each point until they stand still. It runs on
each 20th point in both directions, and its time is multiplied by 400; it has errors of its own,
which are printed, by how much q*, χ1 and c* are off where a variance is reached.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import _common  # before what follows: it limits their threads
import numpy as np
from numpy.typing import NDArray
from scipy import integrate, optimize

from initlab import activations, theory
from initlab.theory.pairs import pair

AIMS = {"point": 20, "diagram": 5}
"""ms a point and s a diagram are to take."""
POINTS = (
    ("tanh", 1.5, 0.05),
    ("tanh", 4.0, 0.3),
    ("relu", 1.5, 0.1),
    ("hardtanh", 0.9, 0.1),
    ("hardtanh", 2.0, 0.1),
    ("erf", 2.0, 0.1),
    ("gelu", 1.5, 0.1),
    ("elu", 1.2, 0.1),
    ("elu", 1.8, 0.05),
)
DIAGRAMS = ("tanh", "relu", "hardtanh", "gelu")
SIDE, EACH, NODES = 200, 20, 64

Number = Callable[[float], float]


class Scalar(NamedTuple):
    """A function of one number, its slope, and where that jumps."""

    value: Number
    slope: Number
    kinks: tuple[float, ...] = ()


def _normal(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _below(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


SCALARS = {
    "tanh": Scalar(math.tanh, lambda x: 1 - math.tanh(x) ** 2),
    "relu": Scalar(lambda x: max(x, 0.0), lambda x: 1.0 if x > 0 else 0.0, (0.0,)),
    "hardtanh": Scalar(
        lambda x: min(1.0, max(-1.0, x)), lambda x: 1.0 if abs(x) < 1 else 0.0, (-1.0, 1.0)
    ),
    "erf": Scalar(math.erf, lambda x: 2 / math.sqrt(math.pi) * math.exp(-x * x)),
    "gelu": Scalar(lambda x: x * _below(x), lambda x: _below(x) + x * _normal(x)),
    "elu": Scalar(
        lambda x: x if x > 0 else math.expm1(x), lambda x: 1.0 if x > 0 else math.exp(x), (0.0,)
    ),
}


def pieces(f: Scalar, q: float) -> list[tuple[float, float]]:
    """Return the intervals, in units of x, between the kinks and 8 standard deviations."""
    far = 8 * math.sqrt(q)
    return list(itertools.pairwise([-far, *(k for k in f.kinks if abs(k) < far), far]))


def mean(function: Number, f: Scalar, q: float) -> float:
    """Integrate with QUADPACK against the density of variance q."""
    root = math.sqrt(q)
    return sum(
        integrate.quad(
            lambda x: function(x) * _normal(x / root) / root, *ends, epsabs=1e-13, epsrel=1e-11
        )[0]
        for ends in pieces(f, q)
    )


def pair_mean(function: Number, f: Scalar, q: float, c: float) -> float:
    """Integrate the product of both with QUADPACK, twice over, against their joint density."""
    size = 2 * math.pi * q * math.sqrt(1 - c * c)
    rate = 1 / (2 * q * (1 - c * c))

    def integrand(other: float, x: float) -> float:
        exponent = -rate * (x * x - 2 * c * x * other + other * other)
        return function(x) * function(other) * math.exp(exponent) / size

    return sum(
        integrate.dblquad(integrand, *one, *two, epsabs=1e-10, epsrel=1e-10)[0]
        for one, two in itertools.product(pieces(f, q), repeat=2)
    )


def by_scipy(name: str, weight_var: float, bias_var: float) -> list[float]:
    """Return q*, χ1, V', c*, χ(c*), E[φ], E[φ²]."""
    f = SCALARS[name]

    def excess(q: float) -> float:
        return weight_var * mean(lambda x: f.value(x) ** 2, f, q) + bias_var - q

    high = 1.0
    while excess(high) > 0:
        high *= 2
    q: Any = optimize.brentq(excess, bias_var, high, xtol=1e-13)
    chi_1 = weight_var * mean(lambda x: f.slope(x) ** 2, f, q)
    slope = weight_var * mean(lambda x: x * f.value(x) * f.slope(x), f, q) / q
    c: Any = 1.0
    chi_star = chi_1
    if chi_1 > 1:

        def parted(c: float) -> float:
            return weight_var * pair_mean(f.value, f, q, c) + bias_var - c * q

        c = optimize.brentq(parted, 0, 0.99, xtol=1e-11)
        chi_star = weight_var * pair_mean(f.slope, f, q, c)
    first, second = mean(f.value, f, q), mean(lambda x: f.value(x) ** 2, f, q)
    return [q, chi_1, slope, c, chi_star, first, second]


def by_initlab(name: str, weight_var: float, bias_var: float) -> list[float]:
    """Return the same; it computes all other moments, fixed points and depth scales with it."""
    point = theory.fixed_point(name, weight_var=weight_var, bias_var=bias_var)
    assert point.q_star is not None
    assert point.chi_1 is not None
    assert point.c_star is not None
    assert point.chi_star is not None
    found = theory.moments(name, point.q_star)
    slope = next(each.slope for each in point.fixed_points if each.q == point.q_star)
    return [
        *(point.q_star, point.chi_1, slope, point.c_star, point.chi_star),
        *(found.f, found.f2),
    ]


def measure_points(rounds: int) -> None:
    """Time a new point per call, in turns, and print both."""
    rows = []
    for name, weight_var, bias_var in POINTS:
        own, other = (
            compute(name, weight_var, bias_var) for compute in (by_initlab, by_scipy)
        )  # warms up, too
        np.testing.assert_allclose(own, other, rtol=1e-8, atol=1e-10)
        fresh = itertools.count(1)

        def at_a_new_one(
            compute: Callable[..., Any],
            row: tuple[str, float, float] = (name, weight_var, bias_var),
            fresh: Iterator[int] = fresh,
        ) -> None:
            compute(row[0], row[1] * (1 + 1e-4 * next(fresh)), row[2])

        timings = _common.take_turns(
            {
                "initlab": lambda run=at_a_new_one: run(by_initlab),
                "SciPy": lambda run=at_a_new_one: run(by_scipy),
            },
            rounds,
        )
        ours, theirs = timings["initlab"], timings["SciPy"]
        rows.append(
            (
                f"{name} ({weight_var:g}, {bias_var:g})",
                "chaotic" if own[1] > 1 else "ordered",
                f"{ours.best * 1e3:.1f}",
                f"{ours.median * 1e3:.1f}",
                f"{theirs.best * 1e3:.0f}",
                f"{theirs.best / ours.best:.1f}",
            )
        )
    _common.show(
        f"moments, fixed points, c*, depth scales at a new point, best of {rounds}; "
        f"aim {AIMS['point']} ms",
        ("", "phase", "initlab, ms", "median", "SciPy, ms", "÷ initlab"),
        rows,
    )


Floats = NDArray[np.float64]


class Hermite:
    """Gauss-Hermite quadrature of an activation, for one Gaussian and for two."""

    def __init__(self, name: str, nodes: int) -> None:
        self.activation = activations.get(name)
        z, weights = np.polynomial.hermite.hermgauss(nodes)
        self.z, self.weights = math.sqrt(2) * z, weights / math.sqrt(math.pi)

    def squared(self, function: Callable[[Floats], Floats], q: float) -> float:
        """Return E[f²]."""
        return float(function(math.sqrt(q) * self.z) ** 2 @ self.weights)

    def product(self, function: Callable[[Floats], Floats], q: float, c: float) -> float:
        """Return E[f f'] at correlation c."""
        root = math.sqrt(q)
        other = root * (c * self.z[:, None] + math.sqrt(1 - c * c) * self.z)
        inner = function(other) @ self.weights
        return float((function(root * self.z) * inner) @ self.weights)

    def point(self, weight_var: float, bias_var: float) -> tuple[float, float, float]:
        """Iterate both maps until they stand still; return q*, χ1 and c*."""
        q = 1.0
        for _ in range(1000):
            before, q = q, weight_var * self.squared(self.activation, q) + bias_var
            if q > 1e8:
                return math.inf, math.nan, math.nan
            if abs(q - before) <= 1e-8 * q:
                break
        chi_1 = weight_var * self.squared(self.activation.slope, q)
        if chi_1 <= 1:
            return q, chi_1, 1.0
        c = 0.0
        for _ in range(1000):
            after = weight_var * self.product(self.activation, q, c) + bias_var
            before, c = c, min(after / q, 1.0)
            if abs(c - before) <= 1e-8:
                break
        return q, chi_1, c


def measure_diagram(name: str, each: int) -> tuple[str, ...]:
    """Time a diagram, and the loop on a part of it; return a row of the table."""
    theory.phase_diagram("sin", size=(3, 3))  # loads what it needs; its moments are its own
    started = time.perf_counter()
    diagram = theory.phase_diagram(name, size=(SIDE, SIDE))
    ours = time.perf_counter() - started
    hermite = Hermite(name, NODES)
    places = [(i, k) for i in range(each // 2, SIDE, each) for k in range(each // 2, SIDE, each)]
    started = time.perf_counter()
    loop = [
        hermite.point(float(diagram.weight_var[k]), float(diagram.bias_var[i])) for i, k in places
    ]
    theirs = (time.perf_counter() - started) * SIDE**2 / len(places)
    worst = {"initlab": [0.0, 0.0, 0.0], "loop": [0.0, 0.0, 0.0]}
    for (i, k), by_loop in zip(places, loop, strict=True):
        weight_var, bias_var = float(diagram.weight_var[k]), float(diagram.bias_var[i])
        point = theory.fixed_point(name, weight_var=weight_var, bias_var=bias_var)
        own = (diagram.q_star[i, k], diagram.chi_1[i, k], diagram.c_star[i, k])
        if point.q_star is None:
            assert math.isinf(own[0])
            continue
        for whose, found in (("initlab", own), ("loop", by_loop)):
            exact = (point.q_star, point.chi_1 or 0.0, point.c_star or 0.0)
            off = [abs(float(a) - b) for a, b in zip(found, exact, strict=True)]
            worst[whose] = [max(both) for both in zip(worst[whose], off, strict=True)]
    assert max(worst["initlab"]) < 1e-3
    return (
        name,
        f"{ours:.2f}",
        f"{theirs:.0f}",
        f"{theirs / ours:.0f}",
        " ".join(f"{number:.0e}" for number in worst["initlab"]),
        " ".join(f"{number:.0e}" for number in worst["loop"]),
    )


def measure_hermite() -> list[tuple[str, ...]]:
    """Return the errors of Gauss-Hermite quadrature at q = 1, c = 0.9."""
    rows = []
    for name in ("relu", "hardtanh", "elu", "tanh"):
        hermite, activation = Hermite(name, NODES), activations.get(name)
        exact, moments = pair(activation, 1.0, 0.1), theory.moments(name)
        first = float(activation(hermite.z) @ hermite.weights)
        errors = (
            first - moments.f,
            hermite.squared(activation, 1.0) - moments.f2,
            hermite.squared(activation.slope, 1.0) - moments.df2,
            hermite.product(activation, 1.0, 0.9) - exact.product,
            hermite.product(activation.slope, 1.0, 0.9) - exact.slope_product,
        )
        rows.append((name, *(f"{abs(error):.0e}" for error in errors)))
    return rows


if __name__ == "__main__":
    given = _common.arguments(__doc__)
    _common.pin(1)
    measure_points(1 if given.quick else 5)
    _common.show(
        f"phase diagram, {SIDE} x {SIDE}; aim {AIMS['diagram']} s; "
        "largest errors of q*, χ1, c* on the part",
        ("", "initlab, s", f"{NODES} nodes, s", "÷ initlab", "its errors", "of the loop"),
        [measure_diagram(name, 50 if given.quick else EACH) for name in DIAGRAMS],
    )
    _common.show(
        f"errors of Gauss-Hermite quadrature with {NODES} nodes, q = 1, c = 0.9",
        ("", "E[φ]", "E[φ²]", "E[φ'²]", "E[φ φ]", "E[φ' φ']"),
        measure_hermite(),
    )

"""The code that the catalogue gives for PyTorch, Keras and JAX runs, and draws what ours draws."""

import json
import math
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from initlab._base.streams import stream
from initlab.initializers import FRAMEWORKS, catalogue, get

REPEATS = 16
CASES = [(name, framework) for name in catalogue for framework in FRAMEWORKS]
# A table is looked up by row in every framework: its axes are not turned.
TABLES = {"embedding", "tied_embedding"}


def turned(name: str, framework: str) -> bool:
    """Whether the framework holds the weight as (*receptive, in, out)."""
    return framework != "pytorch" and name not in TABLES


def there(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[2:], *shape[:2][::-1])


def back(draws: np.ndarray) -> np.ndarray:
    """Turn (repeats, *receptive, in, out) to (repeats, out, in, *receptive)."""
    return np.moveaxis(draws, (-1, -2), (1, 2)) if draws.ndim > 2 else draws


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Every entry's code, run in every framework by one process."""
    folder = tmp_path_factory.mktemp("frameworks")
    jobs = [
        {
            "id": f"{name}-{framework}",
            "framework": framework,
            "code": catalogue[name].variants[framework].code,
            "shape": there(catalogue[name].shape)
            if turned(name, framework)
            else catalogue[name].shape,
            "repeats": REPEATS,
        }
        for name, framework in CASES
    ]
    jobs_file, draws_file = folder / "jobs.json", folder / "draws.npz"
    jobs_file.write_text(json.dumps(jobs), encoding="utf-8")
    script = Path(__file__).with_name("framework_code.py")
    command = [sys.executable, str(script), str(jobs_file), str(draws_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(draws_file) as arrays:
        return dict(arrays)


@cache
def ours(name: str) -> np.ndarray:
    entry = catalogue[name]
    return np.stack(
        [
            get(entry.text).sample(entry.shape, stream(0, "variants", f"{name} {repeat}"))
            for repeat in range(REPEATS)
        ]
    )


def spread(values: np.ndarray) -> float:
    """Five standard errors of the mean of independent values."""
    return 5 * float(values.std(ddof=1)) / math.sqrt(len(values))


@pytest.mark.parametrize(("name", "framework"), CASES)
def test_the_code_draws_what_ours_draws(name: str, framework: str, drawn: dict[str, np.ndarray]):
    entry, found = catalogue[name], drawn[f"{name}-{framework}"]
    assert found.dtype == np.float32, found
    theirs = back(found) if turned(name, framework) else found
    assert theirs.shape == (REPEATS, *entry.shape)
    theirs, mine = (d.reshape(REPEATS, -1).astype(np.float64) for d in (theirs, ours(name)))
    if (mine == mine[0]).all():  # nothing is drawn: the same weight, entry by entry
        np.testing.assert_allclose(theirs, mine, rtol=1e-6, atol=1e-7)
        return
    assert len(np.unique(theirs[:, :50], axis=0)) == REPEATS
    mean, std = get(entry.text).mean(entry.shape), get(entry.text).std(entry.shape)
    size = mine.std()
    # The bound is that of our own draws: where a rule fixes the sum of squares, theirs has to.
    means = mine.mean(axis=1)
    assert abs(theirs.mean() - mean) <= spread(means) + 1e-6 * size
    squares, wanted = np.mean((mine - mean) ** 2, axis=1), np.mean((theirs - mean) ** 2)
    # Without a closed form ours is measured too, and has the same error.
    expected, bound = (
        (squares.mean(), math.sqrt(2) * spread(squares))
        if std is None
        else (std**2, spread(squares))
    )
    assert abs(wanted - expected) <= bound + 1e-5 * size**2
    # The whole distribution: what Keras calls a normal one is cut, at the same std.
    picked = np.random.default_rng(0).choice(mine.shape[1], min(4000, mine.shape[1]), replace=False)
    pair = [d[:, picked].ravel().astype(np.float32) for d in (mine, theirs)]
    assert stats.ks_2samp(*pair).pvalue > 1e-6


def test_their_orthogonal_convolutions_are_orthogonal(drawn: dict[str, np.ndarray]):
    # Mean and std do not tell a convolution that keeps norms from one that does not.
    for framework in FRAMEWORKS:
        found = drawn[f"conv_orthogonal-{framework}"]
        kernel = (back(found) if turned("conv_orthogonal", framework) else found)[0]
        response = np.fft.fft2(kernel, s=(5, 5), axes=(2, 3))
        values = np.linalg.svd(np.moveaxis(response, (0, 1), (2, 3)), compute_uv=False)
        np.testing.assert_allclose(values, 1, atol=1e-5)

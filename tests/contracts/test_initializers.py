"""What every initialiser of the catalogue must hold, each shown by sampling."""

import inspect
import math
import pickle
import re

import numpy as np
import pytest
from scipy import stats

from initlab._base.errors import InvalidValueError
from initlab._base.streams import legacy, stream
from initlab.initializers import catalogue, get

_CUT_AT_2 = float(stats.truncnorm(-2, 2).stats("k")) + 3

# Every name with specs that reach each of its branches, and the kurtosis of an entry (an upper
# bound where it depends on the shape): it sets the sampling error of a variance.
SPECS = {
    "zeros": (["zeros"], 1.0),
    "ones": (["ones"], 1.0),
    "constant": (["constant(-0.25)"], 1.0),
    "normal": (["normal", "normal(std=10)", "normal(std=0.01, mean=-2)"], 3.0),
    "uniform": (["uniform", "uniform(bound=0.05)"], 1.8),
    "truncated_normal": (
        ["truncated_normal", "truncated_normal(std=0.02, cut=2, corrected=True)"],
        _CUT_AT_2,
    ),
    "lecun_normal": (["lecun_normal", "lecun_normal(gain=0.75)"], 3.0),
    "lecun_uniform": (["lecun_uniform", "lecun_uniform(gain=1.6)"], 1.8),
    "glorot_normal": (["glorot_normal", "glorot_normal(gain=1.6)"], 3.0),
    "glorot_uniform": (["glorot_uniform", "glorot_uniform(gain=0.5)"], 1.8),
    "he_normal": (
        ["he_normal", "he_normal(slope=0.5)", "he_normal(slope=0.1, mode='fan_out')"],
        3.0,
    ),
    "he_uniform": (["he_uniform", "he_uniform(slope=1, mode='fan_avg')"], 1.8),
    "variance_scaling": (
        [
            "variance_scaling(scale=2, mode='fan_out')",
            "variance_scaling(mode='fan_avg', distribution='uniform')",
            "variance_scaling(scale=0.3, distribution='truncated_normal')",
        ],
        3.0,
    ),
    "orthogonal": (["orthogonal", "orthogonal(gain=1.4142)"], 3.0),
}
ALL = [text for texts, _ in SPECS.values() for text in texts]
RANDOM = [text for text in ALL if get(text).std((4, 4)) != 0]
SHAPES = [(40, 90), (300, 7), (16, 8, 3, 3), (9, 4, 5), (6, 3, 2, 2, 2)]


def draws(text: str, shape: tuple[int, ...], at_least: int = 150_000) -> np.ndarray:
    """Draw weights of this shape until there are enough entries for a sharp estimate."""
    source = stream(0, "contract", f"{text} {shape}")
    initializer = get(text)
    count = -(-at_least // math.prod(shape))
    return np.stack([initializer.sample(shape, source) for _ in range(count)])


def test_every_entry_is_covered_here():
    assert list(SPECS) == list(catalogue)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("text", ALL)
def test_mean_and_std_meet_the_samples(text: str, shape: tuple[int, ...]):
    initializer = get(text)
    mean, std = initializer.mean(shape), initializer.std(shape)
    if std == 0:
        weight = initializer.sample(shape, stream(0, "contract"))
        np.testing.assert_array_equal(weight, np.full(shape, mean))
        return
    weights = draws(text, shape)
    kurtosis = SPECS[initializer.name][1]
    # Five standard errors: of the mean, and of the second moment about the known mean.
    assert abs(weights.mean() - mean) < 5 * std / math.sqrt(weights.size)
    variance = np.mean((weights - mean) ** 2)
    assert abs(variance / std**2 - 1) < 5 * math.sqrt((kurtosis - 1) / weights.size)


@pytest.mark.parametrize("shape", [*SHAPES, (1, 1), (1, 6), (6, 1), (0, 3), (3, 0), (2, 0, 3)])
@pytest.mark.parametrize("text", ALL)
def test_shape_and_dtype(text: str, shape: tuple[int, ...]):
    for source in (stream(1, "contract"), legacy(1)):
        weight = get(text).sample(shape, source)
        assert weight.shape == shape
        assert weight.dtype == np.float64
        assert weight.flags.c_contiguous
        assert np.isfinite(weight).all()
    assert math.isfinite(get(text).std(shape))
    assert math.isfinite(get(text).mean(shape))


@pytest.mark.parametrize("text", RANDOM)
def test_a_stream_decides_the_weight(text: str):
    initializer = get(text)
    weight = initializer.sample((5, 4), stream(7, "init", 0))
    np.testing.assert_array_equal(weight, initializer.sample((5, 4), stream(7, "init", 0)))
    for other in (stream(8, "init", 0), stream(7, "batch", 0), stream(7, "init", 1)):
        assert (weight != initializer.sample((5, 4), other)).any()


@pytest.mark.parametrize("text", RANDOM)
def test_one_stream_does_not_repeat_itself(text: str):
    source = stream(7, "init")
    first, second = (get(text).sample((5, 4), source) for _ in range(2))
    assert (first != second).any()


@pytest.mark.parametrize("text", RANDOM)
def test_streams_are_uncorrelated(text: str):
    a = get(text).sample((200, 200), stream(0, "init", 0))
    b = get(text).sample((200, 200), stream(0, "init", 1))
    # The correlation of n independent pairs has standard deviation 1 / sqrt(n).
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / 200


@pytest.mark.parametrize("text", ALL)
def test_the_global_generator_is_left_alone(text: str):
    before = np.random.get_state()  # noqa: NPY002 - the state that must not move
    get(text).sample((3, 3), stream(0, "init"))
    after = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2] == after[2]


@pytest.mark.parametrize("text", ALL)
def test_spec_reads_back(text: str):
    initializer = get(text)
    again = get(initializer.spec)
    assert again == initializer
    assert hash(again) == hash(initializer)
    assert again.spec == initializer.spec
    assert pickle.loads(pickle.dumps(initializer)) == initializer  # noqa: S301 - our own bytes
    assert get(initializer) is initializer


@pytest.mark.parametrize("name", catalogue)
def test_name_and_plain_spec(name: str):
    texts = SPECS[name][0]
    assert all(get(text).name == name for text in texts)
    required = [
        p
        for p in inspect.signature(catalogue[name].make).parameters.values()
        if p.default is p.empty
    ]
    if not required:
        assert get(name).spec == name
        assert get(f"{name}()") == get(name)


@pytest.mark.parametrize("name", catalogue)
def test_documentation_is_complete(name: str):
    entry = catalogue[name]
    for text in (entry.formula, entry.std, entry.when, entry.when_not, entry.differs):
        assert text.strip() == text != ""
        assert "\n" not in text
    assert "w " in entry.formula
    assert re.search(r"\b(19|20)\d\d\b", entry.reference)
    for library in ("PyTorch", "Keras", "JAX"):
        assert library in entry.differs
    assert entry.signature.startswith(f"{name}(")
    summary = inspect.getdoc(entry.make)
    assert summary
    assert summary.splitlines()[0].endswith(".")


@pytest.mark.parametrize("name", catalogue)
def test_unfit_arguments_are_answered_in_one_line_with_the_signature(name: str):
    for text in (f"{name}(nonsense=1)", f"{name}(1, 2, 3, 4, 5)", f"{name}(None)"):
        with pytest.raises(InvalidValueError) as caught:
            get(text)
        message = str(caught.value)
        assert "\n" not in message
        assert repr(text) in message
        assert message.endswith(f"accepted: {catalogue[name].signature}")

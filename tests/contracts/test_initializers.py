"""What every initialiser of the catalogue must hold, each shown by sampling.

Nothing is listed by hand but more texts to try: every entry is covered the day it is added, on the
shape that it names and on every other one here that it does not refuse.
"""

import inspect
import math
import pickle
import random
from functools import lru_cache

import numpy as np
import pytest
from scipy import stats

from initlab._base.errors import InvalidValueError
from initlab._base.streams import legacy, stream
from initlab.initializers import arguments, catalogue, get
from initlab.sampling import Key

# Texts that reach branches which the entry's own text does not.
MORE = {
    "constant": ["constant(-0.25)"],
    "normal": ["normal(std=10)", "normal(std=0.01, mean=-2)"],
    "uniform": ["uniform(bound=0.05)"],
    "truncated_normal": [
        "truncated_normal(std=0.02, cut=2, corrected=True)",
        "truncated_normal(std=0.5, cut=1, mean=3)",
        "truncated_normal(std=0.02, low=-2, high=2)",
        "truncated_normal(low=-2, high=0.5)",
        "truncated_normal(std=0.5, mean=-1, low=0.5, high=4)",
        "truncated_normal(std=0.5, mean=1, low=-2, high=0.25)",
    ],
    "identity": ["identity(gain=0.5)"],
    "dirac": ["dirac(groups=2, gain=3)"],
    "sparse": ["sparse(count=3, std=0.1)"],
    "lecun_normal": ["lecun_normal(gain=0.75)"],
    "lecun_uniform": ["lecun_uniform(gain=1.6)"],
    "glorot_normal": ["glorot_normal(gain=1.6)"],
    "glorot_uniform": ["glorot_uniform(gain=0.5)"],
    "he_normal": ["he_normal(slope=0.5)", "he_normal(slope=0.1, mode='fan_out')"],
    "he_uniform": ["he_uniform(slope=1, mode='fan_avg')"],
    "variance_scaling": [
        "variance_scaling(scale=2, mode='fan_out')",
        "variance_scaling(mode='fan_avg', distribution='uniform')",
        "variance_scaling(scale=0.3, distribution='truncated_normal')",
    ],
    "activation_matched": [
        "activation_matched('leaky_relu(0.2)', convention='variance')",
        "activation_matched('tanh', mode='fan_avg')",
    ],
    "autoinit": ["autoinit(input_second_moment=0.34)"],
    "orthogonal": ["orthogonal(gain=1.4142)"],
    "scaled_orthogonal": ["scaled_orthogonal(gain=0.5)"],
    "gate_orthogonal": ["gate_orthogonal(gates=3, gain=2)"],
    "delta_orthogonal": ["delta_orthogonal(gain=2)"],
    "conv_orthogonal": ["conv_orthogonal(gain=2)"],
    "fixup": ["fixup(blocks=3, layers=3)", "fixup(last=True)"],
    "rezero": ["rezero(alpha=0.1)"],
    "skipinit": ["skipinit(alpha=0.1)"],
    "mup": ["mup", "mup('input', gain=2)", "mup('readout', zero=True)"],
    "t_fixup": ["t_fixup", "t_fixup(layers=6, side='decoder')"],
    "gpt2": ["gpt2", "gpt2(std=0.1, layers=4)"],
    "depth_scaled": ["depth_scaled", "depth_scaled(layer=9, alpha=0.5)"],
    "siren": ["siren(first=True)", "siren(omega=10)"],
    "random_walk": ["random_walk('linear')"],
    "mimetic": ["mimetic('key', heads=2)", "mimetic('value')", "mimetic('output')"],
    "irnn": ["irnn(scale=0.1)"],
    "forget_bias": ["forget_bias(value=-2)"],
    "embedding": ["embedding(std=0.02)"],
    "prior_bias": ["prior_bias(prior=(1, 2, 5))"],
}
TEXTS = [text for name, entry in catalogue.items() for text in (entry.text, *MORE.get(name, ()))]
SHAPES = [(40, 90), (300, 7), (24, 24), (16, 8, 3, 3), (9, 4, 5), (6, 3, 2, 2, 2), (12,), (3,)]
SMALL = [(1, 1), (1, 6), (6, 1), (0, 3), (3, 0), (2, 0, 3), (4, 4, 0), (0, 4, 3), (0,), ()]
REPEATS = 40


@lru_cache(None)
def accepted(text: str) -> list[tuple[int, ...]]:
    """Return the shapes that an initialiser does not refuse."""
    found: list[tuple[int, ...]] = []
    for shape in (catalogue[get(text).name].shape, *SHAPES):
        try:
            get(text).mean(shape)
        except InvalidValueError:
            continue
        found.append(shape)
    return found


@lru_cache(2 * len(SHAPES))  # as many as one text has: tests run text by text
def draws(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from independent streams, (repeats, entries)."""
    sources = [stream(0, "contract", f"{text} {shape} {repeat}") for repeat in range(REPEATS)]
    return np.stack([get(text).sample(shape, source).ravel() for source in sources])


@lru_cache(2 * len(SHAPES))
def fills(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from independent keys in float32, (repeats, entries)."""
    out = np.empty((REPEATS, math.prod(shape)), np.float32)
    for repeat in range(REPEATS):
        key = Key.derive(0, f"contract {text} {shape} {repeat}")
        get(text).fill(out[repeat], key, shape=shape)
    return out


@pytest.mark.parametrize(
    ("out", "start", "message"),
    [
        (np.empty((8, 16), np.float32).T, 0, "C-contiguous"),
        (np.empty(4, np.int32), 0, "float32 array, got int32"),
        (np.empty(4), 0, "float32 array, got float64"),
        (np.empty(4, np.float32), 1.5, "start=1.5 is not a whole number"),
    ],
    ids=["transposed", "int32", "float64", "start"],
)
@pytest.mark.parametrize("name", ["normal", "zeros", "orthogonal", "sparse"])
def test_what_cannot_be_filled_is_refused(name: str, out: np.ndarray, start: float, message: str):
    with pytest.raises(InvalidValueError, match=message):
        get(name).fill(out, Key.derive(0, "w"), shape=(16, 8), start=start)  # pyright: ignore[reportArgumentType] - that is the test


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("normal(std=1e39)", (4, 4)),
        ("constant(1e39)", (4, 4)),
        ("orthogonal(gain=1e100)", (4, 4)),
        ("forget_bias(1e39)", (4,)),
        ("irnn(1e39)", (4, 4)),
        ("rezero(1e39)", (1,)),
        ("lecun_normal(gain=1e39)", (4, 4)),
        ("sparse(std=1.7e308)", (4, 400)),
    ],
)
def test_entries_beyond_float32_are_refused(text: str, shape: tuple[int, ...]):
    out = np.full(shape, 7, np.float32)
    with pytest.raises(InvalidValueError, match=r"float32|float64"):
        get(text).fill(out, Key.derive(0, "w"), shape=shape)
    assert (out == 7).all()


class Untouched:
    """A stream that refuses to give numbers."""

    def standard_normal(self, size: tuple[int, ...]) -> np.ndarray:
        raise AssertionError(size)

    def uniform(self, low: float, high: float, size: tuple[int, ...]) -> np.ndarray:
        raise AssertionError(low, high, size)


@lru_cache(None)
def is_random(text: str) -> bool:
    """Whether the stream is asked for anything."""
    try:
        get(text).sample(accepted(text)[0], Untouched())
    except AssertionError:
        return True
    return False


def five_standard_errors(values: np.ndarray) -> float:
    """Of the mean of independent values: dependence within a draw is honestly counted."""
    return 5 * float(values.std(ddof=1)) / math.sqrt(len(values))


def assert_moments(found: np.ndarray, text: str, shape: tuple[int, ...], rounding: float) -> None:
    """Hold draws, (repeats, entries), to mean and std by bounds that the draws themselves give."""
    mean, std = get(text).mean(shape), get(text).std(shape)
    means = found.mean(axis=1, dtype=np.float64)
    size = abs(mean) + (found.std(dtype=np.float64) if std is None else std)
    assert abs(means.mean() - mean) <= five_standard_errors(means) + rounding * size
    if std is not None:
        squares = np.mean((found - np.float64(mean)) ** 2, axis=1)
        bound = five_standard_errors(squares) + rounding * size**2
        assert abs(squares.mean() - std**2) <= bound


@pytest.fixture(scope="module", params=TEXTS)
def text(request: pytest.FixtureRequest) -> str:
    return request.param


def test_texts_belong_to_the_catalogue():
    assert set(MORE) <= set(catalogue)
    assert all(get(text).name == name for name, texts in MORE.items() for text in texts)


def test_mean_and_std_meet_the_samples(text: str):
    assert catalogue[get(text).name].shape in accepted(text) or text in MORE[get(text).name]
    assert accepted(text)
    for shape in accepted(text):
        assert_moments(draws(text, shape), text, shape, 1e-12)


def test_mean_and_std_meet_what_is_filled(text: str):
    for shape in accepted(text):
        assert_moments(fills(text, shape), text, shape, 1e-6)


def test_filled_and_sampled_are_distributed_alike(text: str):
    for shape in accepted(text):
        ours, theirs = (d(text, shape)[:, :2000].ravel() for d in (draws, fills))
        if is_random(text):
            # float32 on both sides, so that a point of positive mass is the same on both.
            assert stats.ks_2samp(ours.astype(np.float32), theirs).pvalue > 1e-6
        else:
            np.testing.assert_allclose(theirs, ours, rtol=1e-6, atol=1e-30)


def test_a_slice_equals_that_slice_of_the_whole(text: str):
    initializer, key = get(text), Key.derive(3, text)
    for shape in accepted(text):
        size = math.prod(shape)
        whole = np.empty(shape, np.float32)
        initializer.fill(whole, key, shape=shape)
        for start, stop in ((0, size), (0, 0), (size, size), (1, size), (size // 3, size // 2 + 1)):
            part = np.full(stop - start, np.nan, np.float32)
            initializer.fill(part, key, shape=shape, start=start)
            np.testing.assert_array_equal(
                part.view(np.uint32), whole.reshape(-1)[start:stop].view(np.uint32)
            )
        for start, count in ((-1, 1), (size, 1), (0, size + 1)):
            with pytest.raises(InvalidValueError, match=r"no slice|start=-1 is not"):
                initializer.fill(np.empty(count, np.float32), key, shape=shape, start=start)


def test_shape_and_dtype(text: str):
    for shape in (*accepted(text), *SMALL):
        try:
            mean, std = get(text).mean(shape), get(text).std(shape)
        except InvalidValueError:
            # What is refused is refused by every way of asking.
            with pytest.raises(InvalidValueError, match="shape"):
                get(text).sample(shape, stream(1, "contract"))
            continue
        assert math.isfinite(mean)
        assert std is None or (math.isfinite(std) and std >= 0)
        for source in (stream(1, "contract"), legacy(1)):
            weight = get(text).sample(shape, source)
            assert weight.shape == shape
            assert weight.dtype == np.float64
            assert weight.flags.c_contiguous
            assert np.isfinite(weight).all()


def test_a_stream_decides_the_weight(text: str):
    shape = accepted(text)[0]
    weight = get(text).sample(shape, stream(7, "init", 0))
    np.testing.assert_array_equal(weight, get(text).sample(shape, stream(7, "init", 0)))
    if not is_random(text):
        return
    for other in (stream(8, "init", 0), stream(7, "batch", 0), stream(7, "init", 1)):
        assert (weight != get(text).sample(shape, other)).any()
    source = stream(7, "init")
    first, second = (get(text).sample(shape, source) for _ in range(2))
    assert (first != second).any()


def test_streams_and_keys_are_uncorrelated(text: str):
    for shape in accepted(text)[:2] if is_random(text) else ():
        for found in (draws(text, shape), fills(text, shape)):
            centred = found - np.float64(get(text).mean(shape))
            products = np.mean(centred[::2] * centred[1::2], axis=1)
            assert abs(products.mean()) <= five_standard_errors(products)


def test_the_global_generators_are_left_alone():
    before, plain = np.random.get_state(), random.getstate()  # noqa: NPY002 - the state that must not move
    for text in TEXTS:
        shape = accepted(text)[0]
        get(text).sample(shape, stream(0, "init"))
        get(text).fill(np.empty(shape, np.float32), Key.derive(0, "w"), shape=shape)
    after = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]
    assert random.getstate() == plain


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
    assert get(catalogue[name].text).name == name
    required = [
        p
        for p in inspect.signature(catalogue[name].make).parameters.values()
        if p.default is p.empty
    ]
    if not required:
        assert get(name).spec == name
        assert get(f"{name}()") == get(name)


@pytest.mark.parametrize("name", catalogue)
@pytest.mark.parametrize("value", [10**400, 10**20, 2**53, 1e308, 1e-320])
def test_extreme_arguments_are_refused_or_stay_finite(name: str, value: float):
    entry = catalogue[name]
    for argument in inspect.signature(entry.make).parameters:
        given = {p: v for p, v in arguments(get(entry.text)).items() if v is not None}
        try:
            initializer = entry.make(**(given | {argument: value}))
            mean, std = initializer.mean(entry.shape), initializer.std(entry.shape)
        except InvalidValueError:
            continue
        assert math.isfinite(mean)
        assert std is None or math.isfinite(std)
        try:
            out = np.empty(entry.shape, np.float32)
            initializer.fill(out, Key.derive(0, "w"), shape=entry.shape)
        except InvalidValueError:
            continue
        assert np.isfinite(out).all()


@pytest.mark.parametrize("name", catalogue)
def test_unfit_arguments_are_answered_in_one_line_with_the_signature(name: str):
    for text in (f"{name}(nonsense=1)", f"{name}(1, 2, 3, 4, 5, 6, 7, 8)", f"{name}('', '')"):
        with pytest.raises(InvalidValueError) as caught:
            get(text)
        message = str(caught.value)
        assert "\n" not in message
        assert repr(text) in message
        assert message.endswith(f"accepted: {catalogue[name].signature}")

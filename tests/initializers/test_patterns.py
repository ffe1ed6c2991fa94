"""Identity, Dirac and sparse weights against PyTorch's, and what each does to a signal."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from initlab._base.errors import InvalidValueError
from initlab._base.streams import stream
from initlab.initializers import get
from initlab.sampling import Key


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (1, 5), (0, 3)])
def test_identity_is_eye(shape: tuple[int, int]):
    weight = get("identity(gain=1.5)").sample(shape, stream(0, "init"))
    np.testing.assert_array_equal(weight, 1.5 * nn.init.eye_(torch.empty(shape)).numpy())


@pytest.mark.parametrize(
    ("shape", "groups"),
    [
        ((5, 5, 3), 1),
        ((6, 4, 3, 3), 1),
        ((4, 6, 5, 3), 1),
        ((8, 2, 3, 3), 4),
        ((6, 4, 3, 1, 3), 2),
        ((6, 1, 4), 6),
        ((4, 4, 2, 2), 1),
    ],
)
def test_dirac_is_pytorchs(shape: tuple[int, ...], groups: int):
    weight = get(f"dirac(groups={groups})").sample(shape, stream(0, "init"))
    theirs = nn.init.dirac_(torch.empty(shape, dtype=torch.float64), groups=groups)
    np.testing.assert_array_equal(weight, theirs.numpy())
    # The float32 fill too, and a slice of it.
    part = np.empty(weight.size // 2, np.float32)
    get(f"dirac(groups={groups})").fill(part, Key.derive(0, "w"), shape=shape, start=1)
    np.testing.assert_array_equal(part, weight.ravel()[1 : 1 + part.size])


def test_dirac_copies_its_inputs():
    weight = torch.from_numpy(get("dirac(groups=2)").sample((6, 2, 3, 3), stream(0, "init")))
    inputs = torch.from_numpy(stream(0, "inputs").standard_normal((2, 4, 5, 5)))
    outputs = nn.functional.conv2d(inputs, weight, padding=1, groups=2)
    copied = outputs[:, [0, 1, 3, 4]]
    np.testing.assert_array_equal(copied.numpy(), inputs.numpy())
    assert not outputs[:, [2, 5]].any()


@pytest.mark.parametrize(
    ("text", "shape", "words"),
    [
        ("identity", (3, 3, 3), "dirac"),
        ("identity", (3,), "fan_out, fan_in"),
        ("dirac", (3, 3), "identity"),
        ("dirac(groups=4)", (6, 1, 3), "groups=4"),
    ],
)
def test_shapes_that_are_refused(text: str, shape: tuple[int, ...], words: str):
    for ask in (get(text).std, get(text).mean, lambda s: get(text).sample(s, stream(0, "init"))):
        with pytest.raises(InvalidValueError, match=words):
            ask(shape)


@pytest.mark.parametrize(("shape", "kept"), [((200, 90), 15), ((50, 4, 3, 3), 15), ((30, 9), 9)])
def test_each_unit_has_its_count_of_connections(shape: tuple[int, ...], kept: int):
    weight = get("sparse").sample(shape, stream(0, "init")).reshape(shape[0], -1)
    np.testing.assert_array_equal((weight != 0).sum(axis=1), np.full(shape[0], kept))
    values = weight[weight != 0]
    assert stats.kstest(values, "norm").pvalue > 1e-4


def test_every_input_is_as_likely_to_be_connected():
    rows, columns, kept = 4000, 12, 3
    weight = get(f"sparse(count={kept})").sample((rows, columns), stream(1, "init"))
    connected = weight != 0
    share = kept / columns
    error = np.sqrt(share * (1 - share) / rows)
    assert np.abs(connected.mean(axis=0) - share).max() < 5 * error
    # Pairs too: without replacement, each of the 66 has probability 3/12 · 2/11.
    pairs = (connected[:, :, None] & connected[:, None, :]).mean(axis=0)
    together = share * (kept - 1) / (columns - 1)
    bound = 5 * np.sqrt(together * (1 - together) / rows)
    assert np.abs(pairs[~np.eye(columns, dtype=bool)] - together).max() < bound


def test_pytorchs_sparse_fixes_the_outgoing_connections_instead():
    # By chance alone a unit has anything from 4 to 16 of the 40.
    generator = torch.Generator().manual_seed(0)
    theirs = nn.init.sparse_(torch.empty(64, 40), 0.75, generator=generator).numpy() != 0
    assert set(theirs.sum(axis=0)) == {16}
    assert len(set(theirs.sum(axis=1))) > 1

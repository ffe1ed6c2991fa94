"""The weights that the course prints, drawn layer by layer from NumPy's legacy stream."""

from itertools import pairwise

import numpy as np

from initlab._base.streams import legacy
from initlab.initializers import get


def layers(text: str, sizes: list[int], seed: int) -> list[np.ndarray]:
    source = legacy(seed)
    return [get(text).sample((fan_out, fan_in), source) for fan_in, fan_out in pairwise(sizes)]


def test_he_on_2_4_1():
    w1, w2 = layers("he_normal", [2, 4, 1], 3)
    printed = [
        [1.78862847, 0.43650985],
        [0.09649747, -1.8634927],
        [-0.2773882, -0.35475898],
        [-0.08274148, -0.62700068],
    ]
    np.testing.assert_allclose(w1, printed, rtol=0, atol=5.1e-9)
    printed = [[-0.03098412, -0.33744411, -0.92904268, 0.62552248]]
    np.testing.assert_allclose(w2, printed, rtol=0, atol=5.1e-9)


def test_normal_10_on_3_2_1():
    w1, w2 = layers("normal(std=10)", [3, 2, 1], 3)
    printed = [[17.88628473, 4.36509851, 0.96497468], [-18.63492703, -2.77388203, -3.54758979]]
    np.testing.assert_allclose(w1, printed, rtol=0, atol=5.1e-9)
    np.testing.assert_allclose(w2, [[-0.82741481, -6.27000677]], rtol=0, atol=5.1e-9)


def test_zeros_draw_nothing():
    source = legacy(3)
    assert not get("zeros").sample((4, 2), source).any()
    assert get("normal").sample((1, 1), source)[0, 0] == legacy(3).randn()


def test_to_the_last_bit():
    sizes = [2, 10, 5, 1]
    for text, factor in (
        ("he_normal", lambda fan_in: np.sqrt(2.0 / fan_in)),
        ("normal(std=10)", lambda _: 10),
        ("lecun_normal", lambda fan_in: np.sqrt(1.0 / fan_in)),
    ):
        source = legacy(3)
        for weight in layers(text, sizes, 3):
            expected = source.randn(*weight.shape) * factor(weight.shape[1])
            np.testing.assert_array_equal(weight, expected)


def test_a_mean_is_added_after_the_std():
    weight = get("normal(std=0.3, mean=0.7)").sample((50, 20), legacy(5))
    np.testing.assert_array_equal(weight, 0.7 + 0.3 * legacy(5).randn(50, 20))

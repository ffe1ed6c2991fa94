"""Each helper function of the exercise, against formulas written out here."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest

from initlab import course
from initlab._base.errors import InvalidValueError, UnknownNameError

Arrays = dict[str, np.ndarray]


@pytest.fixture
def parameters() -> Arrays:
    """Draw a start whose biases are not zero, so that their place in the formulas shows."""
    random = np.random.default_rng(5)
    shapes = {"W1": (4, 2), "b1": (4, 1), "W2": (3, 4), "b2": (3, 1), "W3": (1, 3), "b3": (1, 1)}
    return {name: random.standard_normal(shape) for name, shape in shapes.items()}


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    """Draw seven points with labels of both kinds."""
    random = np.random.default_rng(6)
    return random.standard_normal((2, 7)), np.array([[0, 1, 1, 0, 1, 0, 0]])


def logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def test_the_data_are_the_published_ones(circles: tuple[np.ndarray, ...]) -> None:
    loaded = course.load_dataset()
    train_x, train_y, test_x, test_y = loaded
    assert [array.shape for array in loaded] == [(2, 300), (1, 300), (2, 100), (1, 100)]
    np.testing.assert_allclose(train_x[:, 0], [-0.07741354010048114, 0.8526022642742742])
    np.testing.assert_allclose(test_x[:, 0], [-0.5242373850862546, -0.6091036148461817])
    assert "".join(map(str, train_y[0, :10])) == "1011001011"
    assert np.sum(train_x**2) == pytest.approx(249.13472743530082, rel=1e-14)
    for ours, theirs in zip(loaded, circles, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert np.issubdtype(train_y.dtype, np.integer)
    assert np.issubdtype(test_y.dtype, np.integer)


def test_the_data_are_drawn_into_the_current_axes() -> None:
    figure, (_, axes) = plt.subplots(1, 2)
    train_x, train_y, *_ = course.load_dataset()
    assert plt.gcf() is figure
    for label, points in enumerate(axes.collections):  # each class in a colour of its own
        np.testing.assert_array_equal(points.get_offsets(), train_x.T[train_y[0] == label])
    colours = [tuple(points.get_facecolor()[0]) for points in axes.collections]
    assert len(set(colours)) == 2


def test_sigmoid_and_relu_take_numbers_and_arrays() -> None:
    z = np.array([[-3.0, 0.0, 0.25], [800.0, -800.0, 2.0]])
    assert course.sigmoid(0) == 0.5
    assert course.relu(-2) == 0
    np.testing.assert_allclose(course.sigmoid(z[0]), logistic(z[0]), rtol=1e-15)
    np.testing.assert_array_equal(course.sigmoid(z)[1, :2], [1, 0])  # and no warning
    np.testing.assert_array_equal(course.relu(z), np.where(z > 0, z, 0))


def test_the_published_starts() -> None:
    he = course.initialize_parameters_he([2, 4, 1])
    np.testing.assert_allclose(
        he["W1"],
        [
            [1.78862847, 0.43650985],
            [0.09649747, -1.8634927],
            [-0.2773882, -0.35475898],
            [-0.08274148, -0.62700068],
        ],
        atol=5e-9,
    )
    np.testing.assert_allclose(
        he["W2"], [[-0.03098412, -0.33744411, -0.92904268, 0.62552248]], atol=5e-9
    )
    large = course.initialize_parameters_random([3, 2, 1])
    np.testing.assert_allclose(
        large["W1"],
        [[17.88628473, 4.36509851, 0.96497468], [-18.63492703, -2.77388203, -3.54758979]],
        atol=5e-9,
    )
    np.testing.assert_allclose(large["W2"], [[-0.82741481, -6.27000677]], atol=5e-9)


@pytest.mark.parametrize(
    ("initialize", "scale"),
    [
        (course.initialize_parameters_zeros, lambda _: 0.0),
        (course.initialize_parameters_random, lambda _: 10.0),
        (course.initialize_parameters_he, lambda fan_in: np.sqrt(2 / fan_in)),
    ],
)
@pytest.mark.parametrize("sizes", [[3, 2], [2, 10, 5, 1], [7, 1, 6, 5, 4, 3]])
def test_starts_of_any_depth(
    initialize: Callable[[list[int]], Arrays], scale: Callable[[int], float], sizes: list[int]
) -> None:
    stream = np.random.RandomState(3)
    found = initialize(sizes)
    names = [f"{kind}{layer}" for layer in range(1, len(sizes)) for kind in "Wb"]
    assert list(found) == names
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes), 1):
        expected = stream.randn(fan_out, fan_in) * scale(fan_in)
        np.testing.assert_allclose(found[f"W{layer}"], expected, rtol=1e-15)
        np.testing.assert_array_equal(found[f"b{layer}"], np.zeros((fan_out, 1)))


def test_the_forward_pass_and_what_it_leaves(
    parameters: Arrays, data: tuple[np.ndarray, np.ndarray]
) -> None:
    a3, cache = course.forward_propagation(data[0], parameters)
    p = parameters
    z1 = p["W1"] @ data[0] + p["b1"]
    a1 = np.maximum(0, z1)
    z2 = p["W2"] @ a1 + p["b2"]
    a2 = np.maximum(0, z2)
    z3 = p["W3"] @ a2 + p["b3"]
    expected = (z1, a1, p["W1"], p["b1"], z2, a2, p["W2"], p["b2"])
    expected += (z3, logistic(z3), p["W3"], p["b3"])
    assert len(cache) == len(expected)
    for ours, theirs in zip(cache, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)
    np.testing.assert_array_equal(a3, cache[9])


def test_the_loss_of_known_outputs() -> None:
    outputs, labels = np.array([[0.5, 0.25, 0.9]]), np.array([[1, 0, 1]])
    by_hand = (np.log(2) - np.log(0.75) - np.log(0.9)) / 3
    assert course.compute_loss(outputs, labels) == pytest.approx(by_hand, rel=1e-14)


def test_the_loss_of_saturated_outputs_is_the_courses() -> None:
    labels = np.array([[1, 0]])
    assert course.compute_loss(np.array([[0.0, 0.5]]), labels) == np.inf
    # A right answer at 0 or 1 makes 0 · log 0, which the course leaves out of the sum.
    assert course.compute_loss(np.array([[1.0, 0.5]]), labels) == pytest.approx(np.log(2) / 2)


def test_every_gradient_is_a_finite_difference(
    parameters: Arrays, data: tuple[np.ndarray, np.ndarray]
) -> None:
    X, Y = data
    _, cache = course.forward_propagation(X, parameters)
    names = ("z1", "a1", "W1", "b1", "z2", "a2", "W2", "b2", "z3", "a3", "W3", "b3")
    values = dict(zip(names, cache, strict=True))
    gradients = course.backward_propagation(X, Y, cache)
    order = "dz3 dW3 db3 da2 dz2 dW2 db2 da1 dz1 dW1 db1"
    assert list(gradients) == order.split()

    def loss(fixed: Arrays) -> float:
        """Recompute everything that is not fixed."""
        now = {name: values[name] for name in names if name[0] in "Wb"} | fixed
        a = X
        for layer in "123":
            z = now.get(f"z{layer}", now[f"W{layer}"] @ a + now[f"b{layer}"])
            a = now.get(f"a{layer}", np.maximum(0, z) if layer != "3" else logistic(z))
        return float(np.mean(-np.log(a) * Y - np.log(1 - a) * (1 - Y)))

    for name, gradient in gradients.items():
        at = values[name[1:]]
        assert gradient.shape == at.shape
        numerical = np.empty_like(gradient)
        for place in np.ndindex(at.shape):
            step = np.zeros_like(at)
            step[place] = 1e-6
            rise = loss({name[1:]: at + step}) - loss({name[1:]: at - step})
            numerical[place] = rise / 2e-6
        np.testing.assert_allclose(gradient, numerical, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_an_update_changes_the_dictionary_and_no_array(depth: int) -> None:
    random = np.random.default_rng(7)
    names = [f"{kind}{layer}" for layer in range(1, depth + 1) for kind in "Wb"]
    parameters = {name: random.standard_normal((2, 3)) for name in names}
    gradients = {f"d{name}": random.standard_normal((2, 3)) for name in names}
    gradients["dz1"] = np.ones(1)  # also in there, and none of its business
    old = dict(parameters)
    copies = {name: value.copy() for name, value in old.items()}
    returned = course.update_parameters(parameters, gradients, 0.5)
    assert returned is parameters
    for name in names:
        np.testing.assert_array_equal(returned[name], copies[name] - 0.5 * gradients[f"d{name}"])
        np.testing.assert_array_equal(old[name], copies[name])


def test_predictions_and_their_accuracy(
    parameters: Arrays, data: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    X, Y = data
    z3 = course.forward_propagation(X, parameters)[1][8]
    parameters["b3"] -= np.mean(z3)  # so that some outputs are above 0.5, some below
    above = course.forward_propagation(X, parameters)[0] > 0.5
    assert 0 < above.sum() < above.size
    decided = course.predict_dec(parameters, X)
    assert decided.dtype == bool
    np.testing.assert_array_equal(decided, above)
    predicted = course.predict(X, Y, parameters)
    assert predicted.shape == (1, 7)
    assert np.issubdtype(predicted.dtype, np.integer)
    np.testing.assert_array_equal(predicted, above.astype(int))
    right = sum(int(p == y) for p, y in zip(predicted[0], Y[0], strict=True))
    assert capsys.readouterr().out == f"Accuracy: {right / 7}\n"


def test_an_output_of_one_half_is_a_zero() -> None:
    parameters = course.initialize_parameters_zeros([2, 10, 5, 1])
    X = np.ones((2, 3))
    np.testing.assert_array_equal(course.forward_propagation(X, parameters)[0], [[0.5] * 3])
    assert not course.predict_dec(parameters, X).any()


def test_parameters_of_another_depth_are_refused(data: tuple[np.ndarray, np.ndarray]) -> None:
    parameters = course.initialize_parameters_he([2, 4, 1])
    expected = "parameters W1, W2, b1, b2; the network of the exercise has W1, b1, W2, b2, W3, b3"
    with pytest.raises(InvalidValueError, match=re.escape(expected)):
        course.forward_propagation(data[0], parameters)


def test_an_unknown_start_names_the_known_ones(data: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(UnknownNameError, match="unknown initialization 'zero'; did you mean zeros"):
        course.model(*data, initialization="zero")
    with pytest.raises(UnknownNameError, match="known: he, random, zeros"):
        course.model(*data, initialization="xavier")

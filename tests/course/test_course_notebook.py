"""The exercise from its first cell to its last, with what has been published of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from initlab import course

# A solved notebook as a reader of the course has it, the module's name replaced in two lines.
NOTEBOOK = """
import numpy as np
import matplotlib.pyplot as plt
import sklearn
import sklearn.datasets
from initlab.course import sigmoid, relu, compute_loss, forward_propagation, backward_propagation
from initlab.course import update_parameters, predict, load_dataset
from initlab.course import plot_decision_boundary, predict_dec

plt.rcParams['figure.figsize'] = (7.0, 4.0)
plt.rcParams['image.interpolation'] = 'nearest'
plt.rcParams['image.cmap'] = 'gray'

train_X, train_Y, test_X, test_Y = load_dataset()


def model(X, Y, learning_rate = 0.01, num_iterations = 15000, print_cost = True,
          initialization = "he"):
    grads = {}
    costs = []
    m = X.shape[1]
    layers_dims = [X.shape[0], 10, 5, 1]

    if initialization == "zeros":
        parameters = initialize_parameters_zeros(layers_dims)
    elif initialization == "random":
        parameters = initialize_parameters_random(layers_dims)
    elif initialization == "he":
        parameters = initialize_parameters_he(layers_dims)

    for i in range(0, num_iterations):
        a3, cache = forward_propagation(X, parameters)
        cost = compute_loss(a3, Y)
        grads = backward_propagation(X, Y, cache)
        parameters = update_parameters(parameters, grads, learning_rate)
        if print_cost and i % 1000 == 0:
            print("Cost after iteration {}: {}".format(i, cost))
            costs.append(cost)

    plt.plot(costs)
    plt.ylabel('cost')
    plt.xlabel('iterations (per hundreds)')
    plt.title("Learning rate =" + str(learning_rate))
    return parameters


def initialize_parameters_zeros(layers_dims):
    parameters = {}
    L = len(layers_dims)
    for l in range(1, L):
        parameters['W' + str(l)] = np.zeros((layers_dims[l], layers_dims[l - 1]))
        parameters['b' + str(l)] = np.zeros((layers_dims[l], 1))
    return parameters


def initialize_parameters_random(layers_dims):
    np.random.seed(3)
    parameters = {}
    L = len(layers_dims)
    for l in range(1, L):
        parameters['W' + str(l)] = np.random.randn(layers_dims[l], layers_dims[l - 1]) * 10
        parameters['b' + str(l)] = np.zeros((layers_dims[l], 1))
    return parameters


def initialize_parameters_he(layers_dims):
    np.random.seed(3)
    parameters = {}
    L = len(layers_dims) - 1
    for l in range(1, L + 1):
        parameters['W' + str(l)] = (np.random.randn(layers_dims[l], layers_dims[l - 1])
                                    * np.sqrt(2. / layers_dims[l - 1]))
        parameters['b' + str(l)] = np.zeros((layers_dims[l], 1))
    return parameters


import sys
np.set_printoptions(threshold=sys.maxsize)

for start in ("zeros", "random", "he"):
    parameters = model(train_X, train_Y, initialization = start)
    print ("On the train set:")
    predictions_train = predict(train_X, train_Y, parameters)
    print ("On the test set:")
    predictions_test = predict(test_X, test_Y, parameters)
    print ("predictions_train = " + str(predictions_train))
    print ("predictions_test = " + str(predictions_test))

    plt.figure()
    plt.title("Model with {} initialization".format(start))
    axes = plt.gca()
    axes.set_xlim([-1.5,1.5])
    axes.set_ylim([-1.5,1.5])
    plot_decision_boundary(lambda x: predict_dec(parameters, x.T), train_X, train_Y)
    plt.savefig(start + ".png")
"""

# Every name that the exercise imports or asks to be written.
NAMES = [
    "sigmoid",
    "relu",
    "compute_loss",
    "forward_propagation",
    "backward_propagation",
    "update_parameters",
    "predict",
    "load_dataset",
    "plot_decision_boundary",
    "predict_dec",
    "initialize_parameters_zeros",
    "initialize_parameters_random",
    "initialize_parameters_he",
    "model",
]

STARTS = ("zeros", "random", "he")
ACCURACIES = {"zeros": (0.5, 0.5), "random": (0.83, 0.86), "he": (0.9933333333333333, 0.96)}


def test_a_star_import_brings_the_exercises_names_and_no_others() -> None:
    assert sorted(course.__all__) == sorted(NAMES)
    assert all(callable(getattr(course, name)) for name in NAMES)


def printed_costs(output: str) -> dict[int, float]:
    """Read "Cost after iteration 0: ..." lines."""
    found = re.findall(r"^Cost after iteration (\d+): (\S+)$", output, re.MULTILINE)
    return {int(step): float(cost) for step, cost in found}


def printed_accuracies(output: str) -> list[float]:
    """Read "Accuracy: ..." lines."""
    return [float(each) for each in re.findall(r"^Accuracy: (\S+)$", output, re.MULTILINE)]


@pytest.fixture(scope="module")
def he_costs(circles: tuple[np.ndarray, ...]) -> dict[int, float]:
    """Train from He's start in plain NumPy, written for this test alone."""
    X, Y = circles[:2]
    m = X.shape[1]
    stream = np.random.RandomState(3)
    W1, W2, W3 = (stream.randn(o, i) * np.sqrt(2 / i) for i, o in ((2, 10), (10, 5), (5, 1)))
    b1, b2, b3 = np.zeros((10, 1)), np.zeros((5, 1)), np.zeros((1, 1))
    costs: dict[int, float] = {}
    for step in range(14001):
        a1 = np.maximum(W1 @ X + b1, 0)
        a2 = np.maximum(W2 @ a1 + b2, 0)
        a3 = 1 / (1 + np.exp(-(W3 @ a2 + b3)))
        if step % 1000 == 0:
            costs[step] = float(np.mean(-Y * np.log(a3) - (1 - Y) * np.log(1 - a3)))
        d3 = (a3 - Y) / m
        d2 = W3.T @ d3 * (a2 > 0)
        d1 = W2.T @ d2 * (a1 > 0)
        for parameter, gradient in (
            *((W3, d3 @ a2.T), (W2, d2 @ a1.T), (W1, d1 @ X.T)),
            *((b3, d3.sum(1, keepdims=True)), (b2, d2.sum(1, keepdims=True))),
            (b1, d1.sum(1, keepdims=True)),
        ):
            np.subtract(parameter, 0.01 * gradient, out=parameter)
    return costs


def check_costs(start: str, costs: dict[int, float], he_costs: dict[int, float]) -> None:
    """Hold the printed costs of a start to the published ones."""
    assert list(costs) == list(range(0, 15000, 1000))
    if start == "zeros":
        assert list(costs.values()) == pytest.approx([0.6931471805599453] * 15, rel=1e-14)
    elif start == "random":
        assert costs[0] == np.inf
        assert costs[14000] == pytest.approx(0.38278, abs=1e-3)
    else:
        assert costs[0] == pytest.approx(0.8830537463419761, rel=1e-9)
        assert costs[14000] == pytest.approx(0.07357895962677369, rel=1e-9)
        assert costs == pytest.approx(he_costs, rel=1e-9)


def test_the_notebook_runs_unchanged(tmp_path: Path, he_costs: dict[int, float]) -> None:
    script = tmp_path / "initialization.py"
    script.write_text(NOTEBOOK)
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""  # no traceback, and no warning
    outputs = re.split(r"(?=^Cost after iteration 0:)", done.stdout, flags=re.MULTILINE)[1:]
    assert len(outputs) == len(STARTS)
    for start, output in zip(STARTS, outputs, strict=True):
        check_costs(start, printed_costs(output), he_costs)
        assert printed_accuracies(output) == pytest.approx(ACCURACIES[start], abs=1e-15)
        on_train, on_test = re.findall(r"^predictions_\w+ = \[\[([^]]*)\]\]$", output, re.MULTILINE)
        assert len(on_train.split()) == 300
        assert set(on_test.split()) == ({"0"} if start == "zeros" else {"0", "1"})
    drawn = plt.imread(tmp_path / "he.png")
    assert len(np.unique(drawn.reshape(-1, drawn.shape[-1]), axis=0)) > 20  # not blank


@pytest.mark.parametrize("start", STARTS)
def test_the_ready_model_prints_what_was_published(
    start: str, capsys: pytest.CaptureFixture[str], he_costs: dict[int, float]
) -> None:
    train_x, train_y, test_x, test_y = course.load_dataset()
    parameters = course.model(train_x, train_y, initialization=start)
    output = capsys.readouterr().out
    check_costs(start, printed_costs(output), he_costs)
    assert len(output.splitlines()) == 15
    shapes = {name: value.shape for name, value in parameters.items()}
    assert list(shapes) == ["W1", "b1", "W2", "b2", "W3", "b3"]
    assert list(shapes.values()) == [(10, 2), (10, 1), (5, 10), (5, 1), (1, 5), (1, 1)]
    course.predict(train_x, train_y, parameters)
    course.predict(test_x, test_y, parameters)
    found = printed_accuracies(capsys.readouterr().out)
    assert found == pytest.approx(ACCURACIES[start], abs=1e-15)


def test_the_ready_model_can_be_silent_and_short(
    capsys: pytest.CaptureFixture[str], circles: tuple[np.ndarray, ...]
) -> None:
    X, Y = circles[:2]
    trained = course.model(X, Y, 0.05, 1, print_cost=False)
    assert capsys.readouterr().out == ""
    parameters = course.initialize_parameters_he([2, 10, 5, 1])
    gradients = course.backward_propagation(X, Y, course.forward_propagation(X, parameters)[1])
    for name, value in course.update_parameters(parameters, gradients, 0.05).items():
        np.testing.assert_allclose(trained[name], value, rtol=1e-12, atol=1e-15)

"""The helper functions of the course's "Initialization" exercise, under the names it imports.

The notebooks of the deep-learning course begin with ``from init_utils import ...``. With
``from initlab.course import ...`` in its place their code runs unchanged. The arithmetic is the
engine's; this module only translates:

- parameters are a dictionary ``W1, b1, W2, b2, ...``, ``W`` of shape ``(fan_out, fan_in)`` and
  ``b`` of shape ``(fan_out, 1)``;
- data matrices are ``(features, samples)``, labels ``(1, samples)``;
- the network is the course's: two hidden layers of ReLU units, one sigmoid output.

Two things are better behaved than the original: NumPy's global generator is left alone, and
saturated outputs raise no warnings.

Examples
--------
>>> parameters = initialize_parameters_he([2, 4, 1])
>>> parameters["W2"].round(4), parameters["b2"]
(array([[-0.031 , -0.3374, -0.929 ,  0.6255]]), array([[0.]]))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from initlab import activations, data, initializers
from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab._base.streams import legacy
from initlab.engine import losses, reference
from initlab.engine.network import Array, Layer, Network
from initlab.engine.recipe import Recipe
from initlab.engine.train import train
from initlab.report.figures import draw_boundary, draw_points

__all__ = [
    "backward_propagation",
    "compute_loss",
    "forward_propagation",
    "initialize_parameters_he",
    "initialize_parameters_random",
    "initialize_parameters_zeros",
    "load_dataset",
    "model",
    "plot_decision_boundary",
    "predict",
    "predict_dec",
    "relu",
    "sigmoid",
    "update_parameters",
]

Parameters: TypeAlias = dict[str, Array]

_LOSS = "binary_cross_entropy"
_SEED = 3
_STARTS = {"zeros": "zeros", "random": "normal(std=10)", "he": "he_normal"}
_PRINT_EVERY = 1000


def load_dataset() -> tuple[Array, NDArray[np.int64], Array, NDArray[np.int64]]:
    """Load the two circles, and draw the training set into the current axes.

    Returns
    -------
    train_X, train_Y, test_X, test_Y
        ``(2, 300)``, ``(1, 300)``, ``(2, 100)``, ``(1, 100)``; labels 0 and 1.
    """
    circles = data.load("circles")
    train_y, test_y = (np.asarray(y, np.int64) for y in (circles.train_y, circles.test_y))
    draw_points(_pyplot().gca(), circles.train_x, train_y)
    return circles.train_x.T, train_y[None, :], circles.test_x.T, test_y[None, :]


def sigmoid(x: ArrayLike) -> Any:
    """Return 1 / (1 + e^-x), elementwise."""
    return activations.get("sigmoid")(x)[()]  # [()]: a number for a number


def relu(x: ArrayLike) -> Any:
    """Return max(0, x), elementwise."""
    return activations.get("relu")(x)[()]


def initialize_parameters_zeros(layers_dims: Sequence[int]) -> Parameters:
    """Set every weight and bias to zero; ``layers_dims`` are units per layer, inputs first."""
    return _initialize("zeros", layers_dims)


def initialize_parameters_random(layers_dims: Sequence[int]) -> Parameters:
    """Draw weights as ``randn * 10`` from NumPy's legacy stream of seed 3; biases are zero."""
    return _initialize("random", layers_dims)


def initialize_parameters_he(layers_dims: Sequence[int]) -> Parameters:
    """Draw weights as ``randn * sqrt(2 / fan_in)`` from the same stream (He et al. 2015)."""
    return _initialize("he", layers_dims)


def forward_propagation(X: Array, parameters: Mapping[str, Array]) -> tuple[Array, tuple[Any, ...]]:
    """Run LINEAR → RELU → LINEAR → RELU → LINEAR → SIGMOID.

    Returns
    -------
    a3, cache
        Outputs ``(1, samples)``, and ``(z1, a1, W1, b1, z2, a2, W2, b2, z3, a3, W3, b3)``, each z
        and a ``(units, samples)``, for the backward pass.

    Raises
    ------
    InvalidValueError
        If the parameters are not those of three layers.
    """
    layers = _three_layers(parameters)
    passed = reference.forward(_network(layers), layers, np.asarray(X))
    a3 = losses.output(_LOSS, passed.logits)
    cache: list[Array] = []
    for number, (z, a) in enumerate(zip(passed.pre, (*passed.post[1:], a3), strict=True), 1):
        cache += [z, a, parameters[f"W{number}"], parameters[f"b{number}"]]
    return a3, tuple(cache)


def compute_loss(a3: Array, Y: Array) -> float:
    """Return the mean of -log(a) y - log(1 - a) (1 - y); a saturated wrong output gives inf."""
    return losses.course_cost_of_outputs(a3, Y)


def backward_propagation(X: Array, Y: Array, cache: Sequence[Any]) -> Parameters:
    """Differentiate the loss by all that :func:`forward_propagation` left in ``cache``.

    Returns
    -------
    gradients
        ``dz3, dW3, db3, da2, dz2, dW2, db2, da1, dz1, dW1, db1``, each in the shape of what the
        loss is differentiated by.
    """
    z1, a1, W1, b1, z2, a2, W2, b2, z3, _, W3, b3 = cache
    layers = _three_layers({"W1": W1, "b1": b1, "W2": W2, "b2": b2, "W3": W3, "b3": b3})
    passed = reference.Forward((z1, z2, z3), (np.asarray(X), a1, a2))
    found = reference.backward(_network(layers), _LOSS, layers, passed, np.asarray(Y))
    gradients: Parameters = {}
    for number in (3, 2, 1):
        if number < 3:
            gradients[f"da{number}"] = layers[number].weight.T @ found.deltas[number]
        gradients[f"dz{number}"] = found.deltas[number - 1]
        gradients[f"dW{number}"] = found.gradients[number - 1].weight
        gradients[f"db{number}"] = found.gradients[number - 1].bias[:, None]
    return gradients


def update_parameters(
    parameters: Parameters, grads: Mapping[str, Array], learning_rate: float
) -> Parameters:
    """Take one step of gradient descent, any depth; ``parameters`` is updated and returned."""
    for name, value in parameters.items():
        parameters[name] = value - learning_rate * grads[f"d{name}"]
    return parameters


def predict(X: Array, y: Array, parameters: Mapping[str, Array]) -> NDArray[np.int64]:
    """Predict 0 or 1 for each sample, ``(1, samples)``, and print the accuracy."""
    predictions = predict_dec(parameters, X).astype(np.int64)
    print(f"Accuracy: {np.mean(predictions == y)}")  # noqa: T201 - as the exercise does
    return predictions


def predict_dec(parameters: Mapping[str, Array], X: Array) -> NDArray[np.bool_]:
    """Tell for each sample whether the output is above 0.5, ``(1, samples)``."""
    return forward_propagation(X, parameters)[0] > 0.5


def plot_decision_boundary(
    model: Callable[[NDArray[np.float64]], ArrayLike], X: Array, y: ArrayLike
) -> None:
    """Draw what a model predicts over the plane, data on top, into the current axes.

    A title set beforehand stays; so do limits, which otherwise reach 1 beyond the data.

    Parameters
    ----------
    model
        Takes points ``(points, 2)``; returns a label each, or an output, which is rounded.
    X, y
        Data ``(2, samples)`` and one label a sample, in any shape.
    """

    def labels(points: NDArray[np.float64]) -> NDArray[np.int64]:
        outputs = np.nan_to_num(np.asarray(model(points), np.float64), nan=-1)  # drawn in grey
        return np.rint(outputs).astype(np.int64)

    axes, x = _pyplot().gca(), np.asarray(X, np.float64).T
    (left, bottom), (right, top) = x.min(axis=0) - 1, x.max(axis=0) + 1
    across = (left, right) if axes.get_autoscalex_on() else axes.get_xlim()
    up = (bottom, top) if axes.get_autoscaley_on() else axes.get_ylim()
    draw_boundary(axes, labels, x, np.ravel(y).astype(np.int64), limits=(across, up))
    axes.set(xlabel="x1", ylabel="x2")
    _show()


def model(
    X: Array,
    Y: Array,
    learning_rate: float = 0.01,
    num_iterations: int = 15000,
    print_cost: bool = True,  # noqa: FBT001, FBT002 - the exercise's signature
    initialization: str = "he",
) -> Parameters:
    """Train the course's network by full-batch gradient descent, compiled, and plot the cost.

    Parameters
    ----------
    X, Y
        Inputs and labels.
    learning_rate, num_iterations
        Step length and number of steps.
    print_cost
        Whether to print the cost before every 1000th step.
    initialization
        ``"zeros"``, ``"random"`` or ``"he"``.

    Returns
    -------
    parameters
        ``W1, b1, W2, b2, W3, b3`` after the last step.

    Raises
    ------
    UnknownNameError
        If ``initialization`` is none of the three.
    """
    network = Network((X.shape[0], 10, 5, 1))
    layers = _layers(_initialize(initialization, network.sizes))
    recipe = Recipe(
        learning_rate=learning_rate,
        steps=num_iterations,
        record_steps=tuple(range(0, num_iterations, _PRINT_EVERY)),
    )
    trained = train(network, recipe, [Layer(w[None], b[None]) for w, b in layers], X, Y)
    costs = np.asarray(trained.course_cost)[0]
    if print_cost:
        for step, cost in zip(trained.steps, costs, strict=True):
            print(f"Cost after iteration {step}: {cost}")  # noqa: T201 - as the exercise does
    _plot_costs(costs, learning_rate)
    return _parameters([Layer(w[0], b[0]) for w, b in trained.layers])


def _plot_costs(costs: NDArray[np.float64], learning_rate: float) -> None:
    axes = _pyplot().gca()
    axes.plot(costs)
    title, xlabel = f"Learning rate ={learning_rate}", "iterations (per hundreds)"
    axes.set(title=title, xlabel=xlabel, ylabel="cost")  # in the exercise's words
    _show()


def _pyplot() -> Any:
    """Import pyplot where something is drawn: that takes a while, and picks a backend."""
    import matplotlib.pyplot as plt  # noqa: PLC0415

    return plt


def _show() -> None:
    """Show the figure where it can be shown: in a window or a notebook."""
    from matplotlib.backends.registry import BackendFilter, backend_registry  # noqa: PLC0415

    cannot_show = backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)
    if _pyplot().get_backend().lower() not in cannot_show:
        _pyplot().show()


def _initialize(start: str, layers_dims: Sequence[int]) -> Parameters:
    if start not in _STARTS:
        raise UnknownNameError("initialization", start, _STARTS)
    initializer, stream = initializers.get(_STARTS[start]), legacy(_SEED)
    shapes = Network(tuple(layers_dims)).shapes
    return _parameters([Layer(initializer.sample(s, stream), np.zeros(s[0])) for s in shapes])


def _network(layers: Sequence[Layer]) -> Network:
    return Network((layers[0].weight.shape[1], *(len(layer.bias) for layer in layers)))


def _three_layers(parameters: Mapping[str, Array]) -> list[Layer]:
    expected = ("W1", "b1", "W2", "b2", "W3", "b3")
    if set(parameters) != set(expected):
        raise InvalidValueError(
            f"parameters {', '.join(sorted(parameters))}; the network of the exercise has "
            f"{', '.join(expected)}"
        )
    return _layers(parameters)


def _layers(parameters: Mapping[str, Array]) -> list[Layer]:
    """Turn the dictionary into layers, whose biases have no second axis."""
    numbers = range(1, len(parameters) // 2 + 1)
    return [Layer(parameters[f"W{n}"], np.ravel(parameters[f"b{n}"])) for n in numbers]


def _parameters(layers: Sequence[Layer]) -> Parameters:
    """Undo :func:`_layers`."""
    parameters: Parameters = {}
    for number, (weight, bias) in enumerate(layers, 1):
        parameters[f"W{number}"], parameters[f"b{number}"] = weight, bias[:, None]
    return parameters

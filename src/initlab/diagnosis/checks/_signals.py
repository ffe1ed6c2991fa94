"""What the checks of signals and gradients share: thresholds, and the finding itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from initlab.diagnosis.chains import (
    Chain,
    Mark,
    at_fault,
    chains,
    gradient_path,
    has_norm_of_its_own,
    is_critical,
)
from initlab.diagnosis.checks._code import number, redraw, times
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix, Severity
from initlab.diagnosis.layers import Layer

# With fewer layers there is no depth that anything could grow or shrink with.
FEWEST = 3
# Of E[x²] from the first to the last hidden layer, either way.
WARNING, ERROR = 50.0, 1e4
# Of the squared gradient norm; training bears more of it, as each layer's step can be scaled.
GRADIENT_WARNING, GRADIENT_ERROR = 1e3, 1e6
# Over many layers, so little more or less than the right variance adds up.
_OFF = 1.2


def has_depth(evidence: Evidence) -> bool:
    """Tell whether the model has layers one after the other, without normalisation between."""
    return any(len(chain.steps) >= FEWEST for chain in chains(evidence))


def has_gradient_path(evidence: Evidence) -> bool:
    """Tell whether the gradient was measured at more than a few layers."""
    return len(gradient_path(evidence)) > FEWEST


def severity_of(factor: float, warning: float, error: float) -> Severity:
    """Return how bad a factor (or its inverse) is."""
    size = factor if factor >= 1 else 1 / max(factor, 1e-300)
    return "error" if size >= error else "warning" if size >= warning else "note"


def worst(evidence: Evidence, *, larger: bool) -> Chain | None:
    """Return the chain that grows, or shrinks, the most, if that matters."""
    found = [chain for chain in chains(evidence) if len(chain.steps) >= FEWEST]
    if not found:
        return None
    chain = (max if larger else min)(found, key=lambda one: one.gain)
    far = chain.gain >= WARNING if larger else chain.gain <= 1 / WARNING
    return chain if far else None


def _by_chance(evidence: Evidence, chain: Chain) -> bool:
    """Tell whether a chain strays as narrow layers do, or shrinks as tanh does at its edge.

    The second moment of n units strays by √(5/n) a layer, relative to its mean (with ReLU).
    """
    layers = [evidence.layer_of[step.node] for step in chain.steps]
    spread = math.sqrt(sum(5 / max(layer.parts[0].fan_out, 1.0) for layer in layers))
    strays = abs(math.log(max(chain.gain, 1e-300))) < math.log(WARNING) + 3 * spread
    alike = abs(math.log(max(chain.predicted, 1e-300))) < math.log(WARNING) / 2
    own = all(is_critical(layer) or has_norm_of_its_own(evidence, layer) for layer in layers)
    return (strays and alike) or own


def layers_at_fault(evidence: Evidence, *, larger: bool) -> list[Layer]:
    """Return the layers of all chains whose scale is off towards one side, in execution order."""
    names = {
        layer.name
        for chain in chains(evidence)
        for layer, _ in at_fault(evidence, chain, larger=larger, least=_OFF)
    }
    return [layer for layer in evidence.layers if layer.name in names]


def forward(evidence: Evidence, code: str, *, larger: bool) -> Iterator[Finding]:
    """Yield the finding that a signal grows, or shrinks, with depth."""
    chain = worst(evidence, larger=larger)
    if chain is None or _by_chance(evidence, chain):
        return
    layers = [
        layer
        for layer in layers_at_fault(evidence, larger=larger)
        if layer.name not in evidence.pretrained
    ]
    steps = [evidence.layer_of[step.node].name for step in chain.steps]
    extreme = (max if larger else min)(chain.steps, key=lambda step: step.gain)
    verb = "grows" if larger else "shrinks"
    names = tuple(layer.name for layer in layers) or tuple(
        evidence.layer_of[step.node].name
        for step in chain.steps
        if (step.gain > 2 if larger else step.gain < 0.5)
    )
    if layers:
        extreme_ratio = (max if larger else min)(layer.ratio for layer in layers)
        much = f"{extreme_ratio:.3g}"
        share = f"up to {much} times" if larger else f"as little as {much} of"
        cause = (
            f"{named(names)} {'has' if len(names) == 1 else 'have'} {share} the variance that "
            "keeps E[x²]."
        )
        fix = Fix(
            "Draw these weights with the std that keeps the second moment of their input.",
            redraw(layers),
            rules=tuple((name, "auto") for name in names),
        )
    else:
        cause = (
            "The weights have the scale that their inputs ask for; what the model does between "
            f"them changes E[x²]: most at {evidence.layer_of[extreme.node].name}."
        )
        fix = Fix(
            "Scale what comes after the layers named, or put a normalisation or a skip connection "
            "around it."
        )
    yield Finding(
        code=code,
        title=f"the signal {verb} {times(chain.gain)} times over {len(steps)} layers",
        severity=severity_of(chain.gain, WARNING, ERROR),
        where=tuple(dict.fromkeys(names or steps)),
        evidence={
            "layers": len(steps),
            "second_moment_ratio": number(chain.gain),
            "ratio_per_layer": number(chain.per_layer),
            "predicted_ratio_per_layer": number(chain.predicted ** (1 / len(steps))),
            "variance_over_wanted": {layer.name: number(layer.ratio) for layer in layers},
        },
        cause=cause,
        fix=fix,
        explains=frozenset(
            {"SIG03", "SIG04", "SIG05", "UNIT02", "UNIT03", "OUT01", "STEP01", "LAYER02"}
        ),
    )


def backward(evidence: Evidence, code: str, *, larger: bool) -> Iterator[Finding]:
    """Yield the finding that the gradient grows, or shrinks, on its way back."""
    path = gradient_path(evidence)
    total = product(path)
    far = total >= GRADIENT_WARNING if larger else total <= 1 / GRADIENT_WARNING
    if len(path) <= FEWEST or not far or _strays(evidence, path, total):
        return
    ends = [evidence.run.squares[mark.node] for mark in (path[0], path[-1])]
    if larger and ends[0] <= ends[1]:  # averages on the way took more than that
        return
    layers = [one for one in off(evidence, path) if one.name not in evidence.pretrained]
    per_layer = total ** (1 / (len(path) - 1))
    verb = "grows" if larger else "shrinks"
    names = tuple(layer.name for layer in layers) or _places(evidence, path)
    yield Finding(
        code=code,
        title=f"the gradient {verb} {times(total**0.5)} times on its way back through "
        f"{len(path)} layers",
        severity=severity_of(total, GRADIENT_WARNING, GRADIENT_ERROR),
        where=names,
        evidence={
            "layers": len(path),
            "squared_gradient_ratio": number(total),
            "ratio_per_layer": number(per_layer),
            "predicted_ratio_per_layer": number(_predicted(evidence, path)),
            "variance_over_wanted": {layer.name: number(layer.ratio) for layer in layers},
        },
        cause=_why(evidence, path, layers, larger=larger),
        fix=_sigmoids(evidence, path) or edge_of_chaos(layers, larger=larger),
        explains=frozenset({"SIG05", "STEP01", "UNIT02", "LAYER02"}),
    )


def _strays(evidence: Evidence, path: Sequence[Mark], total: float) -> bool:
    """Tell whether the gradient strays as in narrow layers, and theory expects no change."""
    layers = [evidence.layer_of[mark.node] for mark in path if mark.node in evidence.layer_of]
    spread = math.sqrt(sum(5 / max(layer.parts[0].fan_out, 1.0) for layer in layers))
    expected = abs(math.log(_predicted(evidence, path))) * (len(path) - 1) if layers else math.nan
    size, limit = abs(math.log(max(total, 1e-300))), math.log(GRADIENT_WARNING)
    return size < limit + 3 * spread and expected < limit / 2


def product(path: Sequence[Mark]) -> float:
    """Return Σ g² at the first mark over that at the last, averages left out."""
    total = 1.0
    for mark in path:
        total *= mark.ratio
    return total


def off(evidence: Evidence, path: Sequence[Mark]) -> list[Layer]:
    """Return the layers on the way whose weights or biases are not of the scale that auto gives."""
    found: dict[str, Layer] = {}
    for mark in path:
        layer = evidence.layer_of.get(mark.node)
        if layer is None or layer.normalised:
            continue
        bias = _bias_variance(evidence, layer)
        wanted = layer.fact.bias_variance
        ratio = layer.ratio
        scale = ratio > 0 and not 1 / 1.2 < ratio < 1.2 and abs(ratio - 1) > 4 * layer.error
        if scale or bias > 2 * wanted + 0.02:
            found[layer.name] = layer
    return list(found.values())


def _bias_variance(evidence: Evidence, layer: Layer) -> float:
    bias = next(
        (fact.name for fact in evidence.facts.parameters.values() if fact.bias_of == layer.name), ""
    )
    return float(evidence.values[bias].double().square().mean()) if bias else 0.0


def _places(evidence: Evidence, path: Sequence[Mark]) -> tuple[str, ...]:
    """Return the layers, or modules, of a path; the sums of residual branches by their module."""
    names = (
        evidence.layer_of[mark.node].name
        if mark.node in evidence.layer_of
        else evidence.node(mark.node).module
        for mark in path
    )
    return tuple(dict.fromkeys(name for name in names if name))


def _predicted(evidence: Evidence, path: Sequence[Mark]) -> float:
    """Return χ = fan_out Var(w) E[φ'²] of the layers, the geometric mean, by theory."""
    product_, count = 1.0, 0
    for mark in path[1:]:
        layer = evidence.layer_of.get(mark.node)
        parent = evidence.node(mark.node).parents[0] if layer is not None else None
        if layer is None or parent is None or parent >= len(evidence.signals):
            continue
        signal = evidence.signals[parent]
        source = evidence.signals[signal.source] if signal.source is not None else None
        slope = signal.slope / source.second if source is not None and source.second > 0 else 1.0
        product_ *= layer.parts[0].fan_out * layer.std**2 * slope
        count += 1
    return product_ ** (1 / count) if count and product_ > 0 else math.nan


def _why(evidence: Evidence, path: Sequence[Mark], layers: Sequence[Layer], *, larger: bool) -> str:
    per_layer = product(path) ** (1 / (len(path) - 1))
    change = f"each layer multiplies the squared gradient by {per_layer:.3g}"
    if layers:
        regime = "chaotic: small differences grow" if larger else "ordered: differences die out"
        return (
            f"The weights and biases of {named([one.name for one in layers])} make the network "
            f"{regime}, and {change} (χ1)."
        )
    if any(node.op.endswith("batch_norm") for node in evidence.graph.nodes) and larger:
        return (
            f"Batch normalisation without skip connections: {change}, whatever the weights are "
            "(Yang et al. 2019)."
        )
    names = {evidence.layer_of[m.node].fact.activation for m in path if m.node in evidence.layer_of}
    told = ", ".join(sorted(name for name in names if name)) or "what follows the layers"
    return f"The derivative of {told}: {change}, though the weights keep the signal."


def edge_of_chaos(layers: Sequence[Layer], *, larger: bool) -> Fix:
    """Return the fix that keeps the gradient's size: new weights and biases, or another design."""
    if not layers:
        side = "grows" if larger else "dies out"
        return Fix(
            f"No scale of the weights helps here: add skip connections, or for a gradient that "
            f"{side} by the activation use one whose slope at 0 is 1 (tanh, ReLU, GELU)."
        )
    return Fix(
        "Draw these weights, and biases, at the edge of chaos, where each layer keeps the "
        "gradient's size.",
        redraw(layers),
        rules=tuple((_module(layer), "auto") for layer in layers),
    )


def _sigmoids(evidence: Evidence, path: Sequence[Mark]) -> Fix | None:
    """Return the fix for layers with sigmoids throughout; None for any others.

    sigmoid(z) = (1 + tanh(z / 2)) / 2: with weights of variance 16 / fan_in, and biases that take
    the 1/2 away, b = -Σ w / 2, the network is a tanh network at its edge of chaos, whose slopes are
    1 (Glorot & Bengio 2010 give the factor 4).
    """
    layers = [evidence.layer_of[mark.node] for mark in path if mark.node in evidence.layer_of]
    biases = {fact.bias_of for fact in evidence.of_kind("bias")}
    if len(layers) != len(path) or any(
        layer.fact.activation != "sigmoid" or layer.name not in biases or layer.value.dim() != 2
        for layer in layers
    ):
        return None
    names = [layer.name for layer in layers[1:]]
    modules = [layer.fact.module for layer in layers[1:]]
    code = "\n".join(
        [
            f"for name in {modules}:",
            "    layer = model.get_submodule(name)",
            "    nn.init.normal_(layer.weight, std=4 / layer.in_features**0.5)",
            "    layer.bias.data = -0.5 * layer.weight.data.sum(1)",
        ]
    )
    return Fix(
        "Draw the weights behind a sigmoid with std 4/√fan_in and take its mean away with the "
        "bias: the network then keeps its gradient, as one of tanh does; or use tanh.",
        code,
        rules=(
            (layers[0].name, "auto"),
            *((name, "variance_scaling(scale=16.0)") for name in names),
        ),
        centre=tuple(names),
    )


def _module(layer: Layer) -> str:
    """Return the module of a layer, whose bias is drawn with it; the weight if it has none."""
    return layer.fact.module or layer.name

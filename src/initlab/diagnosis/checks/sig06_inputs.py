"""SIG06: the input itself is badly scaled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import number
from initlab.diagnosis.entrances import Entrance, entrances
from initlab.diagnosis.evidence import Evidence, named
from initlab.diagnosis.finding import Finding, Fix
from initlab.diagnosis.reductions import Numbers
from initlab.diagnosis.subject import arguments
from initlab.models.residual import is_norm

# Root mean square of an input: beyond, a layer that keeps the size starts far from 1.
_LARGE, _SMALL = 10.0, 0.03
_HUGE, _TINY = 30.0, 1e-3
# Mean over std: of 3, the signals of two samples have a cosine of 0.9.
_OFF_CENTRE = 3.0
# Scales of features: largest over smallest.
_UNEVEN = 1e3
# Features of fewer samples than this tell little of their scale.
_SAMPLES = 8
# What a first layer gives whose weights make up for the input: E[x²], and a cosine of two samples.
_LEAST, _MOST, _ALIKE = 0.05, 20.0, 0.95


@dataclass(frozen=True)
class _Fault:
    """What is wrong with an input.

    Attributes
    ----------
    what
        For a sentence.
    size, centre, features
        Which of its scale, its mean, and the scales of its features among each other.
    """

    what: str
    size: bool = False
    centre: bool = False
    features: bool = False


def _applies(evidence: Evidence) -> bool:
    inputs = evidence.inputs
    return inputs is not None and inputs.given and bool(arguments(evidence.model, inputs))


def _told(name: str) -> str:
    return name if name.startswith("input") else f"input {name}"


def _find(evidence: Evidence) -> Iterator[Finding]:
    inputs = evidence.inputs
    if inputs is None or not evidence.graph.nodes:
        return
    values = arguments(evidence.model, inputs)
    places: dict[str, list[Entrance]] = {}
    for one in entrances(evidence.model, inputs, evidence.graph):
        places.setdefault(one.argument, []).append(one)
    for name, ways in places.items():
        faults = [(one, _fault(evidence, one)) for one in ways]
        bad = [(one, fault) for one, fault in faults if fault is not None]
        if bad:
            yield _finding(evidence, name, values[name], [one for one, _ in bad], bad[0][1])


def _fault(evidence: Evidence, one: Entrance) -> _Fault | None:
    """Tell what is wrong with the signal that a layer reads, if that does no better."""
    numbers = evidence.numbers(one.signal)
    if numbers is None or not math.isfinite(numbers.second):
        return None
    after = _after(evidence, one)
    fits = after is not None and _LEAST < after.second < _MOST and after.alike < _ALIKE
    mean, rms, std = numbers.mean, math.sqrt(numbers.second), math.sqrt(numbers.variance)
    if std <= 1e-6 * rms or rms == 0:
        told = "is 0 throughout" if rms == 0 else f"is {mean:.4g} throughout"
        return _Fault(f"{told}, a batch that says nothing", centre=True)
    uneven = _unevenness(evidence, one, numbers)
    if uneven > _UNEVEN:
        return _Fault(f"has features whose std differs {uneven:.3g}-fold", features=True)
    if not _SMALL <= rms <= _LARGE and not fits:
        return _Fault(f"has values of size {rms:.3g} (root mean square)", size=True)
    if abs(mean) > _OFF_CENTRE * std and not fits:
        return _Fault(f"has a mean of {mean:.3g} with a std of {std:.3g}", centre=True)
    return None


@dataclass(frozen=True)
class _Response:
    """What a first layer gives: E[x²], and the mean cosine of two samples."""

    second: float
    alike: float


def _after(evidence: Evidence, one: Entrance) -> _Response | None:
    """Return what the layer gives, behind a normalisation that follows at once."""
    if evidence.node(one.reader).kind == "recurrent":
        return _gates(evidence, one)
    layer = evidence.layer_of.get(one.reader)
    index = one.reader
    while layer is not None and layer.normalised:
        readers = evidence.children[index]
        if not readers:
            break
        index = readers[0]
        if is_norm(evidence.graph, evidence.node(index)):
            break
    numbers = evidence.numbers(index)
    return _Response(numbers.second, numbers.alike or 0.0) if numbers is not None else None


def _gates(evidence: Evidence, one: Entrance) -> _Response | None:
    """Return what the gates of a recurrent layer read; their output is bounded and tells little."""
    numbers, name = evidence.numbers(one.signal), _weight(evidence, one)
    if numbers is None or name is None:
        return None
    weight = evidence.values[name].float().cpu()
    if weight.dim() != 2 or weight.shape[1] != numbers.unit_mean.numel():
        return None
    bias = next((f.name for f in evidence.of_kind("bias") if f.bias_of == name), None)
    shared = weight @ numbers.unit_mean
    if bias is not None:
        shared = shared + evidence.values[bias].float().cpu()
    steady = float(shared.square().mean())
    varied = float((weight.square() @ numbers.unit_variance).mean())
    return _Response(steady + varied, steady / max(steady + varied, 1e-30))


def _weight(evidence: Evidence, one: Entrance) -> str | None:
    """Return the name of the weight that reads the input."""
    node = evidence.node(one.reader)
    if node.kind == "recurrent":
        return next(
            (
                fact.name
                for fact in evidence.of_kind("recurrent")
                if fact.module == node.module and not fact.hidden_to_hidden
            ),
            None,
        )
    layer = evidence.layer_of.get(one.reader)
    return layer.name if layer is not None else None


def _unevenness(evidence: Evidence, one: Entrance, numbers: Numbers) -> float:
    """Return by how much the features of a table differ in what they give the first layer.

    It is the std of a feature times the norm of its column of weights, largest over smallest;
    features that are constant here are left out.
    """
    layer = evidence.layer_of.get(one.reader)
    shape = evidence.node(one.signal).shape
    if layer is None or len(shape) != 2 or layer.value.dim() != 2 or numbers.samples < _SAMPLES:
        return 1.0
    stds = numbers.unit_variance.sqrt()
    size = numbers.unit_second.sqrt()
    columns = layer.value.float().norm(dim=1 if layer.fact.input_first else 0).cpu()
    if columns.numel() != stds.numel():
        return 1.0
    told = (stds > 1e-4 * size) & (columns > 0)
    given = stds[told]
    effect = (stds * columns)[told]
    if given.numel() < 2 or float(given.max() / given.min()) <= _UNEVEN:
        return 1.0
    return float(effect.max() / effect.min())


def _finding(
    evidence: Evidence, name: str, value: Tensor, ways: list[Entrance], fault: _Fault
) -> Finding:
    numbers = evidence.numbers(ways[0].signal)
    rms = math.sqrt(numbers.second) if numbers is not None else math.nan
    readers = [weight for one in ways if (weight := _weight(evidence, one)) is not None]
    after = _after(evidence, ways[0])
    worst = fault.size and not _TINY <= rms <= _HUGE
    mean, std = float(value.double().mean()), float(value.double().std(correction=0))
    return Finding(
        code="SIG06",
        title=f"{_told(name)} {fault.what}",
        severity="error" if worst else "warning",
        where=(name,),
        evidence=_numbers(value, mean, std)
        | {
            "read_by": readers,
            "first_output_second_moment": number(after.second) if after is not None else None,
        },
        cause=_cause(name, readers, fault, after),
        fix=_fix(name, value, fault, mean, std),
        explains=frozenset(
            {
                "SIG01",
                "SIG02",
                "SIG03",
                "SIG04",
                "SIG05",
                "UNIT02",
                "UNIT03",
                "OUT01",
                "STEP01",
            }
        ),
    )


def _numbers(value: Tensor, mean: float, std: float) -> dict[str, Any]:
    low, high = (float(each) for each in torch.aminmax(value.detach().float()))
    return {
        "mean": number(mean),
        "std": number(std),
        "root_mean_square": number(math.hypot(mean, std)),
        "least": number(low),
        "most": number(high),
        "shape": list(value.shape),
    }


def _cause(name: str, readers: list[str], fault: _Fault, after: _Response | None) -> str:
    by = named(readers) if readers else "the first layer"
    if fault.features:
        return (
            f"{by} reads features on scales of their own as if they were alike: the largest "
            "decide, and the gradient of the others' weights is smaller by as much."
        )
    told = f", and gives E[x²] = {after.second:.3g}" if after is not None else ""
    if fault.centre:
        return (
            f"What all samples of {name} share outweighs what tells them apart; {by} reads it as "
            f"it is{told}, so the signals of different samples are nearly alike."
        )
    return f"{by} is drawn for inputs of variance 1 and reads {name} as it is{told}."


def _fix(name: str, value: Tensor, fault: _Fault, mean: float, std: float) -> Fix:
    if std <= 1e-6 * max(abs(mean), 1e-30):
        return Fix(f"Give {name} as real samples, which differ from one another.")
    code = f"{name} = ({name} - {mean:.4g}) / {std:.4g}"
    text = "Standardise the input, with mean and std of the training data."
    if fault.features and value.dim() == 2:
        text = "Standardise each feature of the input, with its own mean and std."
        code = f"{name} = ({name} - {name}.mean(0)) / {name}.std(0).clamp_min(1e-8)"
    return Fix(text, code, standardise=True)


CHECK = Check("SIG06", "The input itself is badly scaled", _applies, _find)

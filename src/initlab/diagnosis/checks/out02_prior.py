"""OUT02: the output's bias ignores that some classes are rare."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from initlab.diagnosis.checks._check import Check
from initlab.diagnosis.checks._code import each, number
from initlab.diagnosis.checks._heads import Head, heads
from initlab.diagnosis.evidence import Evidence
from initlab.diagnosis.finding import Finding, Fix, Rule
from initlab.diagnosis.losses import Loss

# Nats that a right bias saves at once, and their share of a uniform guess's loss.
_NATS, _SHARE = 0.3, 0.2
# Beyond, frequencies are left to the targets that are given.
_WRITTEN_OUT = 4096


@dataclass(frozen=True)
class _Prior:
    """Frequencies in the targets beside what the bias says.

    Attributes
    ----------
    counts
        Of each class; of one score a column: how often it is 1.
    samples
        Targets, of each column.
    saves
        Nats that a right bias would save, for sure: less by what chance adds.
    uniform
        Loss of a uniform guess.
    binary
        True if each column stands for a class against the others.
    """

    counts: Tensor
    samples: int
    saves: float
    uniform: float
    binary: bool


def _head(evidence: Evidence) -> Head | None:
    """Return the one output layer, if its bias is added to the scores as it is."""
    found = heads(evidence)
    return found[0] if len(found) == 1 and found[0].direct and found[0].bias is not None else None


def _applies(evidence: Evidence) -> bool:
    return _prior(evidence) is not None


def _prior(evidence: Evidence) -> _Prior | None:
    head, loss = _head(evidence), evidence.run.loss
    if head is None or head.bias is None or loss is None:
        return None
    bias = evidence.values[head.bias.name].float().flatten()
    return _of_columns(loss, bias) if loss.kind == "binary" else _of_classes(loss, bias)


def _of_classes(loss: Loss, bias: Tensor) -> _Prior | None:
    logits, classes = loss.logits, loss.classes
    if logits is None or classes is None or not classes.numel():
        return None
    count = logits.shape[1]
    if bias.numel() != count or int(classes.max()) >= count:
        return None
    counts = torch.bincount(classes.to(bias.device).long(), minlength=count).float()
    shares = counts / counts.sum()
    # log p / softmax(b), once for each sample: its mean is the divergence.
    gains = torch.where(counts > 0, shares.clamp_min(1e-30).log(), 0.0) - bias.log_softmax(0)
    mean = float((shares * gains).sum())
    spread = float((shares * (gains - mean).square()).sum())
    samples = classes.numel()
    chance = (count - 1) / (2 * samples) + 2 * math.sqrt(spread / samples)
    return _Prior(counts, samples, mean - chance, math.log(count), binary=False)


def _of_columns(loss: Loss, bias: Tensor) -> _Prior | None:
    output, targets = loss.output, loss.targets
    if output is None or not isinstance(targets, Tensor) or targets.numel() != output.numel():
        return None
    values = targets.detach().to(bias.device).reshape(output.shape).float()
    axis = _axis(tuple(output.shape), bias.numel())
    if axis is None:
        return None
    columns = (
        values.movedim(axis, -1).reshape(-1, output.shape[axis])
        if output.dim() > 1
        else (values.reshape(-1, 1))
    )
    samples, width = columns.shape
    shares = columns.mean(0)
    if not bool(((shares >= 0) & (shares <= 1)).all()):  # nan, or targets that are no classes
        return None
    told = bias.reshape(-1, width)
    entropy = functional.binary_cross_entropy(shares, shares)
    crossed = functional.binary_cross_entropy_with_logits(told, shares.expand_as(told))
    # The derivative of the divergence by a share is its log odds less the bias.
    odds = torch.logit(shares, eps=0.5 / samples)
    spread = float(((odds - told.mean(0)) ** 2 * shares * (1 - shares)).mean())
    chance = 1 / (2 * samples) + 2 * math.sqrt(spread / (samples * width))
    saves = float(crossed - entropy) - chance
    return _Prior(columns.sum(0), samples, saves, math.log(2), binary=True)


def _axis(shape: tuple[int, ...], count: int) -> int | None:
    """Return the axis of the output that the bias runs along, perhaps several times over."""
    if len(shape) < 2:
        return -1 if count == 1 else None
    exact = [axis for axis in (1, -1) if shape[axis] == count]
    several = [-1] if count % shape[-1] == 0 else []
    return next(iter(exact + several), None)


def _find(evidence: Evidence) -> Iterator[Finding]:
    head, prior = _head(evidence), _prior(evidence)
    if head is None or head.bias is None or prior is None:
        return
    if not (prior.saves > _NATS and prior.saves > _SHARE * prior.uniform):
        return
    name = head.bias.name
    trained = dict(evidence.model.named_parameters(remove_duplicate=False)).get(name)
    meant = name in evidence.pretrained or (trained is not None and not trained.requires_grad)
    yield Finding(
        code="OUT02",
        title=f"a bias with the classes' frequencies would save {prior.saves:.2g} nats at once",
        severity="note" if meant else "warning",
        where=(name,),
        evidence=_numbers(prior, evidence.values[name]),
        cause=(
            f"{_skew(prior)}, and {name} says nothing of it: the first steps are spent on learning "
            "how frequent each class is."
        ),
        fix=_fix(prior, name),
    )


def _numbers(prior: _Prior, bias: Tensor) -> dict[str, Any]:
    shares = _smoothed(prior)
    right = torch.logit(shares) if prior.binary else shares.log()
    shown = slice(0, 16)
    return {
        "saves_nats": number(prior.saves),
        "uniform_guess": number(prior.uniform),
        "samples": prior.samples,
        "frequencies": [number(float(x)) for x in shares[shown]],
        "bias": [number(float(x)) for x in bias.float().flatten()[shown]],
        "wanted_bias": [number(float(x)) for x in right[shown]],
    }


def _smoothed(prior: _Prior) -> Tensor:
    """Return frequencies with each class counted once more than it occurs."""
    counts = prior.counts.double() + 1
    return counts / (prior.samples + 2) if prior.binary else counts / counts.sum()


def _skew(prior: _Prior) -> str:
    shares = prior.counts / prior.samples
    if prior.binary:
        return (
            f"Only {float(shares.mean()):.2%} of the targets are 1"
            if (float(shares.mean()) < 0.5)
            else f"{float(shares.mean()):.2%} of the targets are 1"
        )
    most = int(shares.argmax())
    return f"{float(shares[most]):.0%} of the targets are of class {most}"


def _fix(prior: _Prior, name: str) -> Fix:
    shares = _smoothed(prior)
    if prior.binary:
        share = float(shares.mean())
        odds = math.log(share / (1 - share))
        text = f"Start the output's bias at the log odds of a 1, ln(p / (1 - p)) = {odds:.3g}."
        code = each(
            [name], f"nn.init.constant_({{}}, {odds:.4g})  # ln(p / (1 - p)), p = {share:.3g}"
        )
        return Fix(text, "\n".join(code), rules=(_binary_rule(prior, name),))
    code = [
        f"frequencies = torch.bincount(targets.flatten(), minlength={len(shares)}) + 1.0",
        *each([name], "{}.data = torch.log(frequencies / frequencies.sum())"),
    ]
    counts = tuple(round(count + 1, 6) for count in prior.counts.tolist())
    how = f"prior_bias({counts!r})" if len(shares) <= _WRITTEN_OUT else "auto"
    return Fix(
        "Start the output's bias at the log frequencies of the classes.",
        "\n".join(code),
        rules=((name, how),),
    )


def _binary_rule(prior: _Prior, name: str) -> Rule:
    """Return ``"auto"``, which reads the targets, where each column has its own entry."""
    shares = _smoothed(prior)
    alike = float(shares.max() - shares.min()) < 0.05
    return (name, f"prior_bias({float(shares.mean()):.6g})" if alike else "auto")


CHECK = Check("OUT02", "The output's bias ignores a skewed class prior", _applies, _find)

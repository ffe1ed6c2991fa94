"""Applies the fixes of a diagnosis, through :func:`initlab.initialize`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from initlab.diagnosis.diagnosis import Diagnosis
from initlab.diagnosis.finding import Rule
from initlab.diagnosis.standardise import standardise
from initlab.diagnosis.subject import written
from initlab.models.inputs import Inputs
from initlab.models.plan import Plan, make
from initlab.models.report import Report


def plan(model: nn.Module, report: Diagnosis, seed: int | None = None) -> Plan:
    """Plan the new weights that the findings ask for; everything else is kept."""
    inner = written(model)
    inputs: Inputs | None = report.context("inputs")
    wanted = rules(report)
    told = report.context("targets") if any(name.endswith("bias") for name, _ in wanted) else None
    batch: Any = None
    if inputs is not None:
        batch = dict(inputs.kwargs) if inputs.kwargs else inputs.args
    return make(
        inner,
        rules=[*wanted, ("*", "keep")],
        seed=report.seed if seed is None else seed,
        batch=batch,
        targets=_tensor(told),
        overwrite_pretrained=True,
    )


def rules(report: Diagnosis) -> tuple[Rule, ...]:
    """Return the rules of all errors and warnings, each once, in the order of the findings."""
    found: dict[str, str] = {}
    for name, how in (rule for one in report.alarms for rule in one.fix.rules):
        if name not in found or how == "auto":  # it takes the place into account
            found[name] = how
    return tuple(found.items())


def apply(model: nn.Module, report: Diagnosis, seed: int | None = None) -> Report:
    """Do what :func:`initlab.treat` says; the arguments are its own."""
    done = plan(model, report, seed).apply() if rules(report) else Report((), (), report.seed)
    notes: list[str] = []
    badly = [name for one in report.alarms if one.fix.standardise for name in one.where]
    notes += standardise(written(model), report.context("inputs"), badly)
    notes += _centre(written(model), [name for one in report.alarms for name in one.fix.centre])
    notes += _slow_down(report)
    return replace(done, notes=(*done.notes, *notes))


def _tensor(targets: Any) -> Any:
    return targets if targets is None or isinstance(targets, Tensor) else torch.as_tensor(targets)


def _slow_down(report: Diagnosis) -> list[str]:
    """Change the learning rate of the optimizer that the diagnosis was given."""
    factor = 1.0
    for one in report.alarms:
        factor *= one.fix.learning_rate
    optimizer = report.context("optimizer")
    if factor == 1 or not isinstance(optimizer, torch.optim.Optimizer):
        return []
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * factor
        if "initial_lr" in group:  # what a schedule goes by
            group["initial_lr"] = group["initial_lr"] * factor
    return [f"the learning rate was multiplied by {factor:.3g}"]


def _centre(model: nn.Module, names: Sequence[str]) -> list[str]:
    """Let the biases of these layers take away the mean of the sigmoids that they read, 1/2."""
    held = dict(model.named_parameters(remove_duplicate=False))
    for name in names:
        with torch.no_grad():
            bias = held[f"{name.rpartition('.')[0]}.bias".lstrip(".")]
            bias.copy_(-0.5 * held[name].sum(1))
    return [f"{len(names)} biases take the mean of the sigmoids away"] if names else []

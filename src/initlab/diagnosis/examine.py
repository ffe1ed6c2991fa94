"""A diagnosis from end to end: choose inputs, run, gather, check, leave out side effects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from initlab._base.streams import require_seed
from initlab.diagnosis.causes import roots
from initlab.diagnosis.checks import catalogue
from initlab.diagnosis.diagnosis import Diagnosis
from initlab.diagnosis.evidence import Evidence, gather
from initlab.diagnosis.finding import Finding
from initlab.diagnosis.losses import Function
from initlab.diagnosis.making import Making
from initlab.diagnosis.measure import measure
from initlab.diagnosis.operations import operations
from initlab.diagnosis.optimizers import read_optimizer
from initlab.diagnosis.run import Run
from initlab.diagnosis.subject import choose, described
from initlab.diagnosis.widths import coordinate_check, read_sweep
from initlab.models.graph import Graph

_NOT_RUN = "the model was not run: give inputs, such as a tuple of its arguments"


def examine(
    model: Any,
    inputs: Any = None,
    targets: Any = None,
    loss: str | Function | None = None,
    seed: int = 0,
    *,
    optimizer: Any = None,
    making: Making | None = None,
    widths: Any = None,
) -> Diagnosis:
    """Do what :func:`initlab.diagnose` says; the arguments are its own."""
    seed = require_seed(seed)
    subject = choose(model, inputs, seed)
    step = read_optimizer(optimizer)
    sweep = read_sweep(widths, optimizer)
    if subject.inputs is None:
        run = Run(Graph((), ()), problem=_NOT_RUN)
    else:
        run = measure(subject.model, subject.inputs, targets=targets, loss=loss, seed=seed)
    evidence = gather(subject.model, subject.inputs, run, making, step)
    if sweep is not None:
        coordinates = coordinate_check(sweep, inputs, targets, loss, seed)
        evidence = replace(evidence, coordinates=coordinates)
    found, absent, unjudged = _checked(evidence)
    value = run.loss
    logits = value.logits if value is not None else None
    return Diagnosis(
        findings=roots(evidence, found),
        layers=operations(evidence),
        not_applicable=tuple(absent),
        problem=run.problem,
        notes=tuple(dict.fromkeys((*subject.notes, *run.notes, *evidence.notes, *unjudged))),
        seed=seed,
        loss=float(value.value.detach()) if value and value.kind != "projection" else None,
        loss_kind=value.kind if value is not None else "",
        model_type=type(subject.model).__name__,
        parameters=sum(parameter.numel() for parameter in subject.model.parameters()),
        classes=logits.shape[-1] if logits is not None else 0,
        inputs=described(subject.inputs) if subject.inputs is not None else "",
        _context={
            "inputs": subject.inputs if inputs is not None else None,
            "targets": targets,
            "optimizer": optimizer,
        },
    )


def _checked(evidence: Evidence) -> tuple[list[Finding], list[str], list[str]]:
    """Return the findings, the codes that do not apply, and notes on checks that failed."""
    found: list[Finding] = []
    absent: list[str] = []
    unjudged: list[str] = []
    for code, check in catalogue().items():
        try:
            if check.applies(evidence):
                found += check.find(evidence)
            else:
                absent.append(code)
        except Exception as error:  # noqa: BLE001 - of one check, on numbers that nobody thought of
            unjudged.append(f"{code} could not be judged: {type(error).__name__}: {error}")
    return found, sorted(absent), unjudged

"""A diagnosis as the command makes it: call the factory, load weights, diagnose, treat, again."""

from __future__ import annotations

import contextlib
import random
import textwrap
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from initlab._base.errors import InvalidValueError, UnknownNameError
from initlab._base.spec import parse_call
from initlab._base.streams import require_seed
from initlab.diagnosis import diagnose, treat
from initlab.diagnosis.checkpoint import load
from initlab.diagnosis.diagnosis import Diagnosis
from initlab.diagnosis.factory import Built, build
from initlab.diagnosis.losses import LOSSES
from initlab.diagnosis.optimizers import make_optimizer, read_optimizer
from initlab.diagnosis.subject import written
from initlab.diagnosis.treatment import plan, rules
from initlab.diagnosis.widths import WidthSweep, read_sweep
from initlab.models import initialize
from initlab.models.schemes import mup_learning_rates
from initlab.models.walk import walk


@dataclass(frozen=True)
class Remedy:
    """A model before and after its treatment.

    Attributes
    ----------
    before, after
        Its two diagnoses, on the same inputs.
    code
        Plain PyTorch that does what the treatment did; empty if there was nothing to do.
    notes
        What was done beside new weights.
    """

    before: Diagnosis
    after: Diagnosis
    code: str
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return what the JSON document holds."""
        return {
            "before": self.before.document(),
            "after": self.after.document(),
            "code": self.code,
        }


@dataclass(frozen=True)
class Job:
    """A model that was built, and how it is to be diagnosed.

    Attributes
    ----------
    built
        What the factory made.
    notes
        What was noticed when its weights were loaded.
    loss, optimizer, seed, widths
        Arguments of :func:`initlab.diagnose`.
    """

    built: Built
    notes: tuple[str, ...] = ()
    loss: str | None = None
    optimizer: str | None = None
    seed: int = 0
    widths: WidthSweep | None = None

    def diagnose(self) -> Diagnosis:
        """Diagnose the model as it is now."""
        built = self.built
        found = diagnose(
            built.model,
            built.inputs,
            built.targets,
            self.loss,
            self.seed,
            optimizer=self.optimizer,
            making=built.making,
            widths=self.widths,
        )
        return replace(found, notes=(*self.notes, *found.notes))

    def remedy(self, before: Diagnosis) -> Remedy:
        """Treat the model, in place, and diagnose it again."""
        if not before.alarms:
            return Remedy(before, before, "")
        code = _code(self.built, before)
        done = treat(self.built.model, before)
        changed = {change.name for change in done.changes}
        slower = slowed(self.optimizer, before)
        sweep = self.widths
        if sweep is not None and "WIDTH01" in before.codes:
            sweep = _as_mup_says(sweep, slower)
        built = _redrawn(self.built, changed)
        again = replace(self, built=built, optimizer=slower, widths=sweep)
        return Remedy(before, again.diagnose(), code, done.notes)


def prepare(
    factory: Callable[..., Any],
    *,
    weights: str | None = None,
    loss: str | None = None,
    optimizer: str | None = None,
    seed: int = 0,
    widths: Sequence[int] = (),
) -> Job:
    """Call a factory, and load weights into what it returns.

    What it draws from the generators of PyTorch, NumPy and Python follows from the seed; a factory
    that sets seeds of its own decides itself. With widths it is called with ``width=`` for a
    coordinate check as well.

    Raises
    ------
    InvalidValueError
        If the factory fails or returns no model, or the weights cannot be loaded.
    """
    seed = require_seed(seed)
    read_optimizer(optimizer)  # a slip in it is told before anything is built
    if loss is not None and loss not in LOSSES:
        raise UnknownNameError("loss", loss, LOSSES)
    sweep = None
    if widths:

        def of_width(width: int) -> Any:
            return factory(width=width)

        sweep = read_sweep((of_width, tuple(widths)), optimizer)
    with _seeded(seed):
        built = build(factory)
    if weights is None:
        return Job(built, (), loss, optimizer, seed, sweep)
    loaded = load(written(built.model), weights)
    return Job(_redrawn(built, loaded.names), loaded.notes, loss, optimizer, seed, sweep)


def slowed(optimizer: str | None, report: Diagnosis) -> str | None:
    """Return the optimizer with the learning rate that the findings ask for.

    Parameters
    ----------
    optimizer
        A text such as ``"adam(lr=0.001)"``.
    report
        A diagnosis with it.
    """
    factor = 1.0
    for one in report.alarms:
        factor *= one.fix.learning_rate
    step = read_optimizer(optimizer)
    if optimizer is None or step is None or step.every is None or factor == 1:
        return optimizer
    call = parse_call(optimizer, "optimizer", "adam(lr=0.001)")
    rate = float(f"{step.every.lr * factor:.3g}")
    if call.args:
        return str(replace(call, args=(rate, *call.args[1:])))
    kept = tuple(pair for pair in call.kwargs if pair[0] != "lr")
    return str(replace(call, kwargs=(("lr", rate), *kept)))


def _redrawn(built: Built, names: Iterable[str]) -> Built:
    """Forget how the factory drew parameters that have other values now."""
    if built.making is None:
        return built
    gone = set(names)
    draws = {name: drawn for name, drawn in built.making.draws.items() if name not in gone}
    return replace(built, making=replace(built.making, draws=draws))


def _as_mup_says(sweep: WidthSweep, optimizer: str | None) -> WidthSweep:
    """Return the sweep with what the fix says: weights and learning rates of muP."""
    base = min(sweep.widths)
    text = optimizer or "adam(lr=0.001)"
    rule: Any = "sgd" if text.startswith(("sgd", "momentum")) else "adam"

    def made(width: int) -> Any:
        built = build(lambda: sweep.factory(width))
        seed = int(torch.randint(2**31, ()))  # another one for each model of the sweep
        initialize(built.model, f"mup(base_width={base})", seed=seed, batch=built.inputs)
        return built.model, built.inputs, built.targets

    def maker(model: nn.Module) -> torch.optim.Optimizer:
        rates = mup_learning_rates(walk(model).facts, base_width=base, optimizer=rule)
        held = dict(model.named_parameters())
        lr = make_optimizer(text, held.values()).param_groups[0]["lr"]
        groups: Any = [
            {"params": [held[name]], "lr": lr * rate}
            for name, rate in rates.items()
            if name in held
        ]
        return make_optimizer(text, groups)

    return replace(sweep, factory=made, optimizer=maker)


def _code(built: Built, report: Diagnosis) -> str:
    """Write the treatment as plain PyTorch: the new weights, and what is no new weight."""
    blocks: list[str] = []
    if rules(report):
        try:
            blocks.append(plan(built.model, report).as_code().rstrip())
        except InvalidValueError as error:
            blocks.append(_comment(f"no plain PyTorch for the new weights: {error}"))
    blocks += [
        f"{_comment(f'{one.code}: {one.fix.text}')}\n{one.fix.code.rstrip()}"
        for one in report.alarms
        if one.fix.code and (not one.fix.rules or one.code == "WIDTH01")  # that has rates as well
    ]
    return "\n\n".join(blocks)


def _comment(text: str) -> str:
    return "\n".join(f"# {line}" for line in textwrap.wrap(text, 90, break_long_words=False))


@contextlib.contextmanager
def _seeded(seed: int) -> Generator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the factory may use it
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed % 2**63)
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002 - the same
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 - the same

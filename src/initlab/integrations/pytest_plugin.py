"""A fixture for pytest, there as soon as initlab is installed: a test that a model starts well.

::

    def test_starts_healthy(initlab_check):
        initlab_check(build(), loss="cross_entropy", ignore=("OUT02",))

PyTorch is loaded when a test calls it. ``pytest -p no:initlab`` does without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from initlab.diagnosis.diagnosis import Diagnosis

_RANKS = {"error": 0, "warning": 1, "note": 2}


class Check(Protocol):
    """What the fixture is; see :func:`initlab_check`."""

    def __call__(
        self,
        model: Any,
        inputs: Any = None,
        targets: Any = None,
        *,
        loss: str | Callable[[Any, Any], Any] | None = None,
        seed: int = 0,
        optimizer: Any = None,
        ignore: Sequence[str] = (),
        severity: str = "warning",
    ) -> Diagnosis:
        """Fail the test if the model does not start well."""
        ...


@pytest.fixture(name="initlab_check")
def initlab_check() -> Check:
    """Return a function that fails the test if a model does not start well.

    It takes a model, ``(model, inputs)``, ``(model, inputs, targets)``, or a function that returns
    one of these; inputs and targets may be arguments of their own as well. A function tells more:
    what it draws is watched.

    ``loss``, ``seed`` and ``optimizer`` are those of :func:`initlab.diagnose`. Findings whose codes
    stand in ``ignore`` do not count; ``severity`` is the least that does: ``"error"``,
    ``"warning"`` or ``"note"``. It returns the diagnosis.
    """
    return check


def check(
    model: Any,
    inputs: Any = None,
    targets: Any = None,
    *,
    loss: str | Callable[[Any, Any], Any] | None = None,
    seed: int = 0,
    optimizer: Any = None,
    ignore: Sequence[str] = (),
    severity: str = "warning",
) -> Diagnosis:
    """Do what :func:`initlab_check` says; the arguments are its own."""
    __tracebackhide__ = True  # the findings say more than where they were raised
    from initlab._base.errors import InitlabError  # noqa: PLC0415 - only where it is used
    from initlab._base.optional import require  # noqa: PLC0415 - the same

    try:
        require("torch", "diagnosing a model")
        ignored = _ignored(ignore, severity)
        report = _diagnosed(model, inputs, targets, loss, seed, optimizer)
    except InitlabError as error:
        told = str(error)
    else:
        told = _told(report, ignored, _RANKS[severity])
        if not told:
            return report
    pytest.fail(told, pytrace=False)


def _ignored(ignore: Sequence[str], severity: str) -> frozenset[str]:
    """Read which codes do not count; a mistake in one would hide nothing, and nobody would know."""
    from initlab._base.errors import UnknownNameError  # noqa: PLC0415 - only where it is used
    from initlab.diagnosis.checks import catalogue  # noqa: PLC0415 - the same

    if severity not in _RANKS:
        raise UnknownNameError("severity", severity, _RANKS)
    codes = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    for code in codes:
        if code not in catalogue():
            raise UnknownNameError("check", code, catalogue())
    return frozenset(codes)


def _diagnosed(
    model: Any, inputs: Any, targets: Any, loss: Any, seed: int, optimizer: Any
) -> Diagnosis:
    from torch import nn  # noqa: PLC0415 - takes seconds to load

    from initlab.diagnosis import diagnose  # noqa: PLC0415 - the same
    from initlab.diagnosis.factory import build  # noqa: PLC0415 - the same

    made = model
    given = made if callable(made) and not isinstance(made, nn.Module) else lambda: made
    built = build(given)
    return diagnose(
        built.model,
        inputs if inputs is not None else built.inputs,
        targets if targets is not None else built.targets,
        loss,
        seed,
        optimizer=optimizer,
        making=built.making if given is made else None,
    )


def _told(report: Diagnosis, ignored: frozenset[str], least: int) -> str:
    """Return what fails the test; empty if nothing does."""
    findings = tuple(one for one in report.findings if one.code not in ignored)
    if not report.problem and not any(_RANKS[one.severity] <= least for one in findings):
        return ""
    return replace(report, findings=findings).text()

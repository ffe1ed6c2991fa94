"""The doctor: which starting weights of a PyTorch model are wrong, why, and what to change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from initlab._base.optional import require

if TYPE_CHECKING:
    from torch import Tensor, nn

    from initlab.diagnosis.diagnosis import Diagnosis
    from initlab.diagnosis.making import Making
    from initlab.diagnosis.widths import WidthSweep
    from initlab.models.report import Report


def diagnose(
    model: nn.Module,
    inputs: Any = None,
    targets: Any = None,
    loss: str | Callable[[Any, Any], Tensor] | None = None,
    seed: int = 0,
    *,
    optimizer: Any = None,
    making: Making | None = None,
    widths: WidthSweep | tuple[Callable[[int], Any], Sequence[int]] | None = None,
) -> Diagnosis:
    """Find out whether a model starts well, and if not, why, and what to change.

    The model runs forth and back once, as in training but without dropout. It and all random states
    are left as they were, to the last bit.

    Parameters
    ----------
    model
        Any ``torch.nn.Module``; compiled ones are looked at as they were written.
    inputs
        What the model is run on: a tensor, a tuple of positional arguments, or a dictionary of
        named ones; 32 samples or more tell most. Without: standard-normal numbers or random tokens
        that fit its first layers.
    targets
        What the loss compares the output to. Class numbers (B,) for (B, C), (B, T) for (B, T, V),
        (B, H, W) for (B, C, H, W), or values of the output's shape. Without: a loss that the model
        returns itself, else a random projection of the output is differentiated.
    loss
        ``"cross_entropy"``, ``"bce_with_logits"``, ``"mse"``, ``"l1"``, or a function of output
        and targets. By default it follows from the shapes.
    seed
        Of made-up inputs and of the projection.
    optimizer
        What takes the first step: an optimizer of PyTorch, or a text such as ``"sgd(lr=0.1)"`` or
        ``"adam(lr=0.001)"``.
    making
        What the factory was seen to draw, see :func:`initlab.diagnosis.factory.build`.
    widths
        A function of the width that returns such a model, and widths, ``(build, (64, 128, 256))``:
        models of these widths are trained for a few steps, to see what goes with the width. More
        can be set with :class:`initlab.diagnosis.widths.WidthSweep`.

    Returns
    -------
    Diagnosis
        The findings, one a root cause; a row for every operation; what did not apply.

    Raises
    ------
    InvalidValueError
        If the model is none, has no parameters or none with values, or an argument does not fit.
    MissingPackageError
        If PyTorch is not installed.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    >>> for layer in (model[0], model[2]):
    ...     _ = nn.init.constant_(layer.weight, 0.1)
    >>> [(finding.code, finding.where) for finding in diagnose(model).findings]
    [('UNIT01', ('0.weight', '2.weight'))]
    """
    require("torch", "diagnosing a model")
    from initlab.diagnosis.examine import examine  # noqa: PLC0415 - PyTorch takes seconds to load

    return examine(
        model, inputs, targets, loss, seed, optimizer=optimizer, making=making, widths=widths
    )


def treat(model: nn.Module, report: Diagnosis, *, seed: int | None = None) -> Report:
    """Apply the fixes of a diagnosis to the model, in place, through :func:`initlab.initialize`.

    Parameters
    ----------
    model
        The one that was diagnosed, or another one of its class.
    report
        What :func:`diagnose` returned.
    seed
        Of the new weights; the diagnosis' own if not given.

    Returns
    -------
    initlab.models.report.Report
        What changed; parameters that no finding is about are kept.

    Raises
    ------
    InvalidValueError
        If a parameter cannot be written; the model is then as it was before.
    """
    require("torch", "treating a model")
    from initlab.diagnosis.treatment import apply  # noqa: PLC0415 - PyTorch takes seconds to load

    return apply(model, report, seed)


__all__ = ["diagnose", "treat"]

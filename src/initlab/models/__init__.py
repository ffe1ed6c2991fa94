"""A PyTorch model as facts, and a plan of new weights for it: shown, applied, written as code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from initlab._base.optional import require

if TYPE_CHECKING:
    from torch import Tensor, nn

    from initlab.initializers import Initializer
    from initlab.models.plan import Plan
    from initlab.models.report import Report

    Loss = Callable[[Any, Any], Tensor]


def initialize(
    model: nn.Module,
    how: str | Initializer = "auto",
    *,
    rules: Sequence[tuple[str, str | Initializer]] | None = None,
    seed: int = 0,
    batch: Any = None,
    targets: Any = None,
    loss: Loss | None = None,
    keep: str | Sequence[str] = (),
    overwrite_pretrained: bool = False,
) -> Report:
    """Draw new weights for a model, in place.

    Parameters
    ----------
    model
        Any ``torch.nn.Module``.
    how
        ``"auto"``: each layer's scale follows from the model itself, see :doc:`docs/initialize.md`.
        Or a name of the catalogue, with arguments where it takes any: ``"he_normal"``,
        ``"normal(std=0.02)"``, ``"lsuv"``. Biases then start at 0, normalisations at 1 and 0, and
        embeddings as ``embedding`` or ``tied_embedding``, unless the rule has one size for all.
    rules
        Instead of ``how``: pairs of a pattern and a name, of which the first that matches counts.
        A pattern names a parameter, or a module and all in it; ``*`` stands for any text:
        ``[("*.attn.*", "mimetic"), ("lm_head", "zeros"), ("*", "auto")]``. ``"keep"`` leaves a
        parameter as it is; so does no match. A pattern whose last part names a parameter,
        ``"lm_head.bias"``, is about this parameter; one that names a module is about its weights,
        and its biases and normalisations start as with ``how``.
    seed
        Every parameter's random numbers follow from it and the parameter's qualified name: not from
        the order of registration, layers elsewhere, device, dtype or the number of threads.
    batch
        What the model is run on: a tensor, a tuple of positional arguments, or a dictionary of
        named ones. Without it, ``"auto"`` makes an example that fits the first layer. Data-driven
        initialisers need it.
    targets
        Of the batch or the whole data set: the output's bias starts at what they suggest, under
        ``how`` or where a rule says ``"auto"``. The loss of ``metainit`` and ``gradinit`` is taken
        on them.
    loss
        Called with the output and the targets, for ``metainit`` and ``gradinit``.
    keep
        Patterns of parameters to leave as they are.
    overwrite_pretrained
        Draw weights anew that look pretrained; they are kept otherwise.

    Returns
    -------
    Report
        What changed, what was kept and why. Printing it gives a table.

    Raises
    ------
    UnknownNameError, InvalidValueError
        If an argument does not fit, or a parameter cannot be written (lazy, on the meta device,
        flattened by a first-version fully sharded wrapper). The model is then unchanged.
    MissingPackageError
        If PyTorch is not installed.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))
    >>> report = initialize(model, "auto", seed=0)
    >>> [change.initializer for change in report.changes]
    ['lecun_normal', 'zeros', 'he_normal', 'zeros']
    """
    return preview(
        model,
        how,
        rules=rules,
        seed=seed,
        batch=batch,
        targets=targets,
        loss=loss,
        keep=keep,
        overwrite_pretrained=overwrite_pretrained,
    ).apply()


def preview(
    model: nn.Module,
    how: str | Initializer = "auto",
    *,
    rules: Sequence[tuple[str, str | Initializer]] | None = None,
    seed: int = 0,
    batch: Any = None,
    targets: Any = None,
    loss: Loss | None = None,
    keep: str | Sequence[str] = (),
    overwrite_pretrained: bool = False,
) -> Plan:
    """Plan what :func:`initialize` would do, and touch nothing; the arguments are the same.

    Returns
    -------
    Plan
        Printing it shows each parameter before and after; ``plan.apply()`` does it;
        ``plan.as_code()`` is plain PyTorch that does the same. It can be used in a ``with``
        statement.

    Examples
    --------
    >>> from torch import nn
    >>> with preview(nn.Linear(3, 2), "orthogonal") as plan:
    ...     print(plan.decisions["weight"].pieces[0].initializer)
    <initializer orthogonal>
    """
    require("torch", "initialising a model")
    from initlab.models.plan import make  # noqa: PLC0415 - PyTorch takes seconds to load

    return make(
        model,
        how,
        rules=rules,
        seed=seed,
        batch=batch,
        targets=targets,
        loss=loss,
        keep=keep,
        overwrite_pretrained=overwrite_pretrained,
    )


__all__ = ["initialize", "preview"]

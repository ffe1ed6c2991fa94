"""A callback for Lightning: before training starts, it says whether the model starts well.

::

    from initlab.integrations.lightning import callback

    trainer = Trainer(callbacks=[callback(on_finding="raise")])

It works with ``lightning`` and with ``pytorch_lightning``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from initlab._base.errors import MissingPackageError
from initlab._base.optional import require

if TYPE_CHECKING:
    from initlab.diagnosis.diagnosis import Diagnosis

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def callback(
    on_finding: Literal["warn", "raise"] = "warn", *, ignore: Sequence[str] = (), seed: int = 0
) -> Any:
    """Make a ``Callback`` that diagnoses the ``LightningModule`` before training starts.

    It takes the first batch of the training data, and leaves the model, the order of the data and
    all random states as they are. The module's ``forward`` runs on the batch's inputs; where there
    is none, or it does not run on them, the loss is that of ``training_step``.

    Parameters
    ----------
    on_finding
        Whether errors and warnings are shown as a warning, or stop the training.
    ignore
        Codes of findings that do not count.
    seed
        As in :func:`initlab.diagnose`.

    Returns
    -------
    lightning.pytorch.Callback
        Its ``report`` holds the diagnosis afterwards.

    Raises
    ------
    InvalidValueError
        If ``on_finding`` is something else.
    MissingPackageError
        If Lightning is not installed.
    """
    require("torch", "diagnosing a model")
    from initlab.integrations import _training  # noqa: PLC0415 - PyTorch takes seconds to load

    _training.require_choice(on_finding)
    return _class(_package())(on_finding, ignore, seed)


def _package() -> str:
    """Return the package that is loaded already, or else the one that is installed."""
    for name in _PACKAGES:
        if name in sys.modules:
            return name
    for name in _PACKAGES:
        try:
            require(name.partition(".")[0], "a Lightning callback")
        except MissingPackageError:
            continue
        return name
    raise MissingPackageError("a Lightning callback needs Lightning: pip install lightning")


@cache
def _class(package: str) -> type[Any]:
    base: Any = require(package, "a Lightning callback").Callback

    class StartCheck(base):
        """Diagnoses the model before training starts."""

        def __init__(self, on_finding: Any, ignore: Sequence[str], seed: int) -> None:
            super().__init__()
            self.report: Diagnosis | None = None
            self._on_finding, self._ignore, self._seed = on_finding, ignore, seed

        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            """Diagnose, and tell."""
            from initlab.integrations import _training  # noqa: PLC0415 - see above

            self.report = _diagnosed(trainer, pl_module, self._seed)
            _training.tell(self.report, self._on_finding, self._ignore)

    return StartCheck


def _diagnosed(trainer: Any, module: Any, seed: int) -> Diagnosis:
    from initlab.integrations import _training  # noqa: PLC0415 - PyTorch takes seconds to load

    batch = _training.first_batch(_loader(trainer, module))
    if batch is None:
        return _training.look(module, None, None, seed, None)
    report: Diagnosis | None = None
    if _has_forward(module):
        inputs, targets = _training.parts(batch, module.forward)
        report = _training.look(module, inputs, targets, seed, None)
        if not report.problem:
            return report
    with _as_forward(module):
        stepped = _training.look(module, (batch,), None, seed, None)
    return report if report is not None and stepped.problem else stepped


def _loader(trainer: Any, module: Any) -> Any:
    """Return the training data; the trainer itself reads them only later."""
    for holder in (getattr(trainer, "fit_loop", None), trainer):
        source = getattr(holder, "_data_source", None)
        if source is not None and source.is_defined():
            return source.dataloader()
    data = getattr(trainer, "datamodule", None)
    return (data if data is not None else module).train_dataloader()


def _has_forward(module: Any) -> bool:
    """Tell whether a class of the user's own defines it."""
    owner = next((one for one in type(module).__mro__ if "forward" in vars(one)), None)
    own = owner is not None and not owner.__module__.startswith(
        ("torch.", "lightning.", "pytorch_l")
    )
    return own or "forward" in vars(module)


@contextmanager
def _as_forward(module: Any) -> Generator[None]:
    """Let the module's forward be its training step, which logs nothing."""
    own = vars(module)
    original = module.forward  # which the step may call

    def step(batch: Any) -> Any:
        own["forward"] = original
        try:
            return module.training_step(batch, 0)
        finally:
            own["forward"] = step

    def nothing(*_args: Any, **_kwargs: Any) -> None:
        return

    stand_ins: dict[str, Callable[..., Any]] = {
        "forward": step,
        "log": nothing,
        "log_dict": nothing,
    }
    before = {name: own[name] for name in stand_ins if name in own}
    own.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            own.pop(name, None)
        own.update(before)

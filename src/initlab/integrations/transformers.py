"""A callback for Hugging Face's ``Trainer``: it says whether the model starts well.

::

    from initlab.integrations.transformers import callback

    trainer = Trainer(model=model, train_dataset=data, callbacks=[callback()])
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from initlab._base.optional import require

if TYPE_CHECKING:
    from initlab.diagnosis.diagnosis import Diagnosis


def callback(
    on_finding: Literal["warn", "raise"] = "warn", *, ignore: Sequence[str] = (), seed: int = 0
) -> Any:
    """Make a ``TrainerCallback`` that diagnoses the model as training begins.

    It takes the first batch of the training data, and leaves the model, the order of the data and
    all random states as they are. Labels in the batch give the loss, as in training.

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
    transformers.TrainerCallback
        Its ``report`` holds the diagnosis afterwards.

    Raises
    ------
    InvalidValueError
        If ``on_finding`` is something else.
    MissingPackageError
        If transformers is not installed.
    """
    require("torch", "diagnosing a model")
    from initlab.integrations import _training  # noqa: PLC0415 - PyTorch takes seconds to load

    _training.require_choice(on_finding)
    return _class()(on_finding, ignore, seed)


@cache
def _class() -> type[Any]:
    base: Any = require("transformers", "a callback of its trainer").TrainerCallback

    class StartCheck(base):
        """Diagnoses the model as training begins."""

        def __init__(self, on_finding: Any, ignore: Sequence[str], seed: int) -> None:
            super().__init__()
            self.report: Diagnosis | None = None
            self._on_finding, self._ignore, self._seed = on_finding, ignore, seed

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Diagnose, and tell."""
            from initlab.integrations import _training  # noqa: PLC0415 - see above

            del args, state, control
            self.report = _diagnosed(kwargs["model"], kwargs.get("train_dataloader"), self._seed)
            _training.tell(self.report, self._on_finding, self._ignore)

    return StartCheck


def _diagnosed(model: Any, loader: Any, seed: int) -> Diagnosis:
    from initlab.diagnosis.subject import written  # noqa: PLC0415 - PyTorch takes seconds to load
    from initlab.integrations import _training  # noqa: PLC0415 - the same

    inner = written(model)
    batch = _training.first_batch(loader) if loader is not None else None
    inputs, targets = _training.parts(batch, inner.forward)
    return _training.look(inner, inputs, targets, seed, None)

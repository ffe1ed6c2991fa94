"""The result of a diagnosis: the table, the findings, and what did not apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, Literal

from initlab._base.records import dumps
from initlab.diagnosis.finding import Finding
from initlab.diagnosis.operations import Operation

_COLUMNS = ("operation", "type", "shape", "std", "wanted", "E[x²]", "predicted", "gradient")


@dataclass(frozen=True)
class Diagnosis:
    """What was found in a model.

    Printing it gives the findings; in a notebook it is a table with them.

    Attributes
    ----------
    findings
        Root causes, errors first.
    layers
        One row an executed operation, in execution order.
    not_applicable
        Codes of the checks that the model has nothing for; they have not passed.
    problem
        What stopped the run, and at which layer; empty if nothing did. What could be measured until
        then stands in the rows.
    notes
        Where the inputs come from, what the run needed, what is not followed.
    seed
        Of made-up inputs and projections, and of what :func:`initlab.treat` draws.
    loss, loss_kind
        The loss at the start and how it was taken; None if there was none.
    model_type, parameters
        Class of the model, and how many numbers it holds.
    classes
        Of a cross-entropy: a uniform guess costs their logarithm; 0 for any other loss.
    inputs
        What it ran on, in words; empty if it did not run.
    """

    findings: tuple[Finding, ...]
    layers: tuple[Operation, ...]
    not_applicable: tuple[str, ...] = ()
    problem: str = ""
    notes: tuple[str, ...] = ()
    seed: int = 0
    loss: float | None = None
    loss_kind: str = ""
    model_type: str = ""
    parameters: int = 0
    classes: int = 0
    inputs: str = ""
    _context: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False, compare=False)

    @property
    def verdict(self) -> Literal["healthy", "findings"]:
        """``"findings"`` if there is an error or a warning, or the model did not run."""
        alarms = any(one.severity != "note" for one in self.findings)
        return "findings" if alarms or self.problem else "healthy"

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that are errors."""
        return tuple(one for one in self.findings if one.severity == "error")

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that are errors or warnings."""
        return tuple(one for one in self.findings if one.severity != "note")

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the errors and warnings."""
        return tuple(one.code for one in self.alarms)

    def context(self, name: str) -> Any:
        """Return what the diagnosis was given: ``"inputs"``, ``"targets"``, ``"optimizer"``."""
        return self._context.get(name)

    def document(self) -> dict[str, Any]:
        """Return what :meth:`to_json` writes."""
        return {
            "verdict": self.verdict,
            "problem": self.problem,
            "model": self.model_type,
            "parameters": self.parameters,
            "inputs": self.inputs,
            "loss": self.loss,
            "loss_kind": self.loss_kind,
            "classes": self.classes,
            "seed": self.seed,
            "findings": [one.document() for one in self.findings],
            "layers": [asdict(one) for one in self.layers],
            "not_applicable": list(self.not_applicable),
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """Return one strict JSON document."""
        return dumps(self.document(), indent=2)

    def text(self) -> str:
        """Return the findings as text, the root causes first."""
        head = f"{self.model_type}: {self._summary()}"
        blocks = [head, *([f"problem: {self.problem}"] if self.problem else [])]
        for one in self.findings:
            lines = [
                f"{one.severity} {one.code}: {one.title}",
                f"  where: {', '.join(one.where)}",
                f"  cause: {one.cause}",
                f"  fix:   {one.fix.text}",
                *(f"         {line}" for line in one.fix.code.splitlines()),
            ]
            blocks.append("\n".join(lines))
        blocks += [f"note: {note}" for note in self.notes]
        return "\n\n".join(blocks)

    def __str__(self) -> str:
        return self.text()

    def _summary(self) -> str:
        if self.problem and not self.findings:
            return "could not be measured to the end"
        counts = {
            word: sum(one.severity == word for one in self.findings)
            for word in ("error", "warning", "note")
        }
        told = [f"{n} {word}{'s' if n != 1 else ''}" for word, n in counts.items() if n]
        return ", ".join(told) if self.alarms else f"healthy{f' ({told[0]})' if told else ''}"

    def _repr_html_(self) -> str:
        items = "".join(
            f"<li><strong>{escape(one.severity)} {escape(one.code)}</strong>: {escape(one.title)}"
            f" ({escape(', '.join(one.where))})<br>{escape(one.cause)}<br>{escape(one.fix.text)}"
            f"{f'<pre>{escape(one.fix.code)}</pre>' if one.fix.code else ''}</li>"
            for one in self.findings
        )
        problem = f"<p>{escape(self.problem)}</p>" if self.problem else ""
        head = "".join(f"<th>{escape(name)}</th>" for name in _COLUMNS)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(row)) + "</tr>"
            for row in self.layers
        )
        return (
            f"<p><strong>{escape(self.model_type)}</strong>: {escape(self._summary())}</p>{problem}"
            f"<ul>{items}</ul><details><summary>{len(self.layers)} operations</summary>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></details>"
        )


def _cells(row: Operation) -> tuple[str, ...]:
    return (
        row.name,
        row.type,
        "×".join(map(str, row.shape)),
        *(
            "" if value is None else f"{value:.3g}"
            for value in (
                row.std,
                row.wanted_std,
                row.second_moment,
                row.predicted_second_moment,
                row.gradient_norm,
            )
        ),
    )

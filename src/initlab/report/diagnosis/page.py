"""A diagnosis as one page that needs nothing else: findings, table and charts are inside it."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any

from initlab._base.version import __version__
from initlab.report.diagnosis import words
from initlab.report.diagnosis.changes import changes, outcomes
from initlab.report.diagnosis.charts import display
from initlab.report.diagnosis.rows import Row, rows
from initlab.report.figures import style

if TYPE_CHECKING:
    from initlab.diagnosis.diagnosis import Diagnosis
    from initlab.diagnosis.finding import Finding
    from initlab.diagnosis.job import Remedy

_CSS_PIXELS = 96 / 144  # of a figure's pixels: sharp on dense screens
_OPEN = 80  # rows of a table that is not folded away
_HEADINGS = (
    *("", "operation", "type", "shape", "fans", "std", "wanted std", "mean", "E[x²]"),
    *("predicted", "dead", "saturated", "correlation", "gradient norm"),
)
_LEFT = ("", "operation", "type", "shape", "fans")
_WORDS = {
    "std, wanted std": "of the weight: what it is, and what its place in the model asks for",
    "mean, E[x²]": "of the output, measured over the batch",
    "predicted": "E[x²], from the weights alone",
    "dead": "share of units that are 0 on the whole batch",
    "saturated": "share of entries where the activation is flat, or of queries that attend to one "
    "key alone",
    "correlation": "mean cosine between the signals of two inputs",
    "gradient norm": "of the loss, by the output",
    "!": "a finding is about this number; the number in front of the row is the finding's",
}


def page(found: Any) -> str:
    """Write the page.

    Parameters
    ----------
    found
        A :class:`initlab.diagnosis.diagnosis.Diagnosis`, or a
        :class:`initlab.diagnosis.job.Remedy` with one before and one after.

    Returns
    -------
    str
        An HTML document that refers to nothing outside itself.
    """
    remedied: bool = hasattr(found, "before")
    report: Diagnosis = found.before if remedied else found
    state, verdict = _state(report), words.verdict(report)
    if remedied and report.alarms:
        verdict = f"{verdict} → {words.verdict(found.after)} after the fix"
    return Template(_resource("diagnosis.html")).substitute(
        title=escape(f"initlab diagnose: {report.model_type}"),
        style=_resource("report.css") + _resource("diagnosis.css"),
        model=escape(report.model_type),
        state=state,
        verdict=escape(verdict),
        problem=f'<p class="notice error">{escape(report.problem)}</p>' if report.problem else "",
        facts=_facts(words.facts(report).items()),
        sections=_sections(report, found if remedied else None),
        version=escape(__version__),
    )


def _sections(report: Diagnosis, remedy: Remedy | None) -> str:
    parts = [_findings(report)]
    if remedy is not None and report.alarms:
        parts.append(_fixed(remedy))
    found = rows(report)
    drawn = display(found)
    if drawn is not None:
        parts.append(_section("Through the model", _figure(style.png(drawn.figure()), report)))
    if remedy is not None and report.alarms:
        after = display(rows(remedy.after))
        if after is not None:
            figure = _figure(style.png(after.figure()), remedy.after)
            parts.append(_section("Through the model, after the fix", figure))
    if found:
        parts.append(_operations(found))
    notes = [escape(note) for note in words.notes(report)]
    if report.not_applicable:
        notes.append(f"Nothing in this model for: {escape(', '.join(report.not_applicable))}.")
    if notes:
        items = "\n".join(f"<li>{note}</li>" for note in notes)
        parts.append(_section("Notes", f'<ul class="plain">{items}</ul>'))
    return "\n".join(parts)


def _findings(report: Diagnosis) -> str:
    if not report.findings:
        text = "No measurement to the end, no findings." if report.problem else "Nothing to report."
        return _section("Findings", f"<p>{text}</p>")
    items = "\n".join(_finding(number, one) for number, one in enumerate(report.findings, start=1))
    return _section("Findings", f'<ol class="findings">{items}</ol>')


def _finding(number: int, one: Finding, *, anchor: bool = True) -> str:
    facts = [
        ("where", words.named(one.where)),
        ("numbers", words.sentence(one.evidence)),
        ("cause", one.cause),
        ("fix", one.fix.text),
    ]
    code = _code(one.fix.code) if one.fix.code else ""
    target = f' id="finding-{number}"' if anchor else ""
    return (
        f'<li{target}><h3><span class="number">{number}</span> '
        f'<span class="status {one.severity}">{one.severity} {escape(one.code)}</span>'
        f"{escape(one.title)}</h3>"
        f'<dl class="facts">{_facts((name, text) for name, text in facts if text)}</dl>{code}</li>'
    )


def _fixed(remedy: Remedy) -> str:
    before, after = remedy.before, remedy.after
    items = "".join(
        f'<li><span class="status {"cleared" if cleared else "error"}">'
        f"{'cleared' if cleared else 'still there'}</span>"
        f"{escape(code)}: {escape(title)}</li>"
        for code, title, cleared in outcomes(before, after)
    )
    body = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(old)}</td><td>{escape(new)}</td></tr>"
        for name, old, new in changes(before, after)
    )
    left = "".join(
        _finding(number, one, anchor=False) for number, one in enumerate(after.alarms, start=1)
    )
    remaining = f'<h3>What is left</h3><ol class="findings">{left}</ol>' if left else ""
    return _section(
        "After the fix",
        f'<ul class="plain">{items}</ul>'
        '<div class="wide"><table class="changes"><thead><tr><th></th><th>before</th><th>after</th>'
        f"</tr></thead><tbody>{body}</tbody></table></div>{remaining}"
        f"<h3>The change in plain PyTorch</h3>{_code(remedy.code)}",
    )


def _operations(found: Sequence[Row]) -> str:
    head = "".join(f"<th{_class(name in _LEFT, 'text')}>{escape(name)}</th>" for name in _HEADINGS)
    body = "\n".join(_row(row) for row in found)
    table = (
        f'<div class="wide"><table class="operations"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )
    opened = " open" if len(found) <= _OPEN or any(row.trouble for row in found) else ""
    told = f"{words.counted(len(found), 'operation')}, in the order in which they ran"
    meaning = f'<dl class="facts">{_facts(_WORDS.items())}</dl>'
    return _section(
        "Operations", f"<details{opened}><summary>{told}</summary>{table}{meaning}</details>"
    )


def _row(row: Row) -> str:
    one = row.operation
    rough = (one.second_moment or 0.0) ** 0.5
    links = ", ".join(f'<a href="#finding-{n}">{n}</a>' for n in row.findings)
    cells = [
        ("", "text", links),
        ("label", "name", escape(row.label)),
        ("type", "text", escape(words.kind(one))),
        ("shape", "text", escape(words.shape(one.shape))),
        ("fans", "text", escape(words.fans(one))),
        *(
            (name, "", escape(words.short(value, rough if name == "mean" else 0.0)))
            for name, value in (
                ("std", one.std),
                ("wanted_std", one.wanted_std),
                ("mean", one.mean),
                ("second_moment", one.second_moment),
                ("predicted_second_moment", one.predicted_second_moment),
            )
        ),
        ("dead", "", escape(words.share(one.dead))),
        ("saturated", "", escape(words.share(one.saturated))),
        ("correlation", "", escape(words.short(one.correlation, 1.0))),
        ("gradient_norm", "", escape(words.short(one.gradient_norm))),
    ]
    told = "".join(
        f"<td{_class(bool(kind), kind)}>{_told(text, row.trouble.get(name, ''))}</td>"
        for name, kind, text in cells
    )
    return f"<tr{_class(bool(row.findings), 'pointed')}>{told}</tr>"


def _told(text: str, severity: str) -> str:
    if not severity or severity == "note":
        return text
    return f'<b class="{severity}">!&nbsp;{text}</b>'


def _state(report: Diagnosis) -> str:
    if report.problem or report.errors:
        return "error"
    return "warning" if report.alarms else "healthy"


def _figure(png: bytes, report: Diagnosis) -> str:
    width, height = (round(size * _CSS_PIXELS) for size in struct.unpack(">II", png[16:24]))
    data = base64.b64encode(png).decode()
    alternative = f"Numbers of each operation of {report.model_type}, in the order of execution"
    return (
        f'<figure><div class="wide"><img alt="{escape(alternative)}" width="{width}" '
        f'height="{height}" src="data:image/png;base64,{data}"></div></figure>'
    )


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{escape(heading)}</h2>\n{content}\n</section>"


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs)


def _code(code: str) -> str:
    return f"<pre><code>{escape(code.rstrip())}</code></pre>"


def _class(wanted: bool, name: str) -> str:  # noqa: FBT001 - whether the element has it
    return f' class="{name}"' if wanted else ""


def _resource(name: str) -> str:
    return resources.files("initlab.report").joinpath("templates", name).read_text("utf-8")

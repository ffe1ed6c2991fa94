"""The report as one page that needs nothing else: figures, tables and styles are inside it."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from string import Template

from initlab._base.version import __version__
from initlab.experiments import Results, StartSummary
from initlab.report import setting
from initlab.report.cells import Lines, cost_cells, happened, outcome, summary_cells
from initlab.report.text import cost_text, score_text, step_text, wrap

# Runs that the page lists; beyond, it would take browsers seconds to lay out.
MOST_RUNS = 500
_OPEN_RUNS = 12

_CSS_PIXELS = 96 / 144  # of a figure's pixels: sharp on dense screens
_NAME = 26  # characters of a start before it is broken
_SMALL = 480  # CSS pixels; a narrower figure needs no sideways scrolling on a phone

_ALTERNATIVES = {
    "costs": "Cost against step, one line for each start",
    "boundaries": "Predictions of one network of each start",
    "signals": "Spread of activations and gradients through the layers",
}


def page(results: Results, figures: Mapping[str, bytes]) -> str:
    """Write the report.

    Parameters
    ----------
    results
        Finished runs, at least one.
    figures
        PNG files by name: ``costs``, ``boundaries``, ``signals``.

    Returns
    -------
    str
        An HTML document that refers to nothing outside itself.
    """
    shown = min(len(results.runs), MOST_RUNS)
    return Template(_resource("report.html")).substitute(
        title=escape(setting.title(results)),
        style=_resource("report.css"),
        notice=_notice(results),
        facts=_facts(results),
        starts=_starts(results),
        **{
            f"{name}_figure": _figure(name, png, _caption(name, results))
            for name, png in figures.items()
        },
        summary_words=_summary_words(results),
        summary_table=_summary_table(results),
        cost_words=_cost_words(results),
        cost_table=_cost_table(results),
        runs_open=" open" if len(results.runs) <= _OPEN_RUNS else "",
        runs_words=f"{shown} of {len(results.runs)} runs, all of them in runs.csv",
        runs_table=_runs_table(results),
        reproduce=_reproduce(results),
        definitions=_definitions(results),
        version=escape(__version__),
        seconds=f"{results.seconds:.1f}",
    )


def fragment(results: Results) -> str:
    """Write the few lines that a notebook shows: title, what happened, summary table."""
    lines = "".join(
        f"<li><code>{escape(each.init)}</code>: {_happened(each)}</li>"
        for each in results.summaries()
    )
    return (
        f"<div><p><strong>{escape(setting.title(results))}</strong></p>{_notice(results)}"
        f"<ul>{lines}</ul>{_summary_table(results)}</div>"
    )


_CAPTIONS = {
    "costs": "A value that no scale can show, such as inf, is marked above the top edge. The last, "
    "larger mark is the cost after the last update.",
    "boundaries": "One network of each start, its first seed's.",
    "signals": "Standard deviation of the activations, and root mean square of the derivative of a "
    "sample's cost by the pre-activations, over units and training samples. Exact zeros lie on the "
    "line marked 0. Rings: what mean-field theory predicts for the start, before anything is run.",
}


def _caption(name: str, results: Results) -> str:
    """Say what a figure shows, and why a prediction that one may miss is not there."""
    if name != "signals":
        return _CAPTIONS[name]
    missing = [f" No prediction: {each.why_not}." for each in results.predictions() if each.why_not]
    return _CAPTIONS[name] + "".join(missing)


def _resource(name: str) -> str:
    return resources.files("initlab.report").joinpath("templates", name).read_text("utf-8")


def _notice(results: Results) -> str:
    if not results.interrupted:
        return ""
    finished = f"Interrupted: the {len(results.runs)} runs that were finished by then are reported."
    return f'<p class="notice">{finished}</p>'


def _facts(results: Results) -> str:
    items = [
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>"
        for name, text in setting.facts(results).items()
    ]
    items += [f"<dd>{escape(note)}</dd>" for note in results.dataset.notes]  # below the data
    return "\n".join(items)


def _starts(results: Results) -> str:
    return "\n".join(
        f"<li><div><code>{escape(each.init)}</code> {_chips(outcome(each))}</div>"
        f"<p>{_happened(each)}</p></li>"
        for each in results.summaries()
    )


def _happened(each: StartSummary) -> str:
    return "<br>".join(escape(line) for line in happened(each))


def _chips(lines: Lines) -> str:
    return "".join(
        f'<span class="status {escape(line.split()[-1])}">{escape(line)}</span>' for line in lines
    )


def _figure(name: str, png: bytes, caption: str) -> str:
    width, height = (round(size * _CSS_PIXELS) for size in struct.unpack(">II", png[16:24]))
    data = base64.b64encode(png).decode()
    kind = ' class="small"' if width < _SMALL else ""
    return (
        f'<figure><div class="wide"><img{kind} alt="{escape(_ALTERNATIVES[name])}" '
        f'width="{width}" height="{height}" src="data:image/png;base64,{data}"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _summary_words(results: Results) -> str:
    if not summary_cells(results).several:
        return "One run a start."
    return "Median over seeds, [first and third quartile], (95 % interval of the median)."


def _summary_table(results: Results) -> str:
    found = summary_cells(results)
    classes = ("text", "text", "", "", "", "")
    rows = [
        (_name(row[0][0]), _chips(row[1]), *(_cell(cell) for cell in row[2:])) for row in found.rows
    ]
    return _table(found.headings, rows, classes)


def _cost_words(results: Results) -> str:
    seeds = cost_cells(results).seeds
    words = f"Median over {seeds} seeds. " if seeds > 1 else ""
    words += "Each cost is the one before that step's update; the last row is after the last one."
    if results.experiment.cost == "course":
        words += (
            " The course's form, -log(a), is inf where a sigmoid saturates at the wrong end; the "
            "careful cost beside it is computed from the logits and stays finite."
        )
    return words


def _cost_table(results: Results) -> str:
    found = cost_cells(results)
    headings = ["step", *("careful" if c.careful else wrap(c.init, _NAME) for c in found.columns)]
    rows = [
        (escape(step), *(escape(column.cells[row]) for column in found.columns))
        for row, step in enumerate(found.steps)
    ]
    return _table(headings, rows, [""] * len(headings))


def _runs_table(results: Results) -> str:
    regression = results.dataset.task == "regression"
    score = "R2" if regression else "accuracy"
    headings = (
        *("start", "seed", "status", "final cost", f"train {score}", f"test {score}"),
        *("steps to target", "seconds", "what happened"),
    )
    classes = ("text", "", "text", "", "", "", "", "", "text prose")
    rows = [
        (
            _name(run.init),
            str(run.seed),
            _chips((run.status,)),
            cost_text(run.final_cost),
            score_text(run.train_score, regression=regression),
            score_text(run.test_score, regression=regression),
            step_text(run.steps_to_target),
            f"{run.seconds:.3g}",
            escape(run.what_happened),
        )
        for run in results.runs[:MOST_RUNS]
    ]
    return _table(headings, rows, classes)


def _table(headings: Iterable[str], rows: Iterable[Sequence[str]], classes: Sequence[str]) -> str:
    """Write a table from text headings and cells that are HTML already."""

    def cell(tag: str, kind: str, content: str) -> str:
        return f'<{tag} class="{kind}">{content}</{tag}>' if kind else f"<{tag}>{content}</{tag}>"

    head = "".join(
        cell("th", kind.removesuffix(" prose"), escape(heading).replace("\n", "<br>"))
        for kind, heading in zip(classes, headings, strict=True)
    )
    body = "\n".join(
        f"<tr>{''.join(cell('td', k, c) for k, c in zip(classes, row, strict=True))}</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>'
        "</table></div>"
    )


def _name(init: str) -> str:
    return escape(wrap(init, _NAME)).replace("\n", "<br>")


def _cell(lines: Lines) -> str:
    return escape(lines[0]) + "".join(f"<small>{escape(line)}</small>" for line in lines[1:])


def _reproduce(results: Results) -> str:
    command = setting.command(results)
    blocks = [command] if command else []
    blocks.append(setting.python(results))
    return "\n".join(f"<pre><code>{escape(block)}</code></pre>" for block in blocks)


def _definitions(results: Results) -> str:
    words = {
        **setting.status_words(results),
        "steps to target": "the first recorded step whose cost is at or below the target",
    }
    if results.dataset.task == "regression":
        words["R2"] = "1 - squared error / squared deviation from the mean; 1 is perfect"
    if summary_cells(results).several:
        words["interval"] = (
            "95 % percentile bootstrap of the median: the range of medians that as many seeds, "
            "drawn again from these, give in 19 of 20 cases; a cost that is no number counts as inf"
        )
    return "\n".join(
        f"<dt>{escape(word)}</dt><dd>{escape(text)}</dd>" for word, text in words.items()
    )

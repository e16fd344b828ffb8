"""Charts of all models side by side, in the report of instruct: what becomes of the questions, and token F1 by task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clinadapt.documents import charts
from clinadapt.documents.page import COLOURS, count, counted
from components.evaluate.report.shared import of_100

HUES = {"candidate": "blue", "base": "muted", "champion": "orange"}
# What is good first, then what is not
OUTCOMES = {
    "exact_match": "Exactly right, where checkable",
    "correct_refusals": "Rightly refused",
    "contradicted": "Contradicts the note",
    "unsupported": "Not supported by the note",
    "wrong_refusals": "Wrongly refused",
}
_GOOD = ("exact_match", "correct_refusals")

Row = tuple[str, float, Mapping[str, charts.Estimate]]  # name, how many are counted, model -> estimate


def outcomes_figure(evaluation: Mapping[str, Any]) -> Markup:
    """Chart of the shares of answers that are right, wrong and refused, of every model, with intervals."""
    models = evaluation["models"]
    shown = [name for name in OUTCOMES if all(name in model["metrics"] for model in models.values())]
    entries = {name: {key: model["metrics"][name] for key, model in models.items()} for name in shown}
    rows = [(OUTCOMES[name], entries[name]["candidate"]["of"], entries[name]) for name in shown]
    text = "; ".join(
        f"{title}: " + ", ".join(f"{models[key]['title']} {counted(entry)}" for key, entry in of_models.items())
        for title, _, of_models in rows
    )
    good = sum(name in _GOOD for name in shown)

    def draw(figure: Figure) -> None:
        axes = _draw(figure, rows, models, lambda entry: counted(entry), 0 < good < len(shown) and good)
        charts.percent_axis(axes.xaxis)
        axes.set(xlim=(0, 1.1), xlabel="share of the answers that are counted")

    title = "What becomes of the questions, by model, with intervals"
    return charts.svg("outcomes", title, f"{text}.", (charts.WIDTH, 110 + 52 * len(rows)), draw)


def tasks_figure(evaluation: Mapping[str, Any]) -> Markup:
    """Chart of token F1 of every model over all tasks and in each task, with intervals."""
    models = evaluation["models"]
    rows: list[Row] = [("All tasks", evaluation["rows"], {k: m["metrics"]["token_f1"] for k, m in models.items()})]
    rows += [
        (task, number, {name: model["per_task"][task]["token_f1"] for name, model in models.items()})
        for task, number in evaluation["tasks"].items()
    ]
    text = "; ".join(
        f"{task}: " + ", ".join(f"{models[name]['title']} {of_100(entry['value'])}" for name, entry in entries.items())
        for task, _, entries in rows
    )

    def draw(figure: Figure) -> None:
        axes = _draw(figure, rows, models, lambda entry: of_100(entry["value"]), len(rows) > 1)
        charts.percent_axis(axes.xaxis)
        axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f}")
        axes.set(xlim=(0, 1.06), xlabel="token F1 (0 to 100)")
        axes.get_yticklabels()[0].set(weight="bold")

    title = "Token F1 of every model in each task with its interval"
    return charts.svg("tasks", title, f"{text}.", (charts.WIDTH, 110 + 52 * len(rows)), draw)


def _draw(
    figure: Figure,
    rows: Sequence[Row],
    models: Mapping[str, Any],
    form: Callable[[charts.Estimate], str],
    line: int,
) -> Axes:
    """Draw one row each, with an arrow from the base model to the adapter, whose value is written beside its interval.

    Args:
        figure: to draw on.
        rows: from the top.
        models: model -> entry of evaluation.json, which gives the models that are drawn and their titles.
        form: the adapter's estimate as text.
        line: rows above a dividing line; 0 for none.
    """
    axes: Axes = figure.subplots()
    charts.row_axis(axes, [f"{charts.short(name)} ({count(number)})" for name, number, _ in rows])
    order = [name for name in ("base", "champion", "candidate") if name in models]
    for row, (_, _, entries) in enumerate(rows):
        start, end = entries["base"]["value"], entries["candidate"]["value"]
        if abs(end - start) > 0.03:
            arrow = {"arrowstyle": "->", "color": COLOURS["muted"], "linewidth": 1, "shrinkA": 6, "shrinkB": 7}
            axes.annotate("", (end, row + 0.2), (start, row - 0.2), arrowprops=arrow, zorder=0)
        for position, name in enumerate(order):
            entry, colour = entries[name], COLOURS[HUES[name]]
            y = row - 0.2 + 0.4 * position / (len(order) - 1)
            label = models[name]["title"] if row == 0 else None
            ends: Any = {"color": colour, "linewidth": 4, "alpha": 0.55, "solid_capstyle": "butt"}
            axes.plot([entry["low"], entry["high"]], [y, y], **ends)
            axes.plot(entry["value"], y, "o", color=colour, markersize=8, markeredgecolor=COLOURS["paper"], label=label)
            if name == "candidate":
                at: Any = {"textcoords": "offset points", "va": "center", "size": 12, "weight": "bold"}
                axes.annotate(form(entry), (entry["high"], y), (8, 0), color=colour, **at)
    if line:
        axes.axhline(line - 0.5, color=COLOURS["line"], linewidth=1)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=3)
    return axes

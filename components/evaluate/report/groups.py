"""For whom a model is worse, in both reports: groups of held-out rows, and counterfactual notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clinadapt.documents import charts
from clinadapt.documents.page import COLOURS, count, decimal, percent
from components.evaluate.counterfactual_notes import KINDS
from components.evaluate.report.shared import Metric

_FEW_CLUSTERS = 10  # fewer make an interval that says little, as for the gate


def groups_table(
    evaluation: Mapping[str, Any],
    metrics: Mapping[str, Metric],
    names: Sequence[str],
    rows_are: str = "Instructions",
    each: str = "group",
) -> dict[str, Any]:
    """Groups of held-out rows x metrics of the adapter.

    Returns:
        head, rows and `few`, what is said of groups with few clusters: of all of them at once where all have few, else
        that these are marked.
    """
    names = [name for name in names if name in evaluation["models"]["candidate"]["metrics"]]
    small = [entry["clusters"] < _FEW_CLUSTERS for entry in evaluation["subgroups"]]
    marked = any(small) and not all(small)
    rows = []
    for entry, few in zip(evaluation["subgroups"], small, strict=True):
        cells = [
            charts.estimate(entry["metrics"][name], metrics[name].form) if name in entry["metrics"] else Markup("–")
            for name in names
        ]
        about = " · ".join(filter(None, (entry["by"], "few notes" if marked and few else "")))
        group = Markup("{}<small>{}</small>").format(entry["group"], about) if about else entry["group"]
        rows.append([group, count(entry["rows"]), *cells])
    if marked:
        said = f"A {each} marked “few notes” has fewer than ten clusters of similar notes: its figures may be chance."
    else:
        said = (
            f"No {each} has ten clusters of similar notes: differences between them may be chance."
            if small and all(small)
            else ""
        )
    return {"head": ["", rows_are, *(metrics[name].title for name in names)], "rows": rows, "few": said}


def by_task(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation whose groups are its tasks, as `subgroups` of evaluation.json."""
    per_task = evaluation["models"]["candidate"]["per_task"]
    tasks = [
        {"by": "", "group": task, "rows": rows, "clusters": per_task[task]["token_f1"]["clusters"]}
        | {"metrics": per_task[task]}
        for task, rows in evaluation["tasks"].items()
    ]
    return {**evaluation, "subgroups": tasks}


def groups_figure(
    evaluation: Mapping[str, Any], metric: str, what: str, name: str = "groups", each: str = "group of notes"
) -> Markup:
    """Chart of a share in each group, with intervals; a line for all rows.

    Args:
        evaluation: content of evaluation.json.
        metric: the share.
        what: the share in words.
        name: of the chart, unique on the page.
        each: what a group is, in words.
    """
    whole = evaluation["models"]["candidate"]["metrics"][metric]
    entries = [(entry["group"], entry["rows"], entry["metrics"][metric]) for entry in evaluation["subgroups"]]
    return charts.svg(
        name,
        f"{what.capitalize()} in each {each}, with intervals",
        "; ".join(f"{group}: {percent(entry['value'])}" for group, _, entry in entries) + ".",
        (charts.WIDTH, 90 + 34 * len(entries)),
        lambda figure: _draw_groups(figure, entries, whole["value"], what),
    )


def _draw_groups(figure: Figure, entries: Sequence[tuple[str, int, charts.Estimate]], whole: float, what: str) -> None:
    """Draw one row per group (name, number of rows, estimate), and a line at the share over all rows."""
    axes: Axes = figure.subplots()
    charts.row_axis(axes, [f"{charts.short(group)} ({count(rows)})" for group, rows, _ in entries])
    charts.percent_axis(axes.xaxis)
    axes.set(xlim=(0, 1.02), xlabel=what)
    axes.axvline(whole, color=COLOURS["muted"], linewidth=1.5, linestyle="--", label="all")
    for row, (_, _, entry) in enumerate(entries):
        axes.plot(
            [entry["low"], entry["high"]], [row, row], color=COLOURS["blue"], linewidth=4, alpha=0.55,
            solid_capstyle="butt",
        )  # fmt: skip
        axes.plot(entry["value"], row, "o", color=COLOURS["blue"], markersize=8, markeredgecolor=COLOURS["paper"])
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1))


def counterfactuals_table(counterfactuals: Mapping[str, Any]) -> dict[str, Any]:
    """Head and rows of kinds of counterfactual notes x how the adapter's output differs: answers with the same claims
    and with the same words, or the same label and the shift of its probability."""
    answers = any("rows" in entry for entry in counterfactuals.values())
    forms = {"unchanged": percent, "same_words": percent} if answers else {"unchanged": percent, "shift": _of_one}
    rows = []
    for kind, entry in counterfactuals.items():
        sizes = [count(entry[name]) for name in (("rows", "notes") if answers else ("notes",))]
        cells = [charts.estimate(entry[name], form) if name in entry else Markup("–") for name, form in forms.items()]
        rows.append([KINDS[kind].capitalize(), *sizes, *cells])
    if answers:
        return {"head": ["Changed to", "Instructions", "Notes", "Same claims", "Same words"], "rows": rows}
    return {"head": ["Changed to", "Notes", "Same label", "Mean shift of its probability"], "rows": rows}


def _of_one(share: float) -> str:
    return decimal(share, 3)

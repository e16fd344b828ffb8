"""Metrics, comparisons and the training chart, as both reports show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from clinadapt.documents import charts
from clinadapt.documents.page import count, decimal, p_value, percent


class Metric(NamedTuple):
    title: str
    form: Callable[[float], str]  # number -> text
    lower_is_better: bool
    meaning: str  # for a reader who is not a statistician


def measured(evaluation: Mapping[str, Any], metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """The metrics that at least one model has."""
    names = {name for model in evaluation["models"].values() for name in model["metrics"]}
    return {name: metric for name, metric in metrics.items() if name in names}


def difference(pair: Mapping[str, float], scale: float, digits: int, unit: str) -> Markup:
    """Table cell with a difference, times `scale`, and its interval."""
    middle, low, high = (decimal(scale * pair[key], digits, "+") for key in ("difference", "low", "high"))
    return Markup("{}{}<small>{} to {}</small>").format(middle, unit, low, high)


def points(pair: Mapping[str, float]) -> Markup:
    """Table cell with a difference of shares in percentage points."""
    return difference(pair, 100, 1, "\u202fpoints")


def comparison(evaluation: Mapping[str, Any], pair: Mapping[str, Any], metric: Metric, cell: Markup) -> list[Any]:
    """Table row: pair, metric, difference with its interval (`cell`), p, interpretation."""
    a, b = (evaluation["models"][pair[side]]["title"] for side in "ab")
    if pair["low"] <= 0 <= pair["high"] or pair["p"] >= 1 - evaluation["confidence"]:
        reading = Markup('<span class="even">no significant difference</span>')
    else:
        better = b if (pair["difference"] > 0) == metric.lower_is_better else a
        reading = Markup("<b>{}</b> is better").format(better)
    return [f"{a} vs. {b}", metric.title, cell, p_value(pair["p"]), reading]


def of_100(share: float) -> str:
    """0.5423 -> 54.2"""
    return decimal(100 * share, 1)


def joined_rows(data: Mapping[str, Any]) -> list[list[str]]:
    """Table rows of what joined notes into clusters, from the manifest of format: reason, links, notes, and by how many
    clusters fewer there are because of it alone."""
    return [
        [entry["reason"], *(count(entry[name]) for name in ("pairs", "notes", "alone"))] for entry in data["joined"]
    ]


def corrections_tables(data: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What became of people's corrections, from the manifest of format, and how the models answer now what was
    corrected.

    Returns:
        `counts`: rows of what and how many; `answers`: rows of model, right answers and, in instruct, token F1, with
        intervals. Both are empty without feedback.
    """
    feedback = data.get("feedback") or {}
    counts = [[f"Trained on: {kind}", count(number)] for kind, number in feedback.get("used", {}).items()]
    counts += [[f"Not trained on: {reason}", count(number)] for reason, number in feedback.get("left_out", {}).items()]
    counts += [[f"Quarantined: {reason}", count(number)] for reason, number in feedback.get("quarantined", {}).items()]
    scored = evaluation.get("feedback") or {"rows": 0, "models": {}}
    answers = []
    for model in scored["models"].values():
        row = [model["title"], charts.estimate(model["right_share"], percent)]
        answers.append(row + ([charts.estimate(model["token_f1"], of_100)] if "token_f1" in model else []))
    return {"counts": counts, "answers": answers}


def training_figure(training: Mapping[str, Any], name: str = "training") -> Markup:
    """Chart of loss and learning rate over the steps."""
    return charts.svg(
        name,
        f"{name.capitalize()} and validation loss, learning rate",
        f"{len(training['curve'])} points; checkpoint selected at step {training['best_step']}.",
        (charts.WIDTH, 340),
        lambda figure: charts.draw_training(figure, training["curve"], training["best_step"]),
    )

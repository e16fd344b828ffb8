"""What the reports of both recipes say of metrics and of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from markupsafe import Markup

from components.evaluate.report import html
from components.evaluate.report.html import decimal


class Metric(NamedTuple):
    title: str
    form: Callable[[float], str]
    lower_is_better: bool
    meaning: str


def measured(evaluation: Mapping[str, Any], metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Those of `metrics` that at least one model has."""
    names = {name for model in evaluation["models"].values() for name in model["metrics"]}
    return {name: metric for name, metric in metrics.items() if name in names}


def difference(pair: Mapping[str, float], scale: float, digits: int, unit: str) -> Markup:
    """A difference, times `scale`, with its interval."""
    middle, low, high = (decimal(scale * pair[key], digits, "+") for key in ("difference", "low", "high"))
    return Markup("{}{}<small>{} to {}</small>").format(middle, unit, low, high)


def points(pair: Mapping[str, float]) -> Markup:
    """A difference of shares."""
    return difference(pair, 100, 1, "\u202fpoints")


def comparison(evaluation: Mapping[str, Any], pair: Mapping[str, Any], metric: Metric, cell: Markup) -> list[Any]:
    """A row of pair, metric, difference with its interval (`cell`), p and what that says."""
    a, b = (evaluation["models"][pair[side]]["title"] for side in "ab")
    if pair["low"] <= 0 <= pair["high"]:
        reading = Markup('<span class="even">no clear difference</span>')
    else:
        better = b if (pair["difference"] > 0) == metric.lower_is_better else a
        reading = Markup("<b>{}</b> is better").format(better)
    p = "<\u202f0.001" if pair["p"] < 0.001 else decimal(pair["p"])
    return [f"{a} against {b}", metric.title, cell, p, reading]


def training_figure(training: Mapping[str, Any], name: str = "training") -> Markup:
    """Loss and learning rate over the steps."""
    return html.svg(
        name,
        f"{name.capitalize()} and validation loss, learning rate",
        f"{len(training['curve'])} points; the weights of step {training['best_step']} were kept.",
        (html.WIDTH, 340),
        lambda figure: html.draw_training(figure, training["curve"], training["best_step"]),
    )

"""The chart of a classifier that may be unsure: how many notes it answers, and how many of those rightly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from clinadapt.documents import charts
from clinadapt.documents.page import COLOURS, percent


def abstention_figure(abstention: Mapping[str, Any]) -> Markup:
    """Chart of the share of right answers over the share of answered notes, the surest first, with the chosen
    threshold."""
    text = "; ".join(
        f"{percent(point['answered'])} answered, {percent(point['value'])} right" for point in abstention["curve"]
    )
    return charts.svg(
        "abstention",
        "Share of right answers by the share of notes that are answered",
        f"{text}.",
        (charts.WIDTH, 380),
        lambda figure: _draw(figure, abstention),
    )


def _draw(figure: Figure, abstention: Mapping[str, Any]) -> None:
    axes, curve = figure.subplots(), abstention["curve"]
    answered = [point["answered"] for point in curve]
    charts.percent_axis(axes.xaxis)
    charts.percent_axis(axes.yaxis)
    lowest = min([point["low"] for point in curve] + [abstention["target"] or 1])
    axes.set(xlim=(0, 1.02), ylim=(max(0.0, lowest - 0.05), 1.01), xlabel="notes that are answered, the surest first")
    axes.set_ylabel("right answers")
    low, high, value = ([point[name] for point in curve] for name in ("low", "high", "value"))
    axes.fill_between(answered, low, high, color=COLOURS["blue"], alpha=0.2, linewidth=0)
    axes.plot(answered, value, color=COLOURS["blue"], label="held-out notes")
    if abstention["target"]:
        dashes: Any = {"color": COLOURS["muted"], "linestyle": (0, (4, 3)), "linewidth": 1.5}
        axes.axhline(abstention["target"], label="asked for on the validation notes", **dashes)
    if "right" in abstention:
        point = abstention["answered"]["value"], abstention["right"]["value"]
        axes.plot(*point, "o", color=COLOURS["vermillion"], markersize=10, label="chosen threshold", clip_on=False)
    axes.legend(loc="lower left")

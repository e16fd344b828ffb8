"""SVG charts and table cells of the HTML reports."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from clinadapt.documents.page import COLOURS, FEW, counted, decimal, percent

WIDTH = 936  # of a full-width chart, in CSS pixels: the column of page.html.j2 less its margins

SERIES = ("blue", "vermillion", "green", "purple", "orange", "sky", "ink", "muted")

STYLE = {
    "svg.fonttype": "none",  # text stays text; the page sets the typeface
    "svg.hashsalt": "clinadapt",  # same input, same bytes
    "text.parse_math": False,  # a label may contain a dollar sign
    "font.size": 13,
    "text.color": COLOURS["ink"],
    "figure.facecolor": "none",
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.wspace": 0.05,
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.labelpad": 8,
    "axes.titlesize": 14,
    "axes.titlelocation": "left",
    "axes.titlepad": 14,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 1,
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 8,
    "ytick.major.pad": 8,
    "lines.linewidth": 2,
    "legend.frameon": False,
}

Estimate = Mapping[str, float]  # value, low, high and, of a share, `of`: its rows


def short(label: str, limit: int = 34) -> str:
    """Shorten a label for a chart; tables show it in full."""
    return label if len(label) <= limit else label[: limit - 1].rstrip() + "…"


def estimate(number: Estimate, form: Callable[[float], str], counts: bool = True) -> Markup:
    """Table cell: the value and its interval in small print; of a share with `of`, 5 of 8, and the share there too.
    Without `counts` only a share of few rows is shown so."""
    if form is percent and "of" in number and (counts or number["of"] < FEW):
        digits = 0 if number["of"] < FEW else 1
        value, low, high = (decimal(100 * number[key], digits) for key in ("value", "low", "high"))
        cell = Markup("{}<small>{}\u202f% ({} – {}\u202f%)</small>")
        return cell.format(counted(number), value, low, high)
    low, high = form(number["low"]).rstrip("\u202f%"), form(number["high"])
    return Markup("{}<small>{} – {}</small>").format(form(number["value"]), low, high)


def svg(name: str, title: str, description: str, size: tuple[float, float], draw: Callable[[Figure], None]) -> Markup:
    """Call `draw` on a Figure and return it as inline SVG.

    Args:
        name: prefix of every id in the SVG, unique on the page.
        title, description: for screen readers.
        size: width and height in CSS pixels.
        draw: draws the chart.
    """
    file = io.StringIO()
    undated = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context(STYLE):
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        draw(figure)
        figure.savefig(file, format="svg", metadata=undated)
    body = file.getvalue().partition("<svg")[2].partition(">")[2].rpartition("</svg>")[0]
    body = re.sub(r"<(metadata|style)\b.*?</\1>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    for variable, colour in COLOURS.items():
        body = body.replace(f": {colour}", f": var(--{variable})")
    return Markup(
        '<svg role="img" aria-labelledby="{name}-title {name}-description" '
        'viewBox="0 0 {size[0]:g} {size[1]:g}" width="{size[0]:g}"><title id="{name}-title">{title}</title>'
        '<desc id="{name}-description">{description}</desc>{body}</svg>'
    ).format(name=name, title=title, description=description, size=size, body=Markup(body))


def percent_axis(axis: Axis) -> None:
    """Label an axis of shares at every 20 %; the caller sets its limits."""
    axis.set_ticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}\u202f%"))


def row_axis(axes: Axes, names: Sequence[str]) -> None:
    """Make the y axis a list of names, the first one at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def draw_intervals(
    figure: Figure,
    names: Sequence[str],
    panels: Sequence[tuple[str, Sequence[Estimate | None], float | None]],
) -> None:
    """Draw shares as dots with interval bars, one row per name, the first in colour.

    Args:
        figure: to draw on.
        names: of the rows.
        panels: each a title, an estimate for every name (or None) and a ceiling (or None).
    """
    dashes: Any = {"color": COLOURS["vermillion"], "linestyle": (0, (4, 3)), "linewidth": 1.5}
    offset: Any = {"textcoords": "offset points", "ha": "center"}
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, estimates, ceiling) in zip(grid, panels, strict=True):
        percent_axis(axes.xaxis)
        row_axis(axes, [short(name) for name in names])
        axes.set_xlim(0, 1.02)
        axes.set_title(title, pad=30)
        for row, number in enumerate(estimates):
            if number is None:
                continue
            colour, weight = (COLOURS["muted"], "normal") if row else (COLOURS["blue"], "bold")
            axes.plot([number["low"], number["high"]], [row, row], color=colour, linewidth=4)
            axes.plot(number["value"], row, "o", color=colour, markersize=9, markeredgecolor=COLOURS["paper"])
            right_edge: Any = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
            axes.text(1.19, row, percent(number["value"]), color=colour, weight=weight, **right_edge)
        if ceiling is not None:
            axes.axvline(ceiling, **dashes)
            text, top = f"ceiling {percent(ceiling)}", ("data", "axes fraction")
            axes.annotate(text, (ceiling, 1), (0, 7), xycoords=top, color=COLOURS["vermillion"], **offset)
    grid[0].get_yticklabels()[0].set(weight="bold")


def draw_training(figure: Figure, curve: Sequence[Mapping[str, float]], best_step: int) -> None:
    """Draw training and validation loss and the learning rate by step, with the epochs on top.

    Args:
        figure: to draw on.
        curve: points of step and epoch with loss and learning_rate, or with validation_loss.
        best_step: of the selected checkpoint.
    """

    def line(axes: Axes, name: str, label: str, form: str, colour: str, width: float) -> None:
        points = [point for point in curve if name in point]
        x, y = ([point[key] for point in points] for key in ("step", name))
        axes.plot(x, y, form, color=COLOURS[colour], label=label, linewidth=width)

    losses, rates = figure.subplots(1, 2, width_ratios=[5, 3])
    line(losses, "loss", "training", "-", "muted", 1.3)
    line(losses, "validation_loss", "validation", "o-", "blue", 2)
    line(rates, "learning_rate", "learning rate", "-", "muted", 2)
    losses.axvline(best_step, color=COLOURS["green"], linestyle=(0, (4, 3)), linewidth=1.5, label="selected checkpoint")
    losses.legend()
    powers = FuncFormatter(lambda rate, _: f"{rate:.1e}".replace("e-0", "e−") if rate else "0")
    rates.yaxis.set_major_formatter(powers)
    last = curve[-1]
    for axes, title in ((losses, "Loss"), (rates, "Learning rate")):
        axes.set_title(title, pad=34)
        axes.set(xlabel="step", xlim=(0, last["step"] * 1.02))
        axes.set_ylim(bottom=0)
    epochs_per_step = last["epoch"] / last["step"]
    epochs = losses.secondary_xaxis("top", (lambda step: step * epochs_per_step, lambda epoch: epoch / epochs_per_step))
    epochs.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    epochs.xaxis.set_major_formatter(FuncFormatter(lambda epoch, _: f"epoch {epoch:.0f}"))
    epochs.spines["top"].set_visible(False)

"""The page of a check: what moved, every figure beside the evaluation, and how they went over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from clinadapt.documents.charts import WIDTH, row_axis, short, svg
from clinadapt.documents.page import COLOURS, count, decimal, environment, percent
from clinadapt.monitoring.aggregates import SMALLEST_CELL, Aggregate
from clinadapt.monitoring.comparison import (
    FALSE_ALARMS_PER_YEAR,
    LEAST_POINTS,
    WINDOWS,
    FigureResult,
    Share,
    Test,
)
from clinadapt.monitoring.observations import FIGURES, RARE, YES
from clinadapt.monitoring.wording import change, day
from clinadapt.registry.monitor import Check

_BLOCK = 50  # answers of a point; days with fewer are joined
_COLUMNS = 2
_PANEL = 190  # CSS pixels
_ROW = 24


def render(check: Check) -> str:
    """The page as one HTML file that loads nothing. No count of it is below SMALLEST_CELL, and none has text."""
    use, comparison = check.use, check.comparison
    shares = [each for each in comparison.figures if FIGURES[each.name].share]
    distributions = [each for each in comparison.figures if not FIGURES[each.name].share]
    blocks = _blocks(use.days)
    figures: dict[str, Any] = {}
    if blocks and shares:
        figures["shares"] = _shares_chart(shares, blocks, comparison.alarms)
    if comparison.answers >= SMALLEST_CELL:
        figures["distributions"] = [_distribution_chart(each) for each in distributions]
    latency = sum((total for total in use.days.values()), Aggregate()).cells.get("latency", {})
    return environment("clinadapt.documents").get_template("monitor.html.j2").render(
        check=check,
        published=day(check.published),
        checked=day(check.checked),
        state="moved" if comparison.alarms else "even" if comparison.enough else "open",
        also=[change(test) for test in comparison.alarms],
        comparison=comparison,
        use=use,
        days_used=len(use.days),
        flags=_small(sum(total.flags for total in use.days.values())),
        rows=[_row(each, comparison.enough) for each in comparison.figures],
        latency=[[cell, _small(latency[cell])] for cell in FIGURES["latency"].cells if latency.get(cell)],
        figures=figures,
        others=[[version, day(last)] for version, last in sorted(use.others.items())],
        rate=FALSE_ALARMS_PER_YEAR,
        windows=list(WINDOWS),
        least=100 * LEAST_POINTS,
        smallest_cell=SMALLEST_CELL,
    )  # fmt: skip


def _row(figure: FigureResult, enough: bool) -> list[Any]:
    """Table row: figure, share in evaluation and use (of a share), PSI, smallest rise that would be found, outcome;
    `enough` where there are answers for a test."""
    name = FIGURES[figure.name]
    pair = ["–", "–"]
    if name.share:
        total, used = int(figure.evaluation.sum()), int(figure.use.sum())
        pair = [_share_cell(Share(int(figure.evaluation[0]), total)), _share_cell(Share(int(figure.use[0]), used))]
    tone, found = ("fail", "moved") if figure.alarm else ("pass", "no difference shown")
    if not (enough and figure.use.sum()):
        tone, found = "open", "too few answers"
    outcome = Markup('<span class="badge {}">{}</span>').format(tone, found)
    rise = figure.smallest_rise()
    smallest = "–" if math.isnan(rise) else f"{100 * rise:.0f}\u202fpoints"
    return [name.title, *pair, decimal(figure.psi), smallest, outcome]


def _share_cell(share: Share) -> Markup | str:
    if not share.total:
        return "–"
    if share.count < SMALLEST_CELL:
        return Markup("under {}<small>of {}</small>").format(SMALLEST_CELL, count(share.total))
    low, high = share.interval()
    text = Markup("{}<small>{} – {}</small>")
    return text.format(percent(share.value), percent(low).rstrip("\u202f%"), percent(high))


def _small(number: int) -> str:
    return count(number) if number == 0 or number >= SMALLEST_CELL else f"under {SMALLEST_CELL}"


def _blocks(days: Mapping[date, Aggregate]) -> list[tuple[date, Aggregate]]:
    """(middle day, counts) of consecutive days joined until they have _BLOCK answers; the last, if fewer, joins the
    block before it."""
    blocks: list[list[date]] = []
    totals: list[Aggregate] = []
    for when, total in days.items():
        if not totals or totals[-1].answers >= _BLOCK:
            blocks.append([])
            totals.append(Aggregate())
        blocks[-1].append(when)
        totals[-1] += total
    if len(totals) > 1 and totals[-1].answers < _BLOCK:
        totals[-2] += totals.pop()
        blocks[-2] += blocks.pop()
    middles = [block[0] + timedelta((block[-1] - block[0]).days // 2) for block in blocks]
    return [pair for pair in zip(middles, totals, strict=True) if pair[1].answers >= _BLOCK]


def _shares_chart(
    figures: Sequence[FigureResult], blocks: Sequence[tuple[date, Aggregate]], alarms: Sequence[Test]
) -> Markup:
    moved = {test.figure: test for test in alarms}
    rows = math.ceil(len(figures) / _COLUMNS)

    def draw(canvas: Figure) -> None:
        grid = canvas.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axes, figure in zip(grid, figures, strict=False):
            _draw_share(axes, figure, blocks, moved.get(figure.name))
        for axes in grid[len(figures) :]:
            axes.set_visible(False)

    title = "Shares over time"
    described = f"{len(blocks)} points of at least {_BLOCK} answers, beside the share in the evaluation."
    return svg("shares", title, described, (WIDTH, 40 + _PANEL * rows), draw)


def _draw_share(axes: Axes, figure: FigureResult, blocks: Sequence[tuple[date, Aggregate]], moved: Test | None) -> None:
    """A share of each block with its interval (of a small count only this), the evaluation's as a dashed line, and the
    likeliest day of a change."""
    colour = COLOURS["vermillion" if moved else "blue"]
    shares = [Share(total.cells.get(figure.name, {}).get(YES, 0), total.answers) for _, total in blocks]
    x, small = date2num([when for when, _ in blocks]), np.array([share.count < SMALLEST_CELL for share in shares])
    bounds = np.array([_shown_interval(share) for share in shares]).T
    axes.vlines(x, *bounds, color=colour, alpha=0.35, linewidth=3)
    axes.plot(
        x[~small], [share.value for share in shares if share.count >= SMALLEST_CELL], "o", color=colour, markersize=5
    )
    total = int(figure.evaluation.sum())
    axes.axhline(figure.evaluation[0] / total, color=COLOURS["muted"], linestyle=(0, (4, 3)), linewidth=1.5)
    if moved and moved.since:
        axes.axvline(float(date2num(moved.since)), color=COLOURS["vermillion"], linewidth=1.5)
    axes.set_title(FIGURES[figure.name].title)
    axes.set_ylim(0, min(1.0, 1.15 * max(0.05, float(bounds.max()), figure.evaluation[0] / total)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}\u202f%"))
    locator = AutoDateLocator(maxticks=5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _shown_interval(share: Share) -> tuple[float, float]:
    """The interval of a share; of a small count that of any smaller than SMALLEST_CELL."""
    if share.count >= SMALLEST_CELL:
        return share.interval()
    return 0.0, Share(SMALLEST_CELL - 1, share.total).interval()[1]


def _distribution_chart(figure: FigureResult) -> Markup:
    """Bars of each cell's share in the evaluation and in use; cells that neither has are left out."""
    shown = [i for i in range(len(figure.cells)) if figure.evaluation[i] or figure.use[i] >= SMALLEST_CELL]
    names = [short("rare in the evaluation" if figure.cells[i] == RARE else figure.cells[i]) for i in shown]
    hidden = np.where(figure.use < SMALLEST_CELL, 0, figure.use)
    pairs = (("evaluation", figure.evaluation, "muted"), ("use", hidden, "vermillion" if figure.alarm else "blue"))

    def draw(canvas: Figure) -> None:
        axes = canvas.subplots()
        for side, (label, counts, colour) in enumerate(pairs):
            total = (figure.use if side else figure.evaluation).sum()
            heights = np.arange(len(shown)) + 0.19 * (2 * side - 1)
            axes.barh(heights, counts[shown] / max(total, 1), height=0.36, color=COLOURS[colour], label=label)
        row_axis(axes, names)
        axes.set_title(FIGURES[figure.name].title)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}\u202f%"))
        axes.legend(loc="lower right")

    described = f"Shares of {len(shown)} cells in the evaluation and in use."
    height = 90 + 2 * _ROW * len(shown)
    return svg(figure.name, FIGURES[figure.name].title, described, (WIDTH, height), draw)

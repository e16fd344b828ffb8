"""Page, colours and number formats of reports and documents: one HTML file that loads nothing and runs no script."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

import jinja2

from clinadapt.documents import verdict

# CSS custom property -> its value on a light page. Charts are drawn in these and then refer to the property,
# which page.html.j2 redefines for dark mode. Colour-blind-safe hues after Okabe and Ito, "Color Universal Design"
# (2008).
COLOURS = {
    "ink": "#1c2530",
    "muted": "#586472",
    "line": "#d6dce2",
    "paper": "#fefefe",
    "shade": "#0a76b5",
    "blue": "#0072b2",
    "vermillion": "#c04f00",
    "green": "#00805e",
    "purple": "#b5568c",
    "orange": "#d48c00",
    "sky": "#3f9fd8",
    "amber": "#8f5a00",
}

FEW = 20  # rows below which a share is told as a count, as one row more or less moves it by 5 points


def count(number: float) -> str:
    """2619 -> 2,619"""
    return f"{number:,.0f}"


def counted(entry: Mapping[str, float]) -> str:
    """A share of `of` rows in numbers: 20 of 37."""
    return f"{count(round(entry['value'] * entry['of']))} of {count(entry['of'])}"


def decimal(number: float, digits: int = 3, sign: str = "-") -> str:
    """-0.0214 -> −0.021; a dash for NaN. With sign "+", positive numbers get a plus sign."""
    return "–" if math.isnan(number) else f"{number:{sign}z.{digits}f}".replace("-", "−")


def p_value(p: float) -> str:
    """0.0214 -> 0.021; one below 0.001 -> < 0.001"""
    return "<\u202f0.001" if p < 0.001 else decimal(p)


def percent(share: float) -> str:
    """0.741 -> 74.1 %"""
    return f"{decimal(100 * share, 1)}\u202f%"


def duration(seconds: float) -> str:
    """3725 -> 1 h 2 min"""
    if seconds < 60:
        return f"{seconds:.1f}\u202fs"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}\u202fmin {rest}\u202fs"
    return f"{minutes // 60}\u202fh {minutes % 60}\u202fmin"


def moment(time: str) -> str:
    """2026-01-01T12:00:00Z -> 1 January 2026, 12:00 UTC"""
    when = datetime.fromisoformat(time)
    return f"{when.day} {when:%B %Y, %H:%M %Z}"


def environment(package: str) -> jinja2.Environment:
    """Jinja environment of the templates of a package, which may extend "page.html.j2".

    Args:
        package: such as "components.evaluate.report".
    """
    loader = jinja2.ChoiceLoader([jinja2.PackageLoader(name, "") for name in (package, "clinadapt.documents")])
    templates = jinja2.Environment(
        loader=loader,
        autoescape=lambda name: not (name or "").endswith(".md.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals |= {"colours": COLOURS, "words": verdict}
    templates.filters |= {form.__name__: form for form in (count, counted, decimal, percent, duration, moment)}
    return templates

"""Numbers as countries write them: 0,125 mg and 1.000 mg with a decimal comma, 0.125 mg and 1,000 mg with a point.

Texts are read as if written with the point: `point_decimals` exchanges the separators within numbers, so that every
character keeps its place.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

_UNIT = r"\s?(?:[%°]|(?:mg|mcg|µg|μg|ug|g|kg|ml|dl|l|mmol|mm|cm|m|units?|iu|ie|ui)(?![^\W\d_]))"
_ARABIC = str.maketrans({"\u066b": ".", "\u066c": ","})  # decimal and thousands separator
_SOME = 5  # numbers; fewer may be slips of the pen
_OTHER_DIGIT = re.compile(r"[^\D0-9]")


def _number(decimal: str, thousands: str) -> re.Pattern[str]:
    """A whole number with thousands, or one with decimals."""
    d, t = re.escape(decimal), re.escape(thousands)
    return re.compile(rf"(?<![\w.,])(?:[1-9]\d{{0,2}}(?:{t}\d{{3}})+(?:{d}\d+)?|\d+{d}\d+)(?!\d|[.,]\d)", re.ASCII)


def _certain(decimal: str, thousands: str) -> re.Pattern[str]:
    """A number with decimals that cannot be one with thousands, nor a list or a range of whole numbers."""
    d, t = re.escape(decimal), re.escape(thousands)
    return re.compile(
        rf"(?<![\w.,])(?:0{d}\d{{2,}}|\d{{1,3}}(?:{t}\d{{3}})+{d}\d+|(?:0{d}\d|\d+{d}\d{{1,2}})(?={_UNIT}))(?!\d|[.,]\d)",
        re.ASCII | re.IGNORECASE,
    )


_WITH_COMMA, _WITH_POINT = _number(",", "."), _number(".", ",")
_CERTAIN_COMMA, _CERTAIN_POINT = _certain(",", "."), _certain(".", ",")
_EXCHANGED = str.maketrans(",.", ".,")


class DecimalCounts(NamedTuple):
    """How many numbers of some texts have decimals for certain, after a comma and after a point."""

    comma: int = 0
    point: int = 0

    def plus(self, texts: Iterable[str]) -> DecimalCounts:
        """These counts and those of more texts: 0,125 mg and 1.234,5 are certain, 1,125 mg is not."""
        comma, point = self
        for text in texts:
            comma += len(_CERTAIN_COMMA.findall(text))
            point += len(_CERTAIN_POINT.findall(text))
        return DecimalCounts(comma, point)

    @property
    def decimal_comma(self) -> bool:
        """Whether most of them have a comma."""
        return self.comma > self.point

    @property
    def mixed(self) -> bool:
        """Whether some, and more than one in ten, are written the other way."""
        return min(self) >= _SOME and 10 * min(self) > sum(self)


def point_decimals(text: str, comma: bool) -> str:
    """A text of the same length with its numbers written with ASCII digits and a decimal point.

    Args:
        text: any text.
        comma: whether the decimal separator of the text is the comma.
    """
    if comma:
        text = _WITH_COMMA.sub(_exchange, text)
    if text.isascii():
        return text
    return _OTHER_DIGIT.sub(lambda match: str(unicodedata.decimal(match[0])), text.translate(_ARABIC))


def comma_decimals(text: str) -> str:
    """The inverse of `point_decimals` for numbers with a decimal comma."""
    return _WITH_POINT.sub(_exchange, text)


def _exchange(match: re.Match[str]) -> str:
    return match[0].translate(_EXCHANGED)

"""Cleaning of note texts, and their words in any script."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import regex

# What is not seen and joins or parts nothing: soft hyphens, blanks of no width, directions of writing
_INVISIBLE = re.compile(r"[\u00ad\u200b\u200e\u200f\u2060\u202a-\u202e\u2066-\u2069\ufeff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")
_WHITESPACE = re.compile(r"[^\S\n ]")  # all but newline and the plain space
# Scripts that are written without blanks between words: a character, with its marks, counts as a word
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
_WORD = regex.compile(rf"(?V1)[{_UNSPACED}&&\p{{L}}]\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}_]--[{_UNSPACED}]]+")
_PART = regex.compile(rf"(?V1)[{_UNSPACED}&&\p{{L}}]\p{{M}}*|[\S--[{_UNSPACED}&&\p{{L}}]]+")
_ASCII_WORD = re.compile(r"\w+")


_FORMULA = tuple("=+-@＝＋－＠\t\r\n")  # what begins a formula, also in the wide forms of East Asian spreadsheets
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


def spreadsheet_cell(value: Any) -> Any:
    """A value for a CSV file: text that a spreadsheet would run as a formula gets an apostrophe in front."""
    if isinstance(value, str) and value[:1] in _FORMULA and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def clean(text: str) -> str:
    """Normalize to Unicode NFC and `\\n`, remove invisible and control characters, collapse spaces, strip lines, and
    allow at most one empty line in a row."""
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))
    text = re.sub("  +", " ", _WHITESPACE.sub(" ", _CONTROL.sub(" ", text)))
    return re.sub("\n\n\n+", "\n\n", text.replace(" \n", "\n").replace("\n ", "\n")).strip()


def words(text: str) -> list[str]:
    """The words of a text: runs of letters, with their marks, and digits; in scripts without blanks between words (Han,
    Kana, Thai, Lao, Khmer, Burmese, Tibetan) single characters."""
    return _ASCII_WORD.findall(text) if text.isascii() else _WORD.findall(text)


def parts(text: str) -> list[str]:
    """What stands between blanks, punctuation included, and single characters of scripts without blanks."""
    return text.split() if text.isascii() else _PART.findall(text)


def is_unspaced(word: str) -> bool:
    """Whether one of `words` is a character of a script without blanks."""
    return not word.isascii() and bool(regex.match(rf"[{_UNSPACED}]", word))

"""Cleaning of note texts."""

from __future__ import annotations

import re
import unicodedata

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ufffe\uffff\ud800-\udfff]")
_WHITESPACE = re.compile(r"[^\S\n ]")  # all but newline and the plain space


def clean(text: str) -> str:
    """Normalize to Unicode NFC and `\\n`, remove control characters, collapse spaces, strip lines, and allow at most
    one empty line in a row."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = re.sub("  +", " ", _WHITESPACE.sub(" ", _CONTROL.sub(" ", text)))
    return re.sub("\n\n\n+", "\n\n", text.replace(" \n", "\n").replace("\n ", "\n")).strip()

"""The rule by which every text is cleaned."""

from __future__ import annotations

import re
import unicodedata

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ufffe\uffff\ud800-\udfff]")


_BLANK = re.compile(r"[^\S\n ]")  # but the one of which most of a text's are


def clean(text: str) -> str:
    """Unicode NFC, no control characters, no blanks at line ends, at most one empty line in a row."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = re.sub("  +", " ", _BLANK.sub(" ", _CONTROL.sub(" ", text)))
    return re.sub("\n\n\n+", "\n\n", text.replace(" \n", "\n").replace("\n ", "\n")).strip()

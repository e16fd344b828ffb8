"""Identifiers in a few words without context, such as the name of a class."""

from __future__ import annotations

from clinadapt.privacy.context import context_spans
from clinadapt.privacy.features import tokens
from clinadapt.privacy.patterns import pattern_spans
from clinadapt.privacy.spans import Span

_FORMS = ("EMAIL", "URL", "SSN", "PHONE", "FAX", "MRN", "STREET")  # not numbers, which may be codes of diseases


def short_text_spans(text: str) -> list[Span]:
    """Identifiers that a form or a title tells; they may overlap.

    The tagger needs context, without which it easily takes a specialty for a place.
    """
    found = [span for span in pattern_spans(text) if span.type in _FORMS]
    return found + list(context_spans(text, tokens(text)))

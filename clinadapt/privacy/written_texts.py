"""Texts that a model or a person writes about notes which were screened: what identifies somebody is redacted in them
too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from clinadapt.config.phi import TYPES, Phi
from clinadapt.errors import UserError
from clinadapt.privacy.detector import identifiers
from clinadapt.privacy.screening import MARK, ScreenedText, Screener
from clinadapt.privacy.short_texts import short_text_spans

# Types that may stay where texts are shown: they name nobody by themselves
_INDIRECT = ("DATE", "AGE90", "ZIP", "CITY", "HOSPITAL", "EMPLOYER", "INITIALS")
DIRECT = tuple(kind for kind in TYPES if kind not in _INDIRECT)


def is_screened(phi: Mapping[str, Any]) -> bool:
    """Whether a dataset, by `phi` of its manifest, has no identifiers but those that were not found."""
    return phi.get("policy") in ("redact", "surrogate", "quarantine")


def names_nobody(phi: Mapping[str, Any]) -> bool:
    """Whether a dataset was screened, by `phi` of its manifest, and no type that names somebody directly was only
    counted."""
    counted = {kind for kind, action in phi.get("types", {}).items() if action == "report"}
    return is_screened(phi) and counted.isdisjoint(DIRECT)


class TooLongToScreen(UserError):
    """A text takes too long to screen, so that nobody knows what it contains."""


@cache
def _screener(direct_only: bool) -> Screener:
    left = _INDIRECT if direct_only else ()
    return Screener(Phi(types=dict.fromkeys(left, "report")))


def redacted(texts: Iterable[str], source: str = "", direct_only: bool = False) -> list[str]:
    """Texts without identifiers, which are dealt with alike in all of them.

    Args:
        texts: about one patient.
        source: the screened text that they were written from; what stands there, such as an invented name, stays.
        direct_only: leave dates, ages, places and initials.

    Raises:
        TooLongToScreen: without a source; one of the texts takes too long.
    """
    if not source:
        return [each.text for each in screened_texts(texts, direct_only)]
    return [_without_new(_screener(direct_only), text, source) for text in texts]


def screened_texts(texts: Iterable[str], direct_only: bool = False) -> list[ScreenedText]:
    """What becomes of texts about one patient, with where their parts stand then; arguments and errors as of
    `redacted`."""
    texts = list(texts)
    screened = _screener(direct_only).screen("", texts).texts
    if any(each.quarantined for each in screened.values()):
        raise TooLongToScreen("a text took too long to screen: shorten it")
    return [screened[text] for text in texts]


def _without_new(screener: Screener, text: str, source: str) -> str:
    """A text in which the identifiers that are not in its source are redacted."""
    for _ in range(2):
        found = [span for span in identifiers(text) if not _stands_in(source, text[span.start : span.end])]
        for span in reversed(found):
            if screener.settings.action(span.type) != "report":
                text = f"{text[: span.start]}[{span.type}]{text[span.end :]}"
    return text


def _stands_in(source: str, identifier: str) -> bool:
    """Whether a text has an identifier as whole words, whatever their capitals."""
    return re.search(rf"(?<!\w){re.escape(identifier.casefold())}(?!\w)", source.casefold()) is not None


def redacted_anew(text: str, source: str) -> bool:
    """Whether something was redacted in a text that is not redacted in its source: then it says something else than
    its author wrote."""
    return not set(MARK.findall(text)) <= set(MARK.findall(source))


def direct_identifiers(text: str) -> list[str]:
    """Types of what names somebody directly in a short text, such as a label."""
    return sorted({span.type for span in short_text_spans(text) if span.type in DIRECT})

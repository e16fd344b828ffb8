"""How well identifiers are found in labelled notes: recall by type, and what is redacted needlessly."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clinadapt.data.intervals import wilson
from clinadapt.errors import UserError
from clinadapt.privacy.spans import Span

Find = Callable[[str], list[Span]]
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9_ ]{0,24}")  # the name of a type, which is shown
_WORD = re.compile(r"\w+")


@dataclass
class Share:
    """`hits` of `total`, counted in each note, so that the interval knows that what one note holds belongs together."""

    notes: list[tuple[int, int]] = field(default_factory=list)

    @property
    def hits(self) -> int:
        return sum(hits for hits, _ in self.notes)

    @property
    def total(self) -> int:
        return sum(total for _, total in self.notes)

    def as_json(self) -> dict[str, float]:
        """Value and the bounds of its 95 % interval: Wilson's, widened by how much notes differ."""
        low, high = self.interval()
        return {"hits": self.hits, "total": self.total, "value": self.hits / self.total, "low": low, "high": high}

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share."""
        total, value, count = self.total, self.hits / self.total, len(self.notes)
        effect = 1.0
        if 0 < value < 1 and count > 1:
            between = sum((hits - value * size) ** 2 for hits, size in self.notes) * count / (count - 1)
            effect = max(1.0, between / (total * value * (1 - value)))
        return wilson(value, total / effect)


def measure(notes: Iterable[Mapping[str, Any]], find: Find) -> dict[str, Any]:
    """Measure a detector.

    Args:
        notes: `text`, `spans` (`start`, `end`, `type`) and, where there are, `negatives` (`start`, `end`, `kind`): what
            must stay, as drugs, doses and eponyms.
        find: the detector.

    Returns:
        Shares with their intervals: `recall` of identifiers of which every word is found, over `all` and by type;
        `over_redaction`, words of no identifier that are redacted; `negatives` redacted, by kind; and `notes`.

    Raises:
        UserError: a note without a text or spans, or no identifier in any note.
    """
    recall: dict[str, Share] = defaultdict(Share)
    negatives: dict[str, Share] = defaultdict(Share)
    redacted = Share()
    count = 0
    for count, note in enumerate(notes, start=1):
        text, labelled, kept = _labels(note, count)
        covered = bytearray(len(text) + 1)
        for span in find(text):
            covered[span.start : span.end] = b"\1" * (span.end - span.start)
        by_type: dict[str, Counter[bool]] = defaultdict(Counter)
        for span in labelled:
            by_type[span.type][_is_covered(text, covered, span)] += 1
        for kind, counts in by_type.items():
            recall[kind].notes.append((counts[True], counts.total()))
        all_counts = sum(by_type.values(), Counter())
        recall["all"].notes.append((all_counts[True], all_counts.total()))
        redacted.notes.append(_over_redaction(text, covered, labelled))
        for span in kept:
            negatives[span.type].notes.append((int(any(covered[span.start : span.end])), 1))
    if not count or not recall["all"].total:
        raise UserError("no note has a labelled identifier: give JSON lines with `text` and `spans`")
    return {
        "notes": count,
        "recall": {kind: share.as_json() for kind, share in sorted(recall.items())},
        "over_redaction": redacted.as_json(),
        "negatives": {kind: share.as_json() for kind, share in sorted(negatives.items())},
    }


def _labels(note: Mapping[str, Any], number: int) -> tuple[str, list[Span], list[Span]]:
    try:
        text = note["text"]
        labelled = [Span(int(each["start"]), int(each["end"]), str(each["type"])) for each in note["spans"]]
        kept = [Span(int(each["start"]), int(each["end"]), str(each["kind"])) for each in note.get("negatives") or ()]
        if any(not _KIND.fullmatch(span.type) for span in (*labelled, *kept)):
            raise ValueError("type")
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise UserError(
            f"row {number} is no labelled note: it needs `text` and `spans` with start, end and type"
        ) from None
    if not isinstance(text, str) or any(not 0 <= span.start < span.end <= len(text) for span in (*labelled, *kept)):
        raise UserError(f"row {number} has a span outside its text: count characters from 0, the end not included")
    return text, labelled, kept


def _is_covered(text: str, covered: bytearray, span: Span) -> bool:
    return all(all(covered[match.start() : match.end()]) for match in _WORD.finditer(text, span.start, span.end))


def _over_redaction(text: str, covered: bytearray, labelled: list[Span]) -> tuple[int, int]:
    """Words of no identifier: how many are redacted, of how many."""
    identifying = bytearray(len(text) + 1)
    for span in labelled:
        identifying[span.start : span.end] = b"\1" * (span.end - span.start)
    others = [match for match in _WORD.finditer(text) if not any(identifying[match.start() : match.end()])]
    return sum(any(covered[match.start() : match.end()]) for match in others), len(others)

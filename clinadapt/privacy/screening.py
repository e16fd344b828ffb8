"""All texts of a patient screened together: what identifies the patient in one of them is dealt with in all of them."""

from __future__ import annotations

import re
import signal
import threading
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from clinadapt.config.phi import TYPES, Phi
from clinadapt.models.base_model import BaseModel
from clinadapt.privacy.date_shift import date_reading
from clinadapt.privacy.detector import identifiers
from clinadapt.privacy.features import tokens
from clinadapt.privacy.mentions import Mentions, names_by_itself
from clinadapt.privacy.second_opinion import SecondOpinion, described
from clinadapt.privacy.short_texts import short_text_spans
from clinadapt.privacy.spans import Span, united
from clinadapt.privacy.surrogates import Surrogates, phi_key
from clinadapt.privacy.tagger import tagger
from clinadapt.privacy.term_files import Terms, read_terms
from clinadapt.privacy.word_lists import english_rank, eponyms, is_clinical

MARK = re.compile(rf"\[(?:{'|'.join(TYPES)})\]")  # what redaction writes
_COMMON = 20_000  # rank of a word by its frequency in English
_PASSES = 20  # at most, until nothing is found


class TooSlow(Exception):
    """A text took longer than it may."""


class Edit(NamedTuple):
    """text[start:end] became `new`."""

    start: int
    end: int
    new: str


class _Changes:
    """The edits of one pass, disjoint and in text order, and where they move what stands beside them."""

    def __init__(self, edits: Sequence[Edit]) -> None:
        self._edits, self._ends = edits, [edit.end for edit in edits]
        self._shifts = [0, *accumulate(len(new) - (end - start) for start, end, new in edits)]

    def moved(self, start: int, end: int) -> tuple[int, int]:
        """Where a span stands after the edits; one that begins or ends within an edit covers all of it."""
        return self._position(start, at_end=False), self._position(end, at_end=True)

    def _position(self, position: int, at_end: bool) -> int:
        passed = bisect_right(self._ends, position)
        while passed and not at_end and self._edits[passed - 1].start == position:  # an insertion here
            passed -= 1
        shift = self._shifts[passed]
        if passed < len(self._edits) and position > self._edits[passed].start:
            start, _, new = self._edits[passed]
            return start + shift + (len(new) if at_end else 0)
        return position + shift


@dataclass
class ScreenedText:
    """A text and what was found in it.

    Attributes:
        text: as it is now.
        found: types of the identifiers, counted.
        quarantined: why its row is left out; empty where it stays.
    """

    text: str
    found: Counter[str] = field(default_factory=Counter)
    quarantined: str = ""
    _changes: list[_Changes] = field(default_factory=list)  # of each pass
    _written: list[tuple[int, int]] = field(default_factory=list)  # where something was written

    def moved(self, start: int, end: int) -> tuple[int, int]:
        """Where a span of the text as it was stands now; it grows where it covered a part of an identifier."""
        for changes in self._changes:
            start, end = changes.moved(start, end)
        return start, end

    def outside(self, spans: Iterable[Span]) -> Iterator[Span]:
        """The parts of spans that are not what screening has written, now or before."""
        written = _joined([*self._written, *(match.span() for match in MARK.finditer(self.text))])
        starts, ends = [start for start, _ in written], [end for _, end in written]
        for span in spans:
            start = span.start
            inside = written[bisect_right(ends, span.start) : bisect_left(starts, span.end)]
            for first, last in [*inside, (span.end, span.end)]:
                piece = self.text[start:first]
                if any(character.isalnum() for character in piece):
                    inner = piece.strip()
                    left = start + piece.index(inner)
                    yield Span(left, left + len(inner), span.type)
                start = max(start, last)

    def edit(self, edits: list[Edit]) -> None:
        """Write something else; the edits are disjoint, in text order."""
        pieces, last, size, written = [], 0, 0, []
        for start, end, new in edits:
            pieces += [self.text[last:start], new]
            size += start - last
            written.append((size, size + len(new)))
            size, last = size + len(new), end
        changes = _Changes(edits)
        before = [changes.moved(*place) for place in self._written]
        self.text = "".join((*pieces, self.text[last:]))
        self._written = before + written
        self._changes.append(changes)


@dataclass
class ScreenedPatient:
    """Each different text of a patient -> what became of it; and what identifies the patient."""

    texts: dict[str, ScreenedText]
    mentions: Mentions


class Screener:
    """Screens the texts of one patient after another by the settings of a profile, whose policy is not off."""

    def __init__(self, settings: Phi, opinion: BaseModel | None = None) -> None:
        """
        Args:
            settings: of a profile.
            opinion: its second opinion where that is described already, which hashes its weights.

        Raises:
            UserError: a list cannot be read, the second opinion cannot be used, or the key of invented identifiers is
                missing.
        """
        self.settings = settings
        self.opinion = opinion or (described(settings) if settings.second_opinion else None)
        self.key = phi_key() if settings.invents else b""
        self._staff, self._protected = Mentions(), Terms(read_terms(settings.protect_file))
        for name in read_terms(settings.staff_file):
            self._staff.add_known(name)
        self._second = SecondOpinion(settings, self.opinion) if self.opinion else None
        tagger()  # trained here where no file has it, outside of the time of any text

    def screen(self, patient: str, texts: Iterable[str], known: Iterable[str] = ()) -> ScreenedPatient:
        """Deal with the identifiers in all texts of a patient, by the policy.

        What is found in one text is looked for in the others, and again in what comes out, until nothing is found: so
        screening what was redacted changes nothing.

        Args:
            patient: what tells patients apart, such as a hash; invented identifiers depend on it.
            texts: notes, instructions and answers.
            known: what the hospital knows of the patient.
        """
        result = ScreenedPatient({text: ScreenedText(text) for text in texts}, Mentions())
        for value in known:
            result.mentions.add_known(value)
        found: dict[str, list[Span]] = {}
        surrogates = None
        for number in range(_PASSES):
            screened = [each for each in result.texts.values() if not each.quarantined]
            for each in screened:
                self._detect(each, found, result.mentions)
            if self.key and surrogates is None:
                dates = (
                    t[span.start : span.end] for t, spans in found.items() for span in spans if span.type == "DATE"
                )
                surrogates = Surrogates(self.key, patient, result.mentions.words(), date_reading(dates))
            changed = [self._replace(each, found, result.mentions, surrogates, number) for each in screened]
            if not any(changed):
                break
        return result

    def found_in(self, text: str) -> list[Span]:
        """Identifiers that detector, second opinion and list of staff find in a text, but for protected terms;
        disjoint, in text order."""
        return self._unprotected(text, [*self._both(text), *self._staff.spans(text, tokens(text))])

    def _both(self, text: str) -> list[Span]:
        """What detector and second opinion find."""
        return [*identifiers(text), *(self._second.spans(text) if self._second else ())]

    def _unprotected(self, text: str, spans: Iterable[Span]) -> list[Span]:
        return [span for span in united(spans) if not self._protected.cover(text, span)]

    def in_label(self, label: str, mentions: Mentions | None = None) -> list[Span]:
        """Identifiers in the name of a class or of a specialty: those that it or the list of staff tells, or those of a
        patient whose rows have the label, where an entity that consists of words of English or of medicine is none."""
        entities = (mentions or self._staff).spans(label, tokens(label))
        found = [span for span in entities if _names_somebody(label[span.start : span.end], span.type)]
        if not mentions:
            found += short_text_spans(label)
        found = [span for span in found if not self._protected.cover(label, span)]
        return [span for span in ScreenedText(label).outside(found) if self.settings.action(span.type) != "report"]

    def _detect(self, each: ScreenedText, found: dict[str, list[Span]], mentions: Mentions) -> None:
        """Add what the detector finds in a text to `found`, and the identifiers to `mentions`."""
        if each.text not in found:
            found[each.text] = []
            try:
                with _time_limit(self.settings.seconds_per_note):
                    spans = self._both(each.text)
            except TooSlow:
                each.quarantined = f"takes over {self.settings.seconds_per_note:g} s to screen"
                return
            found[each.text] = self._unprotected(each.text, spans)
        for span in each.outside(found[each.text]):
            mentions.add(each.text[span.start : span.end], span.type)

    def _replace(
        self,
        each: ScreenedText,
        found: dict[str, list[Span]],
        mentions: Mentions,
        surrogates: Surrogates | None,
        number: int,
    ) -> bool:
        """Replace what is found in a text, in the pass of a number. Returns whether anything was."""
        if each.quarantined:
            return False
        text, words = each.text, tokens(each.text)
        spans = united([*found[text], *mentions.spans(text, words), *self._staff.spans(text, words)])
        spans = [span for span in each.outside(spans) if not self._protected.cover(text, span)]
        spans = [self._alike(span, mentions.kind(text[span.start : span.end])) for span in spans]
        replaced = [span for span in spans if self.settings.action(span.type) != "report"]
        each.found.update(span.type for span in (spans if number == 0 else replaced))
        if out := sorted({span.type for span in replaced if self.settings.action(span.type) == "quarantine"}):
            each.quarantined = f"identifies somebody ({', '.join(out)})"
        elif replaced:
            each.edit([Edit(*span[:2], self._instead(span.type, text[span.start : span.end], surrogates))
                       for span in replaced])  # fmt: skip
        return bool(replaced)

    def _alike(self, span: Span, kind: str | None) -> Span:
        """A span with the type that the same entity has elsewhere, where the same becomes of both types."""
        return (
            span._replace(type=kind) if kind and self.settings.action(kind) == self.settings.action(span.type) else span
        )

    def _instead(self, kind: str, identifier: str, surrogates: Surrogates | None) -> str:
        if surrogates and self.settings.action(kind) == "surrogate":
            return surrogates.of(kind, identifier)
        return f"[{kind}]"


def _names_somebody(entity: str, kind: str) -> bool:
    words = [token.text.casefold() for token in tokens(entity)]
    return any(names_by_itself(word) or (kind == "NAME" and _is_rare(word)) for word in words)


def _is_rare(word: str) -> bool:
    """Whether a word is rare in English and none of medicine."""
    if len(word) < 3 or not word.isalpha() or english_rank(word) <= _COMMON:
        return False
    return word not in eponyms() and not is_clinical(word)


def _joined(places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Places in text order; those that overlap become one."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(places):
        if result and start < result[-1][1]:
            result[-1] = result[-1][0], max(end, result[-1][1])
        else:
            result.append((start, end))
    return result


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TooSlow where the body takes longer: in the main thread as soon as that is so, in others at its end."""
    start = time.monotonic()
    if threading.current_thread() is not threading.main_thread():
        yield
        if time.monotonic() - start > seconds:
            raise TooSlow
        return

    def stop(signum: int, frame: object) -> None:
        raise TooSlow

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)

"""Notes that are copies of one another, whole or in part, and answers that give away the note of another."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from clinadapt.data.connections import Connections
from clinadapt.data.duplicates import SHINGLE, Shingles, StandFor, Template, comparable_form

CONTAINED, MOST = 0.5, 0.75  # share of the 4-grams of a long text from which another contains it; of a shorter one
SHORT, LONG = 5, 16  # words: a text from SHORT to less than LONG is contained only where it stands whole
MAX_NOTES, NOTES_SHARE = 24, 1 / 150  # that have a short text: in more, or in a larger share, it is a common phrase
MOST_BELOW = 64  # 4-grams: half of fewer may be the phrases of a template
MIN_WORDS = 24  # of a note that is compared without its numbers
NEAR, PART, WHOLE = "near duplicates", "half of one is in the other", "a short one is in the other"  # reasons
ANSWERS = "an answer about one is about the other, or in it"  # a reason
REASONS = (NEAR, PART, WHOLE, ANSWERS)
Pairs = list[tuple[int, int]]


class _Text(NamedTuple):
    """What other notes may contain: a note, or an answer about `notes`."""

    reason: str
    grams: np.ndarray
    notes: Sequence[int]


class Copies:
    """An index of different notes, numbered from 0, and of answers about them."""

    def __init__(self) -> None:
        self._shingles = Shingles()
        self._notes: list[int] = []  # number of a note -> its number among the shingles
        self._short: dict[int, np.ndarray] = {}  # number of a short note -> 4-grams of its comparable form
        self._answers: dict[bytes, int] = {}  # hash of a long answer -> its number among the shingles
        self._phrases: dict[bytes, np.ndarray] = {}  # hash of a short answer -> its 4-grams
        self._about: dict[bytes, list[int]] = defaultdict(list)  # hash of an answer -> the notes that it is about

    def __len__(self) -> int:
        return len(self._notes)

    def add_note(self, normal: str) -> None:
        """Add a note in normal form. It is compared in its comparable form, a short one as it is, with its numbers."""
        grams = self._shingles.hashes(comparable_form(normal))
        if normal.count(" ") < MIN_WORDS - 1:
            self._short[len(self._notes)] = grams
            grams = self._shingles.hashes(normal)
        self._notes.append(self._shingles.add(grams))

    def add_answer(self, normal: str, note: int) -> None:
        """Add an answer about a note, in normal form, unless it is copied from the note or very short."""
        words = normal.count(" ") + 1
        if words < SHORT:
            return
        grams = self._shingles.hashes(comparable_form(normal))
        copied = CONTAINED if words >= LONG else 1.0
        if self._shingles.count_shared(grams, self._notes[note]) >= copied * len(grams):
            return
        key = hashlib.blake2b(normal.encode(), digest_size=16).digest()
        if words < LONG:
            self._phrases[key] = grams
        elif key not in self._answers:
            self._answers[key] = self._shingles.add(grams)
        self._about[key].append(note)

    def leave_out_template(self, patients: Sequence[Iterable[int]]) -> None:
        """Leave out what stands in the notes of many patients, of these notes and of those that are added later.

        Args:
            patients: the notes of each patient.
        """
        if not patients:
            return
        grams = ([self._shingles.grams[self._notes[note]] for note in notes] for notes in patients)
        self._shingles.leave_out(Template(grams))

    def links(self, threshold: float) -> dict[str, Pairs]:
        """Reason -> pairs of notes, as few as connect all notes that the reason joins.

        Args:
            threshold: Jaccard similarity of near duplicates, 0 to 1.
        """
        links = Connections(len(self), len(REASONS))
        of_text, kind_of = np.zeros((2, len(self._shingles.grams)), dtype=np.int64)
        of_text[self._notes] = np.arange(len(self))
        for key, shingle in self._answers.items():
            of_text[shingle], kind_of[shingle] = self._about[key][0], REASONS.index(ANSWERS)
            links.connect_all(REASONS.index(ANSWERS), self._about[key])
        self._shingles.near_duplicates(threshold, StandFor(of_text, kind_of, links))
        long, short = self._texts()
        self._link_long(long, links)
        self._link_short(short, links)
        return {reason: sorted(pairs) for reason, pairs in zip(REASONS, links.pairs, strict=True)}

    def _link_long(self, texts: Sequence[_Text], links: Connections) -> None:
        """Link the note of each text with those that contain enough of it and are not connected with it."""
        kind = np.array([REASONS.index(text.reason) for text in texts], dtype=np.int64)
        first = np.array([text.notes[0] for text in texts], dtype=np.int64)
        shares = np.array([_enough(text.grams) for text in texts])
        for text, note in self._contained(texts, shares, lambda part, note: links.apart(kind[part], first[part], note)):
            links.connect(int(kind[text]), int(first[text]), note)

    def _link_short(self, texts: Sequence[_Text], links: Connections) -> None:
        """Link the notes in which a text stands whole, and that it is about, unless it is a common phrase."""
        most = max(2, min(MAX_NOTES, int(NOTES_SHARE * len(self))))
        common = np.zeros(len(texts), dtype=bool)
        notes_with: dict[int, set[int]] = defaultdict(set)
        for text, note in self._contained(texts, np.ones(len(texts)), lambda part, _: ~common[part]):
            notes_with[text].add(note)
            common[text] = len(notes_with[text]) > most
        for number, notes in notes_with.items():
            notes.update(texts[number].notes)
            if len(notes) <= most:
                links.connect_all(REASONS.index(texts[number].reason), sorted(notes))

    def _texts(self) -> tuple[list[_Text], list[_Text]]:
        """The long and the short texts that notes may contain."""
        long = [_Text(ANSWERS, self._shingles.grams[n], self._about[key]) for key, n in self._answers.items()]
        short = [_Text(ANSWERS, grams, self._about[key]) for key, grams in self._phrases.items()]
        for note, shingle in enumerate(self._notes):
            grams = self._short.get(note, self._shingles.grams[shingle])
            if len(grams) > LONG - SHINGLE:
                long.append(_Text(PART, grams, [note]))
            elif len(grams) > SHORT - SHINGLE:
                short.append(_Text(WHOLE, grams, [note]))
        return long, short

    def _contained(
        self, texts: Sequence[_Text], shares: np.ndarray, wanted: Callable[[np.ndarray, np.ndarray], np.ndarray]
    ) -> Iterator[tuple[int, int]]:
        """Pairs (position of a text, note that contains it). `wanted`: positions of texts, and notes -> which of these
        pairs are looked at."""
        note_of = np.zeros(len(self._shingles.grams), dtype=np.int64)
        note_of[self._notes] = np.arange(len(self._notes))
        for text, shingle in self._shingles.contained(
            [text.grams for text in texts], self._notes, shares, lambda part, shingle: wanted(part, note_of[shingle])
        ):
            yield text, int(note_of[shingle])


def _enough(grams: np.ndarray) -> float:
    """The share of a long text's 4-grams from which another contains it."""
    return MOST if len(grams) < MOST_BELOW else CONTAINED


def linked_texts(texts: Sequence[str], threshold: float, patients: Sequence[Iterable[int]] = ()) -> dict[str, Pairs]:
    """Pairs of different texts in `normal_form` that are copies of one another, by reason. `patients`: the texts of
    each, without which a template is not told from a copy."""
    copies = Copies()
    for text in texts:
        copies.add_note(text)
    copies.leave_out_template(patients)
    return copies.links(threshold)

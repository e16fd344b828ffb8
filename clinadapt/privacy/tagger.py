"""A conditional random field that finds what patterns do not: names, places, firms, numbers and short dates by context.

It is trained by python-crfsuite from training_notes.py and notes_by_hand.py, which takes a minute or two, when the
image is built or at its first use, and kept in a file whose name has a digest of all sources that it is made from. Its
weights are summed by tagger_scores.py, which takes a small part of crfsuite's time.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pycrfsuite
from numpy.typing import NDArray

from clinadapt.artifacts.built_files import built_file
from clinadapt.artifacts.code_version import code_version
from clinadapt.clinical import drug_names
from clinadapt.privacy import towns
from clinadapt.privacy.capitals import as_read
from clinadapt.privacy.features import (
    Token,
    lines_in_capitals,
    sequence_features,
    tagged_tokens,
    texts_of,
    types_of,
)
from clinadapt.privacy.notes_by_hand import notes_by_hand
from clinadapt.privacy.patterns import pattern_spans
from clinadapt.privacy.spans import Span, united
from clinadapt.privacy.tagger_scores import Scores, TokenScores, arrays_of
from clinadapt.privacy.training_notes import LabelledNote, training_notes
from clinadapt.privacy.word_lists import cue_classes, english_rank, family_names, given_names

NOTES, COPIES, SEED = 1100, 3, 18
# Added to the scores of labels: of words, which shorthand hides
CAUTION = {"NAME": 0.9, "INITIALS": 0.9, "HOSPITAL": 0.9, "EMPLOYER": 0.9, "CITY": 0.9}
_PARAMETERS = {"c1": 0.0, "c2": 0.3, "max_iterations": 35, "feature.minfreq": 2, "feature.possible_transitions": True}
OUTSIDE = "O"


class Tagged(NamedTuple):
    """A span that the tagger found, and by how much the scores of its labels exceed that of OUTSIDE, on average."""

    span: Span
    margin: float


class Tagger:
    """Tags tokens with the type of identifier they belong to."""

    def __init__(self, model: Path, caution: Mapping[str, float] | None = None) -> None:
        """
        Args:
            model: a file of `pack`.
            caution: label -> what is added to its scores, so that more of it is found, and more needlessly.
        """
        with np.load(model, allow_pickle=False) as file:
            self.labels = file["labels"].tolist()
            self._gains = file["transitions"]
            self._scores = TokenScores(file)
        self._added = np.array([(caution or {}).get(label, 0.0) for label in self.labels], np.float32)

    def spans(
        self, text: str, words: Sequence[Token], texts: Sequence[str], parts: Iterable[tuple[int, int]]
    ) -> list[Tagged]:
        """Identifiers that the words around them tell.

        Args:
            text: a note.
            words: its tokens, of `tagged_tokens`.
            texts: of `texts_of`.
            parts: first token, and the one after the last, of the parts of the note that are tagged.
        """
        spans: list[Span] = []
        margins: list[list[float]] = []
        for index, label, margin in self._tagged(texts, parts):
            token = words[index]
            if token.text[0] == "\n" or texts[index] != token.text:  # found by patterns
                continue
            if label == "NAME" and _names_nobody(token.text):
                continue
            if spans and spans[-1].type == label and not text[spans[-1].end : token.start].strip(" \t"):
                spans[-1] = Span(spans[-1].start, token.end, label)
            else:
                spans.append(Span(token.start, token.end, label))
                margins.append([])
            if token.text[0].isalnum():
                margins[-1].append(margin)
        return [Tagged(span, sum(own) / max(1, len(own))) for span, own in zip(spans, margins, strict=True)]

    def tag(self, texts: Sequence[str]) -> list[str]:
        """The label of each token of a note, of `texts_of`."""
        labels = {index: label for index, label, _ in self._tagged(texts, [(0, len(texts))])}
        return [labels.get(index, OUTSIDE) for index in range(len(texts))]

    def _tagged(self, texts: Sequence[str], parts: Iterable[tuple[int, int]]) -> list[tuple[int, str, float]]:
        """Tokens of parts of a note with their labels where these are not OUTSIDE, and by how much each one's score
        exceeds that of OUTSIDE, its neighbours left out.

        The parts are tagged side by side: the scores have a row for the first token of each, then for the second."""
        longest_first = sorted(parts, key=lambda part: part[0] - part[1])
        if not longest_first:
            return []
        starts, ends = np.array(longest_first).T
        counts = _longer(ends - starts)
        steps, numbers = _in_order(counts)
        places = starts[numbers] + steps
        scores = self._scores.of(texts, lines_in_capitals(texts), places)
        scores += self._added
        margins = scores - scores[:, :1]
        scores[: counts[0]] += np.where(starts[:, None] > 0, self._gains[0], 0)  # what stands around is outside
        last = np.where(ends[:, None] < len(texts), self._gains[:, 0], 0)
        labels = best_paths(scores, self._gains, last, counts)
        found = np.flatnonzero(labels)
        return sorted((int(places[row]), self.labels[labels[row]], float(margins[row, labels[row]])) for row in found)


@lru_cache(maxsize=30_000)
def _names_nobody(word: str) -> bool:
    """Whether a token of `Oduya (likes "Cy")` is a bracket or a frequent word in small letters, hardly a name."""
    if not word.islower():
        return word in ("(", ")", "[", "]", '"')
    listed = word in given_names() or family_names().get(word, 99_999) < 5000
    return not listed and "particle" not in cue_classes().get(word, ()) and english_rank(word) < 8000


def _longer(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of lengths, the largest first, are larger than 0, than 1, and so on up to the largest."""
    return np.asarray(len(lengths) - np.searchsorted(lengths[::-1], np.arange(lengths[0]), side="right"))


def _in_order(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Step and number of each sequence, where so many have a first step, a second, and so on."""
    steps = np.repeat(np.arange(len(counts)), counts)
    return steps, np.arange(len(steps)) - np.repeat(np.cumsum(counts) - counts, counts)


def best_paths(scores: Scores, gains: Scores, last: Scores, counts: NDArray[np.int64]) -> list[int]:
    """The most probable labels of sequences (Viterbi 1967), side by side.

    Args:
        scores: of the labels of the first token of each sequence, then of the second, and so on; of the paths that end
            there when done. The longest sequence is first.
        gains: of a label after another: labels x labels.
        last: of the last label of each sequence.
        counts: of sequences that have a first token, a second, and so on.

    Returns:
        The number of a label, in the order of the scores.
    """
    rows = [0, *accumulate(counts.tolist())]  # the first of each step
    for before, own, count in zip(rows, rows[1:], counts[1:].tolist(), strict=False):
        scores[own : own + count] += np.maximum.reduce(scores[before : before + count, :, None] + gains, axis=1)
    steps, numbers = _in_order(counts)
    previous = (np.array(rows)[steps - 1] + numbers)[counts[0] :]
    back = (scores[previous][:, :, None] + gains).argmax(1).tolist()
    labels = [0] * len(scores)
    for number, length in enumerate(_longer(counts).tolist()):
        label = int((scores[rows[length - 1] + number] + last[number]).argmax())
        for row in reversed(rows[1:length]):
            labels[row + number] = label
            label = back[row + number - counts[0]][label]
        labels[number] = label
    return labels


@cache
def tagger() -> Tagger:
    """The tagger of this version of the code; trained where no file has it.

    Raises:
        UserError: its file cannot be written.
    """
    return Tagger(built_file(_file_name(), _train_once), CAUTION)


def _train_once(path: Path) -> None:
    print("training the tagger of identifiers: a minute or two, once per version", file=sys.stderr)
    train(path)


def train(path: Path, notes: int = NOTES, copies: int = COPIES) -> None:
    """Train the tagger and write it to a file, which is there whole or not at all.

    Args:
        path: of the file.
        notes: how many are made from templates.
        copies: how often each note by hand is taken; 0: no notes by hand.
    """
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", params=_PARAMETERS, verbose=False)
    for note in chain(training_notes(notes, SEED), notes_by_hand(copies, SEED)):
        trainer.append(*example(note))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        model, packed = Path(folder, "model"), Path(folder, "packed")
        trainer.train(str(model))
        pack(model, packed)
        packed.replace(path)


def example(note: LabelledNote) -> tuple[list[list[str]], list[str]]:
    """Features and label of each token of a labelled note; what patterns find is left to them."""
    text = as_read(note.text)
    words = tagged_tokens(text)
    found = united(pattern_spans(text))
    both = zip(types_of(words, note.spans), types_of(words, found), strict=True)
    labels = [OUTSIDE if pattern else label or OUTSIDE for label, pattern in both]
    return sequence_features(texts_of(words, found)), labels


def pack(model: Path, packed: Path) -> None:
    """Write the weights in a file of crfsuite as the arrays that Tagger reads."""
    reader = pycrfsuite.Tagger()
    reader.open(str(model))
    content = reader.info()
    labels = [OUTSIDE, *sorted(set(reader.labels()) - {OUTSIDE})]
    column = {label: number for number, label in enumerate(labels)}
    weights = {name: np.zeros(len(labels), np.float32) for name, _ in content.state_features}
    for (name, label), weight in content.state_features.items():
        weights[name][column[label]] = weight
    transitions = np.zeros((len(labels), len(labels)), np.float32)
    for (before, after), weight in content.transitions.items():
        transitions[column[before], column[after]] = weight
    arrays: dict[str, Any] = {"labels": np.array(labels), "transitions": transitions, **arrays_of(weights)}
    with packed.open("wb") as file:
        np.savez(file, **arrays)


def _file_name() -> str:
    return f"identifiers-{code_version('clinadapt.privacy.tagger').rpartition('+')[2]}.npz"


if __name__ == "__main__":  # while an image is built: into its folder, with the lists of drugs and towns
    train(Path(sys.argv[1]) / _file_name())
    drug_names.FILE.keep(Path(sys.argv[1]))
    towns.FILE.keep(Path(sys.argv[1]))

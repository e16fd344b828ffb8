"""A conditional random field that finds what patterns do not: names, places, firms, numbers and short dates by context.

It is trained by python-crfsuite from training_notes.py, which takes seconds, when the image is built or at its first
use, and kept in a file whose name has a digest of all sources that it is made from. Tagging sums its weights with
NumPy, where what a word adds is computed once; crfsuite looks up each feature's name each time.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import pycrfsuite
from numpy.typing import NDArray

from clinadapt.artifacts.built_files import built_file
from clinadapt.artifacts.code_version import code_version
from clinadapt.clinical import drug_names
from clinadapt.privacy import towns
from clinadapt.privacy.features import (
    REACH,
    Token,
    features_of,
    joint_features,
    lines_in_capitals,
    padded,
    sequence_features,
    texts_of,
    tokens,
    types_of,
)
from clinadapt.privacy.patterns import pattern_spans
from clinadapt.privacy.spans import Span, united
from clinadapt.privacy.training_notes import LabelledNote, training_notes

NOTES, SEED = 1200, 18
CAUTION = 0.2  # a little more is found in shorthand; at 0.3, a tenth more words of other notes are redacted needlessly
_PARAMETERS = {"c1": 0.0, "c2": 0.3, "max_iterations": 40, "feature.minfreq": 2, "feature.possible_transitions": True}
_PLACED = re.compile(r"(-?\d)?([a-z]+=.*)", re.DOTALL)  # as in features_at
OUTSIDE = "O"
Scores = NDArray[np.float32]


class Tagger:
    """Tags tokens with the type of identifier they belong to."""

    def __init__(self, model: Path, caution: float = 0.0) -> None:
        """
        Args:
            model: a file of `pack`: `labels`, OUTSIDE first; `features`; `weights`, features x labels; and
                `transitions`, labels x labels, from the rows to the columns.
            caution: what is taken from the score of OUTSIDE, so that more is found, and more needlessly.
        """
        self._caution = np.float32(caution)
        with np.load(model, allow_pickle=False) as file:
            self.labels = file["labels"].tolist()
            names = file["features"].tobytes().decode().split("\n")
            self._weights = np.vstack([file["weights"], np.zeros((1, len(self.labels)), np.float32)])
            self._gains = file["transitions"]
        self._rows = {name: row for row, name in enumerate(names)}
        self._unknown = len(names)
        self._by_place, self._of_feature = _rows_by_place(names)
        self._of_word = lru_cache(maxsize=30_000)(self._sums)

    def spans(
        self, text: str, words: Sequence[Token], texts: Sequence[str], parts: Iterable[tuple[int, int]]
    ) -> list[Span]:
        """Identifiers that the words around them tell.

        Args:
            text: a note.
            words: its tokens.
            texts: of `texts_of`.
            parts: first token, and the one after the last, of the parts of the note that are tagged.
        """
        around, capitals = padded(texts), lines_in_capitals(texts)
        spans: list[Span] = []
        for first, end in parts:
            labels = self.tag(around[first : end + 2 * REACH], capitals[first:end])
            for token, text_seen, label in zip(words[first:end], texts[first:end], labels, strict=True):
                if label == OUTSIDE or token.text[0] == "\n" or text_seen != token.text:  # found by patterns
                    continue
                if spans and spans[-1].type == label and not text[spans[-1].end : token.start].strip(" \t"):
                    spans[-1] = Span(spans[-1].start, token.end, label)
                else:
                    spans.append(Span(token.start, token.end, label))
        return spans

    def tag(self, texts: Sequence[str], capitals: Sequence[bool]) -> list[str]:
        """The most probable labels of tokens (Viterbi 1967).

        Args:
            texts: of `texts_of`, with the REACH tokens before and after.
            capitals: of each token, without those, whether its line has capitals only.
        """
        best = self._scores(texts, capitals)  # of the best paths that end at a token with a label
        if texts[REACH - 1]:  # what stands around is outside
            best[0] += self._gains[0]
        ways = np.empty_like(self._gains)
        for before, own in zip(best[:, :, None], best[1:], strict=False):
            own += np.maximum.reduce(np.add(before, self._gains, out=ways))
        back = (best[:-1, :, None] + self._gains).argmax(1).tolist()
        path = [int((best[-1] + (self._gains[:, 0] if texts[-REACH] else 0)).argmax())]
        for step in reversed(back):
            path.append(step[path[-1]])
        return [self.labels[label] for label in reversed(path)]

    def _scores(self, texts: Sequence[str], capitals: Sequence[bool]) -> Scores:
        """Score of each label for each token, without those around: tokens x labels."""
        numbers: dict[str, int] = {}
        places = np.array([numbers.setdefault(text, len(numbers)) for text in texts])
        table = np.concatenate([self._of_word(text) for text in numbers]).reshape(len(numbers), 2 * REACH + 1, -1)
        scores = sum(table[places[place : place + len(capitals)], place] for place in range(2 * REACH + 1))
        scores = np.asarray(scores + self._added(joint_features(texts, capitals)))
        scores[:, 0] -= self._caution
        return scores

    def _sums(self, text: str) -> Scores:
        """What a token adds to the scores of its neighbours and of itself: places x labels."""
        last = len(self._by_place) - 1
        rows = self._by_place[[self._of_feature.get(name, last) for name in features_of(text)]]
        return np.asarray(self._weights[rows].sum(0))

    def _added(self, features: Iterable[Sequence[str]]) -> Scores:
        """Sums of the weights of features: lists of them x labels."""
        rows = [[self._rows.get(name, self._unknown) for name in names] for names in features]
        most = max(map(len, rows))
        return np.asarray(self._weights[np.array([row + [self._unknown] * (most - len(row)) for row in rows])].sum(1))


def _rows_by_place(names: Sequence[str]) -> tuple[NDArray[np.int32], dict[str, int]]:
    """Rows of the weights of each feature of a word, by the place of a neighbour as `features_at` has them, and the
    number of each feature among them; the last is of features that the model does not know."""
    numbers: dict[str, int] = {}
    found = [(row, match) for row, name in enumerate(names) if (match := _PLACED.fullmatch(name))]
    places = [(numbers.setdefault(match[2], len(numbers)), int(match[1] or 0) + REACH, row) for row, match in found]
    table = np.full((len(numbers) + 1, 2 * REACH + 1), len(names), np.int32)
    for number, place, row in places:
        table[number, place] = row
    return table, numbers


@cache
def tagger() -> Tagger:
    """The tagger of this version of the code; trained where no file has it.

    Raises:
        UserError: its file cannot be written.
    """
    return Tagger(built_file(_file_name(), _train_once), CAUTION)


def _train_once(path: Path) -> None:
    print("training the tagger of identifiers: under a minute, once per version", file=sys.stderr)
    train(path)


def train(path: Path, notes: int = NOTES) -> None:
    """Train the tagger and write it to a file, which is there whole or not at all."""
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", params=_PARAMETERS, verbose=False)
    for note in training_notes(notes, SEED):
        trainer.append(*example(note))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        model, packed = Path(folder, "model"), Path(folder, "packed")
        trainer.train(str(model))
        pack(model, packed)
        packed.replace(path)


def example(note: LabelledNote) -> tuple[list[list[str]], list[str]]:
    """Features and label of each token of a labelled note; what patterns find is left to them."""
    words = tokens(note.text)
    found = united(pattern_spans(note.text, words))
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
    names = sorted({name for name, _ in content.state_features})
    row = {name: number for number, name in enumerate(names)}
    weights = np.zeros((len(names), len(labels)), np.float32)
    for (name, label), weight in content.state_features.items():
        weights[row[name], column[label]] = weight
    transitions = np.zeros((len(labels), len(labels)), np.float32)
    for (before, after), weight in content.transitions.items():
        transitions[column[before], column[after]] = weight
    features = np.frombuffer("\n".join(names).encode(), np.uint8)
    with packed.open("wb") as file:
        np.savez(file, labels=np.array(labels), features=features, weights=weights, transitions=transitions)


def _file_name() -> str:
    return f"identifiers-{code_version('clinadapt.privacy.tagger').rpartition('+')[2]}.npz"


if __name__ == "__main__":  # while an image is built: into its folder, with the lists of drugs and towns
    train(Path(sys.argv[1]) / _file_name())
    drug_names.FILE.keep(Path(sys.argv[1]))
    towns.FILE.keep(Path(sys.argv[1]))

"""A conditional random field that finds what patterns do not: names, places, firms, numbers and short dates by context.

It is trained from training_notes.py, which takes seconds, when the image is built or at its first use, and kept in a
file whose name has a digest of all sources that it is made from.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from functools import cache
from pathlib import Path

import pycrfsuite

from clinadapt.artifacts.code_version import code_version
from clinadapt.privacy.features import Token, sequence_features, tokens, types_of
from clinadapt.privacy.patterns import pattern_spans
from clinadapt.privacy.spans import Span, united
from clinadapt.privacy.training_notes import LabelledNote, training_notes
from clinadapt.storage.local_files import os_errors

NOTES, SEED = 800, 17
_PARAMETERS = {"c1": 0.0, "c2": 0.05, "max_iterations": 40, "feature.minfreq": 2, "feature.possible_transitions": True}
_IMAGE_FOLDER = Path(sys.prefix) / "share/clinadapt"
OUTSIDE = "O"


class Tagger:
    """Tags tokens with the type of identifier they belong to."""

    def __init__(self, model: Path) -> None:
        self._tagger = pycrfsuite.Tagger()
        self._tagger.open(str(model))

    def spans(self, text: str, words: list[Token], found: list[Span]) -> list[Span]:
        """Identifiers that the words around them tell.

        Args:
            text: a note.
            words: its tokens.
            found: disjoint spans that patterns found.
        """
        labels = self._tagger.tag(sequence_features(words, found))
        spans: list[Span] = []
        for token, label in zip(words, labels, strict=True):
            if label == OUTSIDE or token.text[0] == "\n":
                continue
            if spans and spans[-1].type == label and not text[spans[-1].end : token.start].strip(" \t"):
                spans[-1] = Span(spans[-1].start, token.end, label)
            else:
                spans.append(Span(token.start, token.end, label))
        return spans


@cache
def tagger() -> Tagger:
    """The tagger of this version of the code; trained where no file has it.

    Raises:
        UserError: its file cannot be written.
    """
    image, own = (folder / _file_name() for folder in (_IMAGE_FOLDER, _cache_folder()))
    if image.is_file():
        return Tagger(image)
    with os_errors(f"cannot write to {own.parent}", "set XDG_CACHE_HOME to a writable folder"):
        own.parent.mkdir(parents=True, exist_ok=True)
        with own.with_suffix(".lock").open("w") as lock:  # one process trains, others wait for it
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not own.is_file():
                train(own)
    return Tagger(own)


def train(path: Path, notes: int = NOTES) -> None:
    """Train the tagger and write it to a file, which is there whole or not at all."""
    trainer = pycrfsuite.Trainer(algorithm="lbfgs", params=_PARAMETERS, verbose=False)
    for note in training_notes(notes, SEED):
        trainer.append(*_example(note))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        trainer.train(str(Path(folder, "model")))
        Path(folder, "model").replace(path)


def _example(note: LabelledNote) -> tuple[list[list[str]], list[str]]:
    """Features and label of each token of a labelled note; what patterns find is left to them."""
    words = tokens(note.text)
    found = united(pattern_spans(note.text))
    both = zip(types_of(words, note.spans), types_of(words, found), strict=True)
    return sequence_features(words, found), [OUTSIDE if pattern else label or OUTSIDE for label, pattern in both]


def _file_name() -> str:
    return f"identifiers-{code_version('clinadapt.privacy.tagger').rpartition('+')[2]}.crfsuite"


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clinadapt"


if __name__ == "__main__":  # while an image is built: into its folder
    train(Path(sys.argv[1]) / _file_name())

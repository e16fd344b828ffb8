"""The weights of the tagger, and the score of each label for each token of a note: sums with NumPy, where what a word
adds to its neighbours and to itself is computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.privacy.features import JOINT, OF_CAPITALS, REACH, JointFeature, features_of, padded, parts_of

Scores = NDArray[np.float32]
_MOST = 30_000  # words whose sums are kept
_AT_ONCE = 256  # words whose sums are computed at once
_PLACES = 2 * REACH + 1
_BITS, _PARTS = 20, 3  # of the number of a part in the key of a joint feature, and parts of a feature at most
_KINDS = {kind: number for number, (kind, _) in enumerate((*JOINT, *OF_CAPITALS))}


class TokenScores:
    """Scores of labels for the tokens of notes."""

    def __init__(self, file: Mapping[str, Any]) -> None:
        """`file`: the arrays of `arrays_of`."""
        self._features, self._parts = _numbered(file["features"]), _numbered(file["parts"])
        self._by_place, self._keys, weights = file["by_place"], file["keys"], file["weights"]
        self._joint, self._unknown = len(weights) - len(self._keys), len(weights)
        self._weights = np.vstack([weights, np.zeros((1, weights.shape[1]), np.float32)])
        self._rows: dict[str, int] = {}  # of a word in the next two
        self._sums = np.zeros((1024, _PLACES, weights.shape[1]), np.float32)
        self._codes = np.zeros((1024, 3), np.int64)
        self._lock = Lock()

    def of(self, texts: Sequence[str], capitals: Sequence[bool], places: NDArray[np.int64]) -> Scores:
        """Score of each label for tokens of a note: tokens x labels.

        Args:
            texts: all tokens of the note, of `texts_of`.
            capitals: of each, whether its line has capitals only.
            places: indices of the tokens to score.
        """
        with self._lock:
            rows = self._rows_of(padded(texts))
            scores = self._sums[rows[places], 0]
            for place in range(1, _PLACES):
                scores += self._sums[rows[places + place], place]
            codes = self._codes[rows]
        joint = [self._joint_rows(feature, codes, places) for feature in JOINT]
        for feature in OF_CAPITALS:
            of_capitals = self._joint_rows(feature, codes, places)
            joint.append(np.where(np.array(capitals)[places], of_capitals, self._unknown))
        return np.asarray(scores + self._weights[np.stack(joint, axis=1)].sum(1))

    def _joint_rows(self, feature: JointFeature, codes: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[Any]:
        """Rows of the weights of a joint feature of tokens."""
        kind, parts = feature
        keys = np.full(len(places), _KINDS[kind], np.int64)
        for place, part in parts:
            keys = keys << _BITS | codes[places + REACH + place, part]
        keys <<= _BITS * (_PARTS - len(parts))
        found = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[found] == keys, self._joint + found, self._unknown)

    def _rows_of(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Rows of tokens in the tables of what words add."""
        if len(self._rows) > _MOST:
            self._rows.clear()
        missing = [text for text in dict.fromkeys(texts) if text not in self._rows]
        for start in range(0, len(missing), _AT_ONCE):
            self._learn(missing[start : start + _AT_ONCE])
        return np.array([self._rows[text] for text in texts], np.int64)

    def _learn(self, texts: Sequence[str]) -> None:
        first = len(self._rows)
        if first + len(texts) > len(self._sums):
            self._sums, self._codes = (np.concatenate([old, np.zeros_like(old)]) for old in (self._sums, self._codes))
        last = len(self._features)
        features = [[self._features.get(name, last) for name in features_of(text)] for text in texts]
        most = max(map(len, features))
        placed = self._by_place[[row + [last] * (most - len(row)) for row in features]]
        self._sums[first : first + len(texts)] = self._weights[placed].sum(1)
        unknown = len(self._parts)
        self._codes[first : first + len(texts)] = [
            [self._parts.get(part, unknown) for part in parts_of(text)] for text in texts
        ]
        self._rows.update(zip(texts, range(first, first + len(texts)), strict=True))


def arrays_of(weights: Mapping[str, Scores]) -> dict[str, NDArray[Any]]:
    """The arrays that TokenScores reads, of the weights of each feature by its name: those of features of words, with
    their rows by the place of a neighbour, as `features_at` has them; and of joint ones, by their keys."""
    joint = {name: name.split(" ") for name in weights if name.split(" ")[0] in _KINDS}
    parts = sorted({part for _, *own in joint.values() for part in own})
    if len(parts) >= 1 << _BITS:
        raise ValueError("too many parts of joint features")
    numbers = {part: number for number, part in enumerate(parts)}
    keyed = sorted((_key(kind, [numbers[part] for part in own]), name) for name, (kind, *own) in joint.items())
    simple = sorted(weights.keys() - joint.keys())
    features = sorted({_unplaced(name)[1] for name in simple})
    number = {name: row for row, name in enumerate(features)}
    by_place = np.full((len(features) + 1, _PLACES), len(weights), np.int32)
    for row, name in enumerate(simple):
        place, feature = _unplaced(name)
        by_place[number[feature], place + REACH] = row
    return {
        "features": _as_bytes(features),
        "parts": _as_bytes(parts),
        "by_place": by_place,
        "keys": np.array([key for key, _ in keyed], np.int64),
        "weights": np.array([weights[name] for name in (*simple, *(name for _, name in keyed))], np.float32),
    }


def _key(kind: str, numbers: Sequence[int]) -> int:
    key = _KINDS[kind]
    for number in (*numbers, *[0] * (_PARTS - len(numbers))):
        key = key << _BITS | number
    return key


def _unplaced(name: str) -> tuple[int, str]:
    """The place of a neighbour and its feature: of `-1w=the` -1 and `w=the`."""
    digits = name[: 2 if name[0] == "-" else 1 if name[0].isdigit() else 0]
    return int(digits or 0), name[len(digits) :]


def _as_bytes(names: Sequence[str]) -> NDArray[np.uint8]:
    return np.frombuffer("\n".join(names).encode(), np.uint8)


def _numbered(names: NDArray[np.uint8]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names.tobytes().decode().split("\n"))}

"""Near duplicates among texts by MinHash over word 4-grams, texts contained in others, and clusters of both."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from clinadapt.data.text import words

SHINGLE = 4  # words: most of them survive when the sentences of a note are put in another order
PERMUTATIONS = 128
MAX_UNSAMPLED, SAMPLED = 128, 8
COMMON = 512  # texts: a 4-gram of more is no clue to where a text is contained
RECALL = 0.99  # of the pairs exactly at the threshold; a missed pair would leak from train to test
_CHUNK = 1 << 14  # pairs of signatures compared at a time

_rng = np.random.default_rng(0)
_POSITIONS = _rng.integers(0, 2**64, SHINGLE, dtype=np.uint64) | np.uint64(1)
_FACTORS = _rng.integers(0, 2**32, (PERMUTATIONS, 1), dtype=np.uint32) | np.uint32(1)
_OFFSETS = _rng.integers(0, 2**32, (PERMUTATIONS, 1), dtype=np.uint32)


def normal_form(text: str) -> str:
    """Lower-case words only: equal for texts that a reader would call the same."""
    return " ".join(words(text.lower()))


_ALIKE = {
    "she": "he", "her": "his", "hers": "his", "him": "his", "woman": "man", "female": "man", "male": "man",
    "lady": "man", "gentleman": "man", "girl": "boy", "mrs": "mr", "ms": "mr", "miss": "mr", "pt": "patient",
    "htn": "hypertension", "bp": "blood pressure", "hx": "history", "sob": "shortness of breath", "yo": "year old",
    "copd": "chronic obstructive pulmonary disease", "cad": "coronary artery disease", "yrs": "years", "wks": "weeks",
    "dm2": "type # diabetes mellitus", "gerd": "gastroesophageal reflux disease", "uti": "urinary tract infection",
    "ef": "ejection fraction", "exam": "examination", "temp": "temperature", "bilat": "bilaterally",
    "er": "emergency room", "ed": "emergency department", "mri": "magnetic resonance imaging",
    "ct": "computed tomography", "ekg": "electrocardiogram", "ecg": "electrocardiogram", "af": "atrial fibrillation",
    "wnl": "within normal limits", "rom": "range of motion", "w": "with", "oa": "osteoarthritis",
    "cva": "costovertebral angle",
    "bph": "benign prostatic hyperplasia", "rlq": "right lower quadrant", "llq": "left lower quadrant",
    "ruq": "right upper quadrant", "luq": "left upper quadrant", "dvt": "deep venous thrombosis", "bid": "twice a day",
    "tid": "three times a day", "prn": "as needed", "iv": "intravenous", "ckd": "chronic kidney disease",
    "chf": "congestive heart failure", "psa": "prostate specific antigen", "inr": "international normalized ratio",
}  # fmt: skip
_LETTERS = {
    "h o": "history of", "s p": "status post", "w o": "without", "c o": "complains of", "f u": "follow up",
    "y o": "year old", "b i d": "twice a day", "t i d": "three times a day", "q i d": "four times a day",
    "q d": "every day", "p r n": "as needed", "p o": "by mouth", "q h s": "at bedtime", "n v": "nausea and vomiting",
    "twice daily": "twice a day", "three times daily": "three times a day", "four times daily": "four times a day",
}  # fmt: skip
_LETTER = re.compile(rf"\b(?:{'|'.join(_LETTERS)})\b")
_NAME = re.compile(r"\b(mr|mrs|ms|miss|dr) \w+")
_NUMBER = re.compile(r"\d+")


def note_id(text: str) -> str:
    """What a note is called: 16 hex digits of a hash of its normal form."""
    return note_id_of_form(normal_form(text))


def note_id_of_form(normal: str) -> str:
    """As `note_id`, of a note already in normal form."""
    return hashlib.sha256(normal.encode()).hexdigest()[:16]


def comparable_form(normal: str) -> str:
    """A text in normal form without what one patient's copy of a note changes: numbers, sex, names, abbreviations."""
    split = _LETTER.sub(lambda match: _LETTERS[match[0]], _NUMBER.sub("#", _NAME.sub("mr x", normal))).split()
    return " ".join(_ALIKE.get(word, word) for word in split)


class _WordHashes(dict[str, int]):
    """64-bit hash of each word, computed at its first use."""

    def __missing__(self, word: str) -> int:
        value = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        self[word] = value
        return value


class Shingles:
    """An index of texts by their word 4-grams, with MinHash signatures (Broder 1997).

    Takes about 4 bytes a word and 512 bytes a text. Two different 4-grams of two notes of 500 words get the same 32-bit
    hash with a probability of 6e-5.

    Attributes:
        grams: text number -> sorted uint32 hashes of its different 4-grams, shape (4-grams,).
    """

    def __init__(self) -> None:
        self.grams: list[np.ndarray] = []
        self._signatures: list[np.ndarray] = []
        self._words = _WordHashes()

    def hashes(self, normal: str) -> np.ndarray:
        """Hash the different 4-grams of a text in normal form; a shorter text is hashed as one n-gram.

        Returns:
            Sorted uint32 hashes, shape (4-grams,).
        """
        split = normal.split()
        hashes = np.fromiter(map(self._words.__getitem__, split), dtype=np.uint64, count=len(split))
        width = min(SHINGLE, len(split))
        grams = np.zeros(max(1, len(split) - SHINGLE + 1), dtype=np.uint64)
        for position in range(width):
            grams += hashes[position : position + len(grams)] * _POSITIONS[position]
        grams ^= grams >> np.uint64(29)  # multiply, so that the upper half depends on all bits
        grams *= np.uint64(0xBF58476D1CE4E5B9)
        return np.unique((grams >> np.uint64(32)).astype(np.uint32))

    def add(self, grams: np.ndarray) -> int:
        """Add a text, given its `hashes`. Returns its number, counted from 0."""
        self._signatures.append((_FACTORS * grams + _OFFSETS).min(axis=1))
        self.grams.append(grams)
        return len(self.grams) - 1

    def count_shared(self, grams: np.ndarray, number: int) -> int:
        """Count the `grams` that text `number` also has."""
        indexed = self.grams[number]
        return int((indexed[np.searchsorted(indexed, grams).clip(max=len(indexed) - 1)] == grams).sum())

    def near_duplicates(self, threshold: float) -> list[tuple[int, int]]:
        """Find pairs of texts whose 4-gram Jaccard similarity is at least `threshold` (0 to 1).

        Locality-sensitive hashing proposes pairs, in bands with as many rows as reach RECALL at the threshold. Pairs
        remain whose share of equal minima is at least half the threshold (4 standard deviations below it at 0.3) and
        whose exact similarity reaches it.

        Returns:
            (i, j) with i > j, sorted.
        """
        if not self.grams:
            return []
        signatures = np.stack(self._signatures)
        rows = max((r for r in range(1, 9) if 1 - (1 - threshold**r) ** (PERMUTATIONS // r) >= RECALL), default=1)
        candidates = [np.empty(0, dtype=np.int64)]
        for first in range(0, PERMUTATIONS - rows + 1, rows):
            for one, other in _equal_rows(signatures[:, first : first + rows]):
                for start in range(0, len(one), _CHUNK):
                    a, b = one[start : start + _CHUNK], other[start : start + _CHUNK]
                    close = (signatures[a] == signatures[b]).mean(axis=1) >= threshold / 2
                    candidates.append(np.maximum(a, b)[close] * len(signatures) + np.minimum(a, b)[close])
        pairs = (divmod(int(pair), len(signatures)) for pair in np.unique(np.concatenate(candidates)))
        return [(i, j) for i, j in pairs if self._jaccard(i, j) >= threshold]

    def _jaccard(self, i: int, j: int) -> float:
        shared = self.count_shared(self.grams[i], j)
        return shared / (len(self.grams[i]) + len(self.grams[j]) - shared)

    def contained(
        self, parts: Sequence[np.ndarray], containers: Sequence[int], shares: np.ndarray
    ) -> Iterator[tuple[int, int]]:
        """Find pairs (position of a part, container) in which the container has enough of the part's 4-grams.

        Args:
            parts: 4-grams of texts, indexed or not, each of shape (4-grams,).
            containers: numbers of texts.
            shares: how much of each part is enough, 0 to 1, shape (parts,).
        """
        grams, owner, sizes = _clues(parts)
        for container in containers:
            left = np.searchsorted(grams, self.grams[container], "left")
            count = np.searchsorted(grams, self.grams[container], "right") - left
            left, count = left[count > 0], count[count > 0]
            if len(left):
                within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
                part, shared = np.unique(owner[np.repeat(left, count) + within], return_counts=True)
                for p in part[shared >= shares[part] / 2 * sizes[part]].tolist():
                    if self.count_shared(parts[p], container) >= shares[p] * len(parts[p]):
                        yield p, container


def _clues(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sampled 4-grams of texts that few of them have, sorted; the position of the text of each; texts' numbers of
    them."""
    sizes = [len(_sample(part)) for part in parts]
    grams = np.concatenate([*map(_sample, parts), np.empty(0, dtype=np.uint32)])
    owner = np.repeat(np.arange(len(parts), dtype=np.int32), sizes)
    order = np.argsort(grams, kind="stable")
    grams, owner = grams[order], owner[order]
    if len(common := np.unique(grams[COMMON:][grams[COMMON:] == grams[:-COMMON]])):
        rare = ~np.isin(grams, common)
        grams, owner = grams[rare], owner[rare]
    return grams, owner, np.bincount(owner, minlength=len(parts))


def _sample(grams: np.ndarray) -> np.ndarray:
    """The 4-grams that stand for a text in a search: of a long one those whose hash is a multiple of SAMPLED."""
    return grams if len(grams) <= MAX_UNSAMPLED else grams[grams % SAMPLED == 0]


def _equal_rows(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of equal rows of `keys`, shape (rows, columns), in chunks of at most one pair per row."""
    order = np.lexsort(keys.T)
    ordered = keys[order]
    start, step = np.arange(len(order)), 1
    while len(start := start[: np.searchsorted(start, len(order) - step)]):
        start = start[(ordered[start] == ordered[start + step]).all(axis=1)]
        yield order[start], order[start + step]
        step += 1


def clusters(count: int, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Cluster texts that are connected through pairs.

    Args:
        count: number of texts.
        pairs: of numbers of texts.

    Returns:
        Cluster number of each text, shape (count,).
    """
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1]

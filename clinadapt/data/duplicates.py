"""Near duplicates among texts by MinHash over word 8-grams, texts contained in others, and clusters of both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from clinadapt.data.text import words

SHINGLE = 8  # words
PERMUTATIONS = 128
RECALL = 0.99  # of the pairs exactly at the threshold; a missed pair would leak from train to test
_CHUNK = 1 << 14  # pairs of signatures compared at a time

_rng = np.random.default_rng(0)
_POSITIONS = _rng.integers(0, 2**64, SHINGLE, dtype=np.uint64) | np.uint64(1)
_FACTORS = _rng.integers(0, 2**32, (PERMUTATIONS, 1), dtype=np.uint32) | np.uint32(1)
_OFFSETS = _rng.integers(0, 2**32, (PERMUTATIONS, 1), dtype=np.uint32)


def normal_form(text: str) -> str:
    """Lower-case words only: equal for texts that a reader would call the same."""
    return " ".join(words(text.lower()))


class _WordHashes(dict[str, int]):
    """64-bit hash of each word, computed at its first use."""

    def __missing__(self, word: str) -> int:
        value = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        self[word] = value
        return value


class Shingles:
    """An index of texts by their word 8-grams, with MinHash signatures (Broder 1997).

    Takes about 4 bytes a word and 512 bytes a text. Two different 8-grams of two notes of 500 words get the same 32-bit
    hash with a probability of 6e-5.

    Attributes:
        grams: text number -> sorted uint32 hashes of its different 8-grams, shape (8-grams,).
    """

    def __init__(self) -> None:
        self.grams: list[np.ndarray] = []
        self._signatures: list[np.ndarray] = []
        self._words = _WordHashes()

    def hashes(self, normal: str) -> np.ndarray:
        """Hash the different 8-grams of a text in normal form; a shorter text is hashed as one n-gram.

        Returns:
            Sorted uint32 hashes, shape (8-grams,).
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
        """Find pairs of texts whose 8-gram Jaccard similarity is at least `threshold` (0 to 1).

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

    def contained(self, parts: Sequence[int], containers: Sequence[int], share: float) -> list[tuple[int, int]]:
        """Find pairs (part, container) in which the container has at least `share` of the 8-grams of the part.

        Args:
            parts, containers: numbers of texts.
            share: 0 to 1.
        """
        if not len(parts):
            return []
        sizes = np.array([len(self.grams[part]) for part in parts])
        grams = np.concatenate([self.grams[part] for part in parts])
        order = np.argsort(grams, kind="stable")
        grams, owner = grams[order], np.repeat(np.arange(len(parts)), sizes)[order]
        pairs = []
        for container in containers:
            left = np.searchsorted(grams, self.grams[container], "left")
            count = np.searchsorted(grams, self.grams[container], "right") - left
            hits = np.flatnonzero(count)
            if len(hits):
                owners = np.concatenate([owner[left[hit] : left[hit] + count[hit]] for hit in hits])
                part, shared = np.unique(owners, return_counts=True)
                enough = part[shared >= share * sizes[part]]
                pairs += [(parts[p], container) for p in enough if parts[p] != container]
        return pairs


def _equal_rows(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of equal rows of `keys`, shape (rows, columns), in chunks of at most one pair per row."""
    order = np.lexsort(keys.T)
    ordered = keys[order]
    start, step = np.arange(len(order)), 1
    while len(start := start[: np.searchsorted(start, len(order) - step)]):
        start = start[(ordered[start] == ordered[start + step]).all(axis=1)]
        yield order[start], order[start + step]
        step += 1


def near_duplicates(texts: Sequence[str], threshold: float) -> list[tuple[int, int]]:
    """Find pairs of texts in `normal_form`, see `Shingles.near_duplicates`."""
    index = Shingles()
    for text in texts:
        index.add(index.hashes(text))
    return index.near_duplicates(threshold)


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

"""Exact and near duplicates among texts, texts that stand in others, and the clusters that they form."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SHINGLE = 8  # words
PERMUTATIONS = 128
RECALL = 0.99  # of the pairs exactly at the threshold; a pair missed would leak from train to test
_CHUNK = 1 << 14  # pairs whose signatures are compared at a time

_draw = np.random.default_rng(0)
_PLACES = _draw.integers(0, 2**64, SHINGLE, dtype=np.uint64) | np.uint64(1)
_FACTORS = _draw.integers(0, 2**32, (PERMUTATIONS, 1), dtype=np.uint32) | np.uint32(1)
_OFFSETS = _draw.integers(0, 2**32, (PERMUTATIONS, 1), dtype=np.uint32)


def normal_form(text: str) -> str:
    """What two notes share when a reader would call them the same text: lower case, words only."""
    return " ".join(re.findall(r"\w+", text.lower()))


class _Words(dict[str, int]):
    """64-bit hashes of words."""

    def __missing__(self, word: str) -> int:
        value = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        self[word] = value
        return value


class Shingles:
    """The word 8-grams of many texts as sorted 32-bit hashes, and their MinHash signatures (Broder 1997).

    About 4 bytes a word and 512 bytes a text are kept; two different 8-grams of two notes of 500 words are taken for
    the same with a probability of 6e-5.
    """

    def __init__(self) -> None:
        self.grams: list[np.ndarray] = []
        self._signatures: list[np.ndarray] = []
        self._words = _Words()

    def of(self, normal: str) -> np.ndarray:
        """Hashes of the different 8-grams of a text in normal form (of the whole text where it is shorter), sorted."""
        words = normal.split()
        hashes = np.fromiter(map(self._words.__getitem__, words), dtype=np.uint64, count=len(words))
        width = min(SHINGLE, len(words))
        grams = np.zeros(max(1, len(words) - SHINGLE + 1), dtype=np.uint64)
        for place in range(width):
            grams += hashes[place : place + len(grams)] * _PLACES[place]
        grams ^= grams >> np.uint64(29)  # multiply, so that the upper half depends on all bits
        grams *= np.uint64(0xBF58476D1CE4E5B9)
        return np.unique((grams >> np.uint64(32)).astype(np.uint32))

    def add(self, grams: np.ndarray) -> int:
        """Take up a text by its 8-grams; its number, from 0."""
        self._signatures.append((_FACTORS * grams + _OFFSETS).min(axis=1))
        self.grams.append(grams)
        return len(self.grams) - 1

    def shared(self, grams: np.ndarray, number: int) -> int:
        """How many of these 8-grams a text that was taken up has too."""
        held = self.grams[number]
        return int((held[np.searchsorted(held, grams).clip(max=len(held) - 1)] == grams).sum())

    def near(self, threshold: float) -> list[tuple[int, int]]:
        """Pairs (i, j), i > j, in order, whose Jaccard similarity is at least `threshold`.

        Bands of the signatures propose pairs, as many rows in a band as find RECALL of those at the threshold; the
        share of equal minima, of which half the threshold is asked (4 standard deviations below it at 0.3), and then
        the exact similarity decide.
        """
        if not self.grams:
            return []
        signatures = np.stack(self._signatures)
        rows = max((r for r in range(1, 9) if 1 - (1 - threshold**r) ** (PERMUTATIONS // r) >= RECALL), default=1)
        found = [np.empty(0, dtype=np.int64)]
        for first in range(0, PERMUTATIONS - rows + 1, rows):
            for one, other in _equal(signatures[:, first : first + rows]):
                for part in range(0, len(one), _CHUNK):
                    a, b = one[part : part + _CHUNK], other[part : part + _CHUNK]
                    close = (signatures[a] == signatures[b]).mean(axis=1) >= threshold / 2
                    found.append(np.maximum(a, b)[close] * len(signatures) + np.minimum(a, b)[close])
        proposed = (divmod(int(pair), len(signatures)) for pair in np.unique(np.concatenate(found)))
        return [(i, j) for i, j in proposed if self._jaccard(i, j) >= threshold]

    def _jaccard(self, i: int, j: int) -> float:
        shared = self.shared(self.grams[i], j)
        return shared / (len(self.grams[i]) + len(self.grams[j]) - shared)

    def contained(self, parts: Sequence[int], wholes: Sequence[int], share: float) -> list[tuple[int, int]]:
        """Pairs (part, whole) where the whole has at least `share` of the 8-grams of the part."""
        if not len(parts):
            return []
        sizes = np.array([len(self.grams[part]) for part in parts])
        grams = np.concatenate([self.grams[part] for part in parts])
        order = np.argsort(grams, kind="stable")
        grams, owner = grams[order], np.repeat(np.arange(len(parts)), sizes)[order]
        pairs = []
        for whole in wholes:
            left = np.searchsorted(grams, self.grams[whole], "left")
            count = np.searchsorted(grams, self.grams[whole], "right") - left
            hits = np.flatnonzero(count)
            if len(hits):
                held = np.concatenate([owner[left[hit] : left[hit] + count[hit]] for hit in hits])
                part, shared = np.unique(held, return_counts=True)
                pairs += [(parts[p], whole) for p in part[shared >= share * sizes[part]] if parts[p] != whole]
        return pairs


def _equal(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of rows that are equal, in pieces of at most one pair a row."""
    order = np.lexsort(keys.T)
    ordered = keys[order]
    start, step = np.arange(len(order)), 1
    while len(start := start[: np.searchsorted(start, len(order) - step)]):
        start = start[(ordered[start] == ordered[start + step]).all(axis=1)]
        yield order[start], order[start + step]
        step += 1


def near_duplicates(texts: Sequence[str], threshold: float) -> list[tuple[int, int]]:
    """Pairs of texts whose 8-gram Jaccard similarity is at least `threshold`.

    Args:
        texts: normalised by `normal_form`.
        threshold: 0 to 1.

    Returns:
        (i, j) with i > j, in order.
    """
    index = Shingles()
    for text in texts:
        index.add(index.of(text))
    return index.near(threshold)


def clusters(count: int, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Cluster number of each of `count` notes, shape (count,): connected through pairs of near duplicates."""
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1]

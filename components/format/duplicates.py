"""Exact and near duplicates among notes, and the clusters that they form."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from datasketch import MinHash, MinHashLSH
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SHINGLE = 8  # words
PERMUTATIONS = 128
WEIGHTS = (0.2, 0.8)  # of a pair proposed in vain and of a pair missed; the latter would leak from train to test


def normal_form(text: str) -> str:
    """What two notes share when a reader would call them the same text: lower case, words only."""
    return " ".join(re.findall(r"\w+", text.lower()))


def shingles(normal: str) -> set[bytes]:
    """The word 8-grams of a normalised text (the whole text where it is shorter)."""
    words = normal.split()
    return {" ".join(words[i : i + SHINGLE]).encode() for i in range(max(1, len(words) - SHINGLE + 1))}


def near_duplicates(texts: Sequence[str], threshold: float) -> list[tuple[int, int]]:
    """Pairs of texts whose 8-gram Jaccard similarity is at least `threshold`.

    MinHash LSH (datasketch; Broder 1997) proposes pairs at two thirds of the threshold, so that few are missed;
    the exact Jaccard similarity decides.

    Args:
        texts: normalised by `normal_form`.
        threshold: 0 to 1.

    Returns:
        (i, j) with i > j, in order.
    """
    grams = [shingles(text) for text in texts]
    index = MinHashLSH(threshold=threshold * 2 / 3, num_perm=PERMUTATIONS, weights=WEIGHTS)
    pairs = []
    for i, sketch in enumerate(MinHash.generator(grams, num_perm=PERMUTATIONS)):
        pairs += [(i, j) for j in sorted(index.query(sketch)) if jaccard(grams[i], grams[j]) >= threshold]
        index.insert(i, sketch)
    return pairs


def jaccard(a: set[bytes], b: set[bytes]) -> float:
    """Size of the intersection over size of the union."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def clusters(count: int, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Cluster number of each of `count` notes, shape (count,): connected through pairs of near duplicates."""
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1]

"""Which notes are connected, by union-find: a pair of notes that are connected already need not be compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Connections:
    """Connected notes, of each kind of link on its own.

    Attributes:
        pairs: kind -> the links that connected notes that were not connected yet, in order.
    """

    def __init__(self, count: int, kinds: int) -> None:
        """
        Args:
            count: number of notes.
            kinds: number of kinds of links.
        """
        self._label = np.tile(np.arange(count), (kinds, 1))
        self._members: list[dict[int, list[int]]] = [{} for _ in range(kinds)]  # label -> its notes, where several
        self.pairs: list[list[tuple[int, int]]] = [[] for _ in range(kinds)]

    def apart(self, kind: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Whether the notes of each pair are not connected by links of the kind, shape (pairs,)."""
        return self._label[kind, one] != self._label[kind, other]

    def connect(self, kind: int, one: int, other: int) -> bool:
        """Add a link. Returns False where the two are connected already."""
        label, members = self._label[kind], self._members[kind]
        roots = int(label[one]), int(label[other])
        if roots[0] == roots[1]:
            return False
        larger, smaller = sorted((members.pop(root, [root]) for root in roots), key=len, reverse=True)
        root = int(label[larger[0]])
        label[smaller] = root
        larger.extend(smaller)
        members[root] = larger
        self.pairs[kind].append((max(one, other), min(one, other)))
        return True

    def connect_all(self, kind: int, notes: Sequence[int]) -> None:
        """Add links from the first note to all others."""
        for note in notes[1:]:
            self.connect(kind, notes[0], note)

"""Near duplicates among texts by MinHash over word 4-grams, texts contained in others, and clusters of both."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from clinadapt.data.connections import Connections
from clinadapt.data.text import words

SHINGLE = 4  # words: most of them survive when the sentences of a note are put in another order
PERMUTATIONS = 128
MAX_UNSAMPLED, SAMPLED = 128, 8
TEMPLATE_PATIENTS, TEMPLATE_SHARE = 8, 1 / 20  # with a 4-gram: in the notes of more it is of a template
COMMON = 512  # texts: a 4-gram of more is no clue to where a text is contained
RECALL = 0.99  # of the pairs exactly at the threshold; a missed pair would leak from train to test
NEIGHBOURS, FURTHER = 32, 6  # texts that each is compared with where more are equal in a band; minima that sort these
_CHUNK, _GRAMS = 1 << 14, 1 << 20  # pairs of signatures, and 4-grams, compared at a time
_CONTAINERS, _HITS = 1 << 18, 1 << 22  # their 4-grams searched at a time, and what they may find
_BUCKETS = np.uint32(1 << 24)
_NONE, _32 = np.empty(0, dtype=np.uint32), np.uint64(32)

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
_LETTERS_FIRST = frozenset(letters.split()[0] for letters in _LETTERS)
_TITLES = frozenset(["mr", "mrs", "ms", "miss", "dr"])
_NAME = re.compile(rf"\b(?:{'|'.join(_TITLES)}) \w+")
_NUMBER = re.compile(r"\d+")


def note_id(text: str) -> str:
    """What a note is called: 16 hex digits of a hash of its normal form."""
    return note_id_of_form(normal_form(text))


def note_id_of_form(normal: str) -> str:
    """As `note_id`, of a note already in normal form."""
    return hashlib.sha256(normal.encode()).hexdigest()[:16]


class _Alike(dict[str, str]):
    """A word -> what it and its variants are compared as, without its numbers; computed at its first use."""

    def __missing__(self, word: str) -> str:
        form = self[word] = _ALIKE.get(word) or _NUMBER.sub("#", word)
        return form


_alike = _Alike()


def comparable_form(normal: str) -> str:
    """A text in normal form without what one patient's copy of a note changes: numbers, sex, names, abbreviations."""
    split = normal.split()
    if not _TITLES.isdisjoint(split):
        split = _NAME.sub("mr x", normal).split()
    if not _LETTERS_FIRST.isdisjoint(split):
        split = _LETTER.sub(lambda match: _LETTERS[match[0]], " ".join(split)).split()
    return " ".join(map(_alike.__getitem__, split))


class StandFor(NamedTuple):
    """What texts stand for, and what connects that.

    Attributes:
        of_text: number of what each text stands for, shape (texts,).
        kind_of: kind of each text, shape (texts,); a pair is a link of the higher kind of its two.
        connections: of what the texts stand for, by kind.
    """

    of_text: np.ndarray
    kind_of: np.ndarray
    connections: Connections

    @classmethod
    def themselves(cls, count: int) -> StandFor:
        """Texts that stand for themselves, of one kind."""
        return cls(np.arange(count), np.zeros(count, dtype=np.int64), Connections(count, 1))


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
        self._template: Template | None = None

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
        return _different(np.sort((grams >> _32).astype(np.uint32)))

    def add(self, grams: np.ndarray) -> int:
        """Add a text, given its `hashes`. Returns its number, counted from 0."""
        own = self._own(grams, len(self.grams))
        self._signatures.append(_signature(own))
        self.grams.append(own)
        return len(self.grams) - 1

    def leave_out(self, template: Template) -> None:
        """Leave out the 4-grams of a template, also of texts that are added later."""
        self._template = template
        for number, grams in enumerate(self.grams):
            own = self._own(grams, number)
            if len(own) < len(grams):
                self.grams[number], self._signatures[number] = own, _signature(own)

    def _own(self, grams: np.ndarray, number: int) -> np.ndarray:
        """The 4-grams of a text that are of no template; where all are, one that no other text has."""
        own = self._template.without(grams) if self._template else grams
        return own if len(own) else np.array([number], dtype=np.uint32)

    def count_shared(self, grams: np.ndarray, number: int) -> int:
        """Count the `grams` that text `number` also has."""
        indexed = self.grams[number]
        return int((indexed[np.searchsorted(indexed, grams).clip(max=len(indexed) - 1)] == grams).sum())

    def near_duplicates(self, threshold: float, stand_for: StandFor | None = None) -> list[tuple[int, int]]:
        """Find pairs of texts whose 4-gram Jaccard similarity is at least `threshold` (0 to 1), as few as connect all.

        Locality-sensitive hashing proposes pairs, in bands with as many rows as reach RECALL at the threshold. A band
        in which more than NEIGHBOURS texts are equal, such as notes of one template, is sorted by further minima, and
        each text is compared with the NEIGHBOURS after it: of pairs of 0.33, where the template alone gives 0.28, 6 %
        are missed. Pairs remain that are not connected yet, whose share of equal minima is at least half the threshold
        (4 standard deviations below it at 0.3) and whose exact similarity reaches it.

        Args:
            threshold: Jaccard similarity.
            stand_for: what is connected by the pairs; by default the texts themselves.

        Returns:
            (i, j) with i > j, in no order.
        """
        if not self.grams:
            return []
        of_text, kind_of, connections = stand_for or StandFor.themselves(len(self.grams))
        self._signatures, pairs = [np.vstack(self._signatures)], []
        signatures = self._signatures[0]
        rows = max((r for r in range(1, 9) if 1 - (1 - threshold**r) ** (PERMUTATIONS // r) >= RECALL), default=1)
        for first in range(0, PERMUTATIONS - rows + 1, rows):
            for one, other in _equal_rows(signatures, first, rows):
                for start in range(0, len(one), _CHUNK):
                    a, b = one[start : start + _CHUNK], other[start : start + _CHUNK]
                    kind = np.maximum(kind_of[a], kind_of[b])
                    apart = connections.apart(kind, of_text[a], of_text[b])
                    a, b, kind = a[apart], b[apart], kind[apart]
                    close = (signatures[a] == signatures[b]).mean(axis=1) >= threshold / 2
                    a, b, kind = a[close], b[close], kind[close]
                    near = self._similarity(a, b) >= threshold
                    for i, j, link in zip(a[near].tolist(), b[near].tolist(), kind[near].tolist(), strict=True):
                        if connections.connect(link, int(of_text[i]), int(of_text[j])):
                            pairs.append((max(i, j), min(i, j)))
        return pairs

    def _similarity(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Exact Jaccard similarity of pairs of texts, shape (pairs,)."""
        if not len(one):
            return np.empty(0)
        sizes = [np.array([len(self.grams[text]) for text in texts], dtype=np.int64) for texts in (one, other)]
        shared = np.zeros(len(one), dtype=np.int64)
        bounds = np.searchsorted(np.cumsum(sizes[0]), np.arange(0, sizes[0].sum(), _GRAMS)).tolist()
        for start, end in zip(bounds, [*bounds[1:], len(one)], strict=True):
            coded = [
                np.repeat(np.arange(end - start, dtype=np.uint64) << _32, of_each[start:end])
                | np.concatenate([*(self.grams[text] for text in texts[start:end].tolist()), _NONE])
                for texts, of_each in zip((one, other), sizes, strict=True)
            ]
            found = coded[1][np.searchsorted(coded[1], coded[0]).clip(max=len(coded[1]) - 1)] == coded[0]
            shared[start:end] = np.bincount((coded[0][found] >> _32).astype(np.int64), minlength=end - start)
        return shared / (sizes[0] + sizes[1] - shared)

    def contained(
        self,
        parts: Sequence[np.ndarray],
        containers: Sequence[int],
        shares: np.ndarray,
        wanted: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda part, _: np.ones(len(part), dtype=bool),
    ) -> Iterator[tuple[int, int]]:
        """Find pairs (position of a part, container) in which the container has enough of the part's 4-grams.

        Args:
            parts: 4-grams of texts, indexed or not, each of shape (4-grams,).
            containers: numbers of texts, in rising order.
            shares: how much of each part is enough, 0 to 1, shape (parts,).
            wanted: positions of parts, and containers, both of shape (pairs,) -> which of these pairs are looked at.
        """
        grams, owner, sizes = _clues(parts)
        ends = np.cumsum([len(self.grams[container]) for container in containers])
        bounds = np.unique(np.searchsorted(ends, np.arange(0, ends[-1] if len(ends) else 0, _CONTAINERS))).tolist()
        for start, end in zip(bounds, [*bounds[1:], len(containers)], strict=True):
            for part, container, shared in self._shared_clues(containers[start:end], grams, owner):
                enough = shared >= shares[part] / 2 * sizes[part]
                part, container = part[enough], container[enough]
                asked = wanted(part, container)
                for p, c in zip(part[asked].tolist(), container[asked].tolist(), strict=True):
                    if self.count_shared(parts[p], c) >= shares[p] * len(parts[p]):
                        yield p, c

    def _shared_clues(
        self, containers: Sequence[int], grams: np.ndarray, owner: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Parts, containers and how many of the part's clues the container has, each of shape (pairs,), in chunks of
        containers. `grams`, `owner`: of `_clues`."""
        queries = np.concatenate([self.grams[container] for container in containers])
        order = np.argsort(queries)  # neighbours are found faster one after the other
        left, right = np.empty((2, len(queries)), dtype=np.int64)
        left[order] = np.searchsorted(grams, queries[order], "left")
        right[order] = np.searchsorted(grams, queries[order], "right")
        count = right - left
        if count.sum() > _HITS and len(containers) > 1:
            half = len(containers) // 2
            yield from self._shared_clues(containers[:half], grams, owner)
            yield from self._shared_clues(containers[half:], grams, owner)
            return
        of_query = np.repeat(np.arange(len(containers)), [len(self.grams[container]) for container in containers])
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        pairs = np.repeat(of_query, count) << 32 | owner[np.repeat(left, count) + within].astype(np.int64)
        pairs, shared = np.unique(pairs, return_counts=True)
        yield pairs & 0xFFFFFFFF, np.asarray(containers)[pairs >> 32], shared


class Template:
    """The 4-grams that stand in the notes of many patients, and so are no sign that one note is a copy of another.

    They are counted in buckets by their hash, so that the table takes 64 MiB however many there are.
    """

    def __init__(self, patients: Iterable[Sequence[np.ndarray]]) -> None:
        """
        Args:
            patients: 4-grams of the notes of each patient, of shape (4-grams,).
        """
        count, counts = 0, np.zeros(_BUCKETS, dtype=np.uint32)
        for notes in patients:
            count += 1
            counts[np.unique(np.concatenate(notes) % _BUCKETS)] += 1
        self._many = counts > max(TEMPLATE_PATIENTS, TEMPLATE_SHARE * count)

    def without(self, grams: np.ndarray) -> np.ndarray:
        """The 4-grams of a text that are of no template."""
        return grams[~self._many[grams % _BUCKETS]]


def _signature(grams: np.ndarray) -> np.ndarray:
    """The smallest hashes of 4-grams, shape (PERMUTATIONS,)."""
    return np.asarray((_FACTORS * grams + _OFFSETS).min(axis=1))


def _clues(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sampled 4-grams of texts that few of them have, sorted; the position of the text of each; texts' numbers of
    them."""
    samples = [_sample(part) for part in parts]
    sizes = np.array([len(sample) for sample in samples], dtype=np.int64)
    coded = np.concatenate([*samples, _NONE]).astype(np.uint64)
    del samples
    coded <<= _32
    coded |= np.repeat(np.arange(len(parts), dtype=np.uint64), sizes)
    coded.sort()
    grams, owner = (coded >> _32).astype(np.uint32), coded.astype(np.uint32)
    del coded
    rare = np.ones(len(grams), dtype=bool)
    common = _different(grams[COMMON:][grams[COMMON:] == grams[:-COMMON]])
    bounds = (np.searchsorted(grams, common, side).tolist() for side in ("left", "right"))
    for start, end in zip(*bounds, strict=True):
        rare[start:end] = False
    grams, owner = grams[rare], owner[rare]
    return grams, owner, np.bincount(owner, minlength=len(parts))


def _different(values: np.ndarray) -> np.ndarray:
    """The different ones of sorted values."""
    first = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return values[first]


def _sample(grams: np.ndarray) -> np.ndarray:
    """The 4-grams that stand for a text in a search: of a long one those whose hash is a multiple of SAMPLED."""
    return grams if len(grams) <= MAX_UNSAMPLED else grams[grams % SAMPLED == 0]


def _equal_rows(signatures: np.ndarray, first: int, rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of texts with equal minima in a band, in chunks of at most one pair per text.

    Args:
        signatures: shape (texts, PERMUTATIONS).
        first, rows: the columns of the band.
    """
    order = np.lexsort(signatures[:, first : first + rows].T)
    ordered = signatures[order, first : first + rows]
    if len(order) > NEIGHBOURS and (ordered[NEIGHBOURS:] == ordered[:-NEIGHBOURS]).all(axis=1).any():
        columns = np.arange(first, first + rows + FURTHER) % PERMUTATIONS
        order = np.lexsort(signatures[:, columns[::-1]].T)
        ordered = signatures[order, first : first + rows]
    start = np.arange(len(order))
    for step in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
        start = start[: np.searchsorted(start, len(order) - step)]
        start = start[(ordered[start] == ordered[start + step]).all(axis=1)]
        yield order[start], order[start + step]


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

"""Near duplicates found through MinHash, held against the exact similarity of all pairs."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.sparse import csr_array
from support import jaccard, shingles

from clinadapt.data import duplicates
from clinadapt.data.duplicates import Shingles, clusters, comparable_form, normal_form


def all_pairs(texts: list[str], threshold: float) -> set[tuple[int, int]]:
    """Pairs (i, j), i > j, by exact Jaccard similarity: one product of the notes-by-shingles matrix with itself."""
    number: dict[bytes, int] = {}
    columns = [[number.setdefault(gram, len(number)) for gram in shingles(text)] for text in texts]
    sizes = np.array([len(c) for c in columns])
    rows = np.repeat(np.arange(len(texts)), sizes)
    grid = csr_array((np.ones(sizes.sum(), dtype=np.int32), (rows, np.concatenate(columns))))
    shared = (grid @ grid.T).tocoo()
    similarity = shared.data / (sizes[shared.row] + sizes[shared.col] - shared.data)
    keep = (shared.row > shared.col) & (similarity >= threshold)
    return set(zip(shared.row[keep].tolist(), shared.col[keep].tolist(), strict=True))


def indexed(texts: list[str]) -> Shingles:
    index = Shingles()
    for text in texts:
        index.add(index.hashes(text))
    return index


def check(texts: list[str], threshold: float, name: str) -> None:
    different = sorted({normal_form(text) for text in texts})
    found, exact = indexed(different).near_duplicates(threshold), all_pairs(different, threshold)
    cluster = clusters(len(different), found)
    recall = sum(cluster[i] == cluster[j] for i, j in exact) / len(exact)
    print(f"{name}, threshold {threshold}: {len(different)} notes, {len(exact)} pairs, recall {recall:.3f}")
    assert set(found) <= exact
    assert len(found) == len(different) - len(set(cluster))  # as few as connect them
    assert recall >= 0.95


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_builtin_notes(built_in_texts: list[str], threshold: float) -> None:
    check(built_in_texts, threshold, "built-in")


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_mtsamples(mtsamples: list[dict[str, str]], threshold: float) -> None:
    check([row["transcription"] for row in mtsamples], threshold, "MTSamples")


def test_edited_notes(built_in_texts: list[str]) -> None:
    """Notes with words replaced at random, from hardly any to half of them: similarities on both sides of 0.3."""
    draw = random.Random(0)
    texts = []
    for text in sorted(set(built_in_texts))[:150]:
        share = draw.uniform(0.0, 0.2)
        texts += [text, " ".join("changed" if draw.random() < share else word for word in text.split())]
    check(texts, 0.3, "edited")


def templated(count: int, template_words: int, own_words: int) -> list[str]:
    """Short notes of one template, each with words of its own."""
    draw = random.Random(0)
    template = [f"template{word}" for word in range(template_words)]
    return [
        " ".join([*template, *("".join(draw.choices("abcdefgh", k=8)) for _ in range(own_words))]) for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("template_words", "own_words", "clustered"),
    [(30, 10, 1), (23, 40, 1500)],  # similarities of 0.57 and 0.2
    ids=["near duplicates of one another", "too little alike"],
)
def test_work_on_notes_of_a_template_grows_with_their_number(
    template_words: int, own_words: int, clustered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = templated(1500, template_words, own_words)
    texts += [text.replace(text.split()[-2], "changed") for text in texts[:200]]
    compared = 0
    similarity = Shingles._similarity

    def count(index: Shingles, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += len(one)
        return similarity(index, one, other)

    monkeypatch.setattr(Shingles, "_similarity", count)
    cluster = clusters(len(texts), indexed(texts).near_duplicates(0.3))
    assert (cluster[:200] == cluster[1500:]).all()
    assert len(set(cluster)) == clustered
    assert compared < len(texts) ** 2 / 4  # half of all pairs


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Knee pain, since 3 days.", "KNEE PAIN since 3\n\ndays", True),
        ("37,5 °C", "37 5 C", True),
        ("knee pain", "kneepain", False),
        ("no pain", "pain", False),
    ],
)
def test_normal_form(a: str, b: str, same: bool) -> None:
    assert (normal_form(a) == normal_form(b)) is same


def test_shingles() -> None:
    assert shingles("a b c") == {b"a b c"}
    assert shingles("1 2 3 4 5") == {b"1 2 3 4", b"2 3 4 5"}
    assert len(shingles("x " * 50)) == 1


def test_jaccard() -> None:
    assert jaccard({b"a", b"b"}, {b"b", b"c"}) == pytest.approx(1 / 3)
    assert jaccard({b"a"}, {b"a"}) == 1
    assert jaccard({b"a"}, {b"b"}) == 0


def test_clusters_are_connected_components() -> None:
    found = clusters(6, [(1, 0), (2, 1), (5, 4)])
    assert [set(np.flatnonzero(found == c)) for c in sorted(set(found))] == [{0, 1, 2}, {3}, {4, 5}]
    assert len(set(clusters(4, []))) == 4


def test_what_many_texts_have_does_not_tell_what_contains_them(monkeypatch: pytest.MonkeyPatch) -> None:
    index = Shingles()
    note = index.add(index.hashes("seen in clinic today for a cough"))
    parts = [index.hashes(text) for text in ("seen in clinic today", "for a cough", "in clinic today for")]
    parts += [index.hashes("seen in clinic today")] * 2
    assert sorted(index.contained(parts, [note], np.ones(5))) == [(0, note), (2, note), (3, note), (4, note)]
    monkeypatch.setattr(duplicates, "COMMON", 2)
    assert list(index.contained(parts, [note], np.ones(5))) == [(2, note)]


@pytest.mark.parametrize(("containers", "hits"), [(1, 1 << 22), (1 << 18, 1), (200, 50)])
def test_containment_does_not_depend_on_how_many_texts_are_searched_at_a_time(
    built_in_texts: list[str], monkeypatch: pytest.MonkeyPatch, containers: int, hits: int
) -> None:
    index = indexed([normal_form(text) for text in built_in_texts[:40]])
    parts = [index.hashes(" ".join(normal_form(text).split()[20:50])) for text in built_in_texts[:40]]
    exact = [(p, n) for n in range(40) for p in range(40) if index.count_shared(parts[p], n) >= 0.5 * len(parts[p])]
    assert len(exact) >= 40
    monkeypatch.setattr(duplicates, "_CONTAINERS", containers)
    monkeypatch.setattr(duplicates, "_HITS", hits)
    assert list(index.contained(parts, range(40), np.full(40, 0.5))) == exact


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Mrs Smith took 40 mg b.i.d.", "mr x took # mg twice a day"),
        ("Dr. Jones saw her", "mr x saw his"),
        ("pt c/o SOB, s/p CABG x3", "patient complains of shortness of breath status post cabg x#"),
        ("DM2", "type # diabetes mellitus"),
        ("twice daily", "twice a day"),
        ("the miss", "the mr"),
        ("", ""),
    ],
)
def test_copies_of_a_note_are_compared_without_what_a_patient_changes(text: str, form: str) -> None:
    assert comparable_form(normal_form(text)) == form

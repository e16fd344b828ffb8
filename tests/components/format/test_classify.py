"""Rows are merged into different notes with all their labels; near duplicates are never in two splits."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import jaccard, shingles

from clinadapt.artifacts.hashing import read_json
from clinadapt.config.classify import Notes, Split
from clinadapt.data.duplicates import normal_form
from clinadapt.data.schemas.classify import NOTES
from clinadapt.data.schemas.origin import ORIGIN
from clinadapt.data.tables import SPLITS, label_counts, read_split
from clinadapt.errors import UserError
from components.download.classify import run as download
from components.format.classify import (
    accuracy_ceiling,
    merge_rows,
    refuse_label_leak,
    run,
    shared_clusters,
    stratified_split,
    without_rare_labels,
)


def test_no_near_duplicates_in_two_splits(splits: Path) -> None:
    """Checked on every pair of texts, without the code that clusters."""
    grams = {name: [shingles(normal_form(t)) for t in read_split(splits, name)["text"].to_pylist()] for name in SPLITS}
    crossing = [
        (a, b)
        for a, b in combinations(SPLITS, 2)
        for one in grams[a]
        for other in grams[b]
        if one & other and jaccard(one, other) >= 0.3
    ]
    assert crossing == []
    alike = {
        (name, number)
        for name, of_split in grams.items()
        for pair in combinations(range(len(of_split)), 2)
        if jaccard(of_split[pair[0]], of_split[pair[1]]) >= 0.3
        for number in pair
    }
    assert 0 < len(alike) <= read_json(splits / "manifest.json")["near_duplicate_notes"]


def test_every_row_is_in_one_split(notes_csv: Callable[..., Path], tmp_path: Path) -> None:
    download(notes_csv(rows=400).as_uri(), tmp_path / "in", Notes())
    manifest = run(tmp_path / "in", tmp_path / "out", Split())
    rows = pq.read_table(tmp_path / "in/notes.parquet", schema=NOTES).to_pylist()
    found: Counter[tuple[str, str]] = Counter()
    for name in SPLITS:
        for note in read_split(tmp_path / "out", name).to_pylist():
            for label, count in zip(note["labels"], note["counts"], strict=True):
                found[normal_form(note["text"]), label] += count
    assert found == Counter((normal_form(row["text"]), row["label"]) for row in rows)
    assert manifest["notes"] == len({text for text, _ in found})
    assert manifest["exact_duplicate_rows"] == 400 - manifest["notes"]
    assert manifest["cross_listed_notes"] == sum(n > 1 for n in Counter(text for text, _ in found).values())
    assert manifest["shared_clusters"] == 0
    parts = manifest["splits"]
    assert sum(part["rows"] for part in parts.values()) == 400
    shares = [parts[name]["notes"] / manifest["notes"] for name in SPLITS]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.03)
    for label in manifest["labels"]:
        of_label = [parts[name]["per_label"][label] / parts[name]["rows"] for name in SPLITS]
        assert max(of_label) - min(of_label) < 0.12


def test_the_split_depends_on_the_seed(notes_csv: Callable[..., Path], tmp_path: Path) -> None:
    download(notes_csv().as_uri(), tmp_path / "in", Notes())
    digests = [run(tmp_path / "in", tmp_path / f"{i}", Split(seed=seed))["digest"] for i, seed in enumerate((1, 1, 2))]
    assert digests[0] == digests[1] != digests[2]


def row(text: str, label: str) -> dict[str, Any]:
    return {"text": text, "label": label, **dict.fromkeys(name for name, _ in ORIGIN)}


THREE = [
    row("Knee pain.", "Orthopedic"),
    row("knee PAIN", "Surgery"),
    row("Knee pain.", "Orthopedic"),
    row("Chest pain.", "Cardiology"),
    row("Hip pain.", "Orthopedic"),
    row("Hip pain.", "Surgery"),
]


def test_merge_rows_by_hand() -> None:
    notes, _ = merge_rows(THREE)
    assert [(note["text"], note["labels"], note["counts"]) for note in notes] == [
        ("Knee pain.", ["Orthopedic", "Surgery"], [2, 1]),
        ("Chest pain.", ["Cardiology"], [1]),
        ("Hip pain.", ["Orthopedic", "Surgery"], [1, 1]),
    ]
    assert len({note["note_id"] for note in notes}) == 3


def test_a_note_has_the_sex_and_age_that_its_rows_agree_on() -> None:
    told = [{"sex": "female", "age_band": "under 18 years"}, {"sex": "male", "age_band": "under 18 years"}, {}]
    notes, _ = merge_rows([row("Knee pain.", "Surgery") | each for each in told])
    assert [(note["sex"], note["age_band"]) for note in notes] == [(None, "under 18 years")]


def test_ceiling_by_hand() -> None:
    """Of six rows, two of three, one of one and one of two can be right."""
    assert accuracy_ceiling(merge_rows(THREE)[0]) == pytest.approx(4 / 6)


def test_label_counts_by_hand() -> None:
    notes, _ = merge_rows(THREE)
    table = pa.table({key: [note[key] for note in notes] for key in ("labels", "counts")})
    assert label_counts(table, ["Surgery", "Orthopedic", "Cardiology"]).tolist() == [[1, 2, 0], [0, 0, 1], [1, 1, 0]]


def test_shared_clusters_are_counted() -> None:
    parts = {"train": [{"cluster": 1}, {"cluster": 1}, {"cluster": 2}], "test": [{"cluster": 2}, {"cluster": 3}]}
    assert shared_clusters(parts) == 1


def note(text: str, label: str, cluster: int) -> dict[str, Any]:
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    return {"note_id": name, "text": text, "labels": [label], "counts": [1], "cluster": cluster}


def test_whole_clusters_are_held_out() -> None:
    notes = [note(f"{label}{i}", label, 100 * "ab".index(label) + i // 3) for label in "ab" for i in range(60)]
    parts = stratified_split(notes, seed=0)
    assert shared_clusters(parts) == 0
    assert sorted(n["text"] for part in parts.values() for n in part) == sorted(n["text"] for n in notes)


def test_added_notes_do_not_move_others() -> None:
    """But for a few near a border. None that was trained on is held out afterwards."""
    notes = [note(f"{label}{i}", label, 1000 * "abc".index(label) + i // 2) for label in "abc" for i in range(400)]
    few, many = (
        {n["text"]: name for name, part in stratified_split(given, seed=0).items() for n in part}
        for given in ([n for n in notes if int(n["text"][1:]) < 360], notes)
    )
    moved = Counter((few[text], many[text]) for text in few if few[text] != many[text])
    assert sum(moved.values()) < 0.05 * len(few)
    assert not moved["train", "test"] and not moved["test", "train"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "sizes", [[1] * 10, [1] * 57, [8, 1, 1], [4, 4, 4], [1] * 5 + [20], [3, 2, 2, 2, 1, 1], [2] * 31]
)
def test_every_split_has_every_label(sizes: list[int], seed: int) -> None:
    """In its share, as far as whole clusters allow."""
    owners = [number for number, size in enumerate(sizes) for _ in range(size)]
    notes = [note(f"a{i}", "a", owner) for i, owner in enumerate(owners)] + [
        note(f"b{i}", "b", 99 + i) for i in range(10)
    ]
    parts = stratified_split(notes, seed)
    assert shared_clusters(parts) == 0
    found = {name: sum(n["labels"] == ["a"] for n in part) for name, part in parts.items()}
    assert all(found.values())
    if max(sizes) <= 2:
        shares = [found[name] / len(owners) for name in SPLITS]
        assert shares == pytest.approx([0.7, 0.1, 0.2], abs=1 / len(owners))


def test_a_label_with_too_few_notes() -> None:
    notes = [note(f"a{i}", "a", i) for i in range(30)] + [note(f"b{i}", "b", 100 + i) for i in range(9)]
    with pytest.raises(
        UserError,
        match=r"needs 10 different notes of each label, .* fewer: 'b' \(9\): add notes, or leave .*--min-notes",
    ):
        stratified_split(notes, seed=0)


def test_a_label_that_is_never_the_main_one() -> None:
    notes = [note(f"a{i}", "a", i) for i in range(30)]
    for entry in notes[:20]:
        entry["labels"], entry["counts"] = ["a", "b"], [2, 1]
    with pytest.raises(UserError, match=r"fewer: 'b' \(0\)"):
        stratified_split(notes, seed=0)


def test_all_rare_labels_are_named_at_once() -> None:
    notes = [note(f"{label}{i}", label, f"{label}{i}") for label, n in {"a": 30, "b": 3, "c": 20, "d": 9}.items()
             for i in range(n)]  # fmt: skip
    with pytest.raises(UserError, match=r"fewer: 'b' \(3\), 'd' \(9\): .* --min-notes-per-label 10$"):
        stratified_split(notes, seed=0)


def test_rare_labels_are_left_out_when_asked_for() -> None:
    rows = [
        row(f"{label} note {i}", label) for label, n in {"a": 30, "b": 3, "c": 20, "d": 9}.items() for i in range(n)
    ]
    rows += [row(f"a note {i}", "e") for i in range(20)]  # never the main label of a note
    rest, rare = without_rare_labels(rows, 10)
    assert ({entry["label"] for entry in rest}, rare) == ({"a", "c"}, {"b": 3, "d": 9, "e": 0})
    assert without_rare_labels(rows, 0) == (rows, {})
    with pytest.raises(UserError, match="with --min-notes-per-label 25 fewer than two labels remain"):
        without_rare_labels(rows, 25)


def test_a_label_in_one_cluster_only() -> None:
    notes = [note(f"a{i}", "a", i) for i in range(40)] + [note(f"b{i}", "b", 999) for i in range(20)]
    with pytest.raises(
        UserError, match=r"label 'b' has no note in .*near duplicates or of the same patients: add others"
    ):
        stratified_split(notes, seed=0)


def test_copies_of_a_few_notes() -> None:
    notes = [note(f"{label}{i}", label, 3 * (label == "b") + i % 3) for label in "ab" for i in range(24)]
    with pytest.raises(UserError, match="they are only 6 different ones, the split needs 10: add other"):
        stratified_split(notes, seed=0)


def test_keywords_are_refused(notes_csv: Callable[..., Path], tmp_path: Path) -> None:
    download(notes_csv().as_uri(), tmp_path / "in", Notes(columns={"text": "keywords"}))
    with pytest.raises(UserError, match="column 'keywords' contains the label in 100% of the rows"):
        run(tmp_path / "in", tmp_path / "out", Split())
    assert not (tmp_path / "out").exists()


SURGERY = [row(f"The surgery of patient {i} went well.", "Urology" if i % 9 == 0 else "Surgery") for i in range(90)]


def test_a_label_that_is_a_common_word_is_no_leak() -> None:
    """Every note speaks of surgery, whatever its label."""
    refuse_label_leak(SURGERY, "text")


@pytest.mark.parametrize("labels", [("Surgery", "Urology"), ("Surgery", "Surgery", "Urology"), "abcdefghij"])
def test_a_text_that_begins_with_its_label_is_one(labels: tuple[str, ...]) -> None:
    given = [label for _ in range(30) for label in labels]
    with pytest.raises(
        UserError, match=r"column 'text' contains the label in 100% of the rows, .*use the text of the note"
    ):
        refuse_label_leak(
            [row(f"{label.upper()}: patient {i} was seen", label) for i, label in enumerate(given)], "text"
        )


@pytest.fixture(scope="module")
def five_specialties(mtsamples: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five most frequent specialties of MTSamples, downloaded and split."""
    folder = tmp_path_factory.mktemp("mtsamples")
    with (folder / "notes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(mtsamples[0]))
        writer.writeheader()
        writer.writerows(mtsamples)
    download((folder / "notes.csv").as_uri(), folder / "in", Notes(top_labels=5))
    run(folder / "in", folder / "out", Split())
    return folder


def test_five_specialties_of_mtsamples(five_specialties: Path) -> None:
    manifest = read_json(five_specialties / "out/manifest.json")
    assert manifest["labels"] == [
        "Cardiovascular / Pulmonary",
        "Consult - History and Phy.",
        "Orthopedic",
        "Radiology",
        "Surgery",
    ]
    assert manifest["rows_kept"] == 2619
    assert manifest["notes"] == pytest.approx(1989, abs=1)
    assert manifest["ceiling"] == pytest.approx(0.7598, abs=5e-4)
    assert manifest["shared_clusters"] == 0
    print({key: manifest[key] for key in ("notes", "clusters", "near_duplicate_notes", "ceiling", "splits")})


def test_keywords_of_mtsamples_are_refused(five_specialties: Path, tmp_path: Path) -> None:
    source = (five_specialties / "notes.csv").as_uri()
    download(source, tmp_path / "in", Notes(top_labels=5, columns={"text": "keywords"}))
    with pytest.raises(UserError, match="column 'keywords' contains the label"):
        run(tmp_path / "in", tmp_path / "out", Split())

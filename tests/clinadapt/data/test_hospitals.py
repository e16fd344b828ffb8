"""No patient on two sides and no note of the future in training, in generated hospitals: `--benchmarks` makes 1,000."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hospitals import hospital

from clinadapt.config.classify import Notes, Split
from clinadapt.config.instruct import Examples, Source
from clinadapt.data.copies import linked_texts
from clinadapt.data.duplicates import normal_form
from clinadapt.data.note_links import LEFT_OUT, NoteOrigins, join, split_by_time
from clinadapt.data.patients import PATIENT_KEY, OriginReader, Pseudonyms, describe_origin
from clinadapt.data.splits import split_by_cluster
from clinadapt.data.tables import SPLITS, read_split
from clinadapt.errors import UserError
from components.download import classify as download_classify
from components.download import instruct as download_instruct
from components.format import classify as format_classify

KEY = "0123456789abcdef" * 4


def public(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the hospital exports: without the truth."""
    return [{name: value for name, value in row.items() if name not in ("patient", "written")} for row in rows]


def two_sided(rows: Sequence[dict[str, Any]], split_of: dict[str, str]) -> set[int]:
    """Patients with notes in several splits. `split_of`: text -> split; texts that are in none are missing."""
    sides = defaultdict(set)
    for row in rows:
        if side := split_of.get(normal_form(row["transcription"])):
            sides[row["patient"]].add(side)
    return {patient for patient, found in sides.items() if len(found) > 1}


def newest(rows: Sequence[dict[str, Any]], split_of: dict[str, str], side: str) -> dict[str, datetime]:
    """Text of a split -> when it was last written."""
    dates: dict[str, datetime] = {}
    for row in rows:
        text = normal_form(row["transcription"])
        if split_of.get(text) == side:
            dates[text] = max(row["written"], dates.get(text, row["written"]))
    return dates


def clustered(rows: Sequence[dict[str, Any]]) -> tuple[list[str], NoteOrigins, np.ndarray]:
    """Texts of the notes, their origins and clusters, as both recipes make them."""
    reader, origins, numbers = OriginReader({}, Pseudonyms()), NoteOrigins(), dict[str, int]()
    for row in public(rows):
        note = numbers.setdefault(normal_form(row["transcription"]), len(numbers))
        origins.add(note, reader.read(row)._asdict())
    links = {**origins.links(), **linked_texts(list(numbers), 0.3)}
    return list(numbers), origins, join(len(numbers), links).cluster


def assert_no_future(rows: Sequence[dict[str, Any]], split_of: dict[str, str], test_from: str) -> None:
    """No training note is from the time of the test, and every note of that time is in the test."""
    start = datetime.fromisoformat(test_from)
    assert all(f"{when:%Y-%m-%d}" <= test_from for when in newest(rows, split_of, "train").values())
    future = {text for side in ("train", "validation") for text, when in newest(rows, split_of, side).items()
              if when.date() > start.date()}  # fmt: skip
    assert not future


def test_no_patient_on_two_sides(request: pytest.FixtureRequest) -> None:
    split, hospitals = 0, 1000 if request.config.getoption("--benchmarks") else 200
    for seed in range(hospitals):
        rows = hospital(seed)
        texts, origins, cluster = clustered(rows)
        of_cluster = {int(key): SPLITS[int(key) % 3] for key in cluster}
        assert two_sided(rows, {text: of_cluster[int(key)] for text, key in zip(texts, cluster, strict=True)}) == set()
        try:
            by_time = split_by_time(cluster, origins.newest, 0.1, 0.1)
        except UserError as error:
            assert "cannot be split off by time" in str(error)
            continue
        split_of = dict(zip(texts, by_time.splits, strict=True))
        assert two_sided(rows, split_of) == set()
        dates = newest(rows, split_of, "train")
        held_out = newest(rows, split_of, "test")
        assert max(dates.values()) < max(held_out.values())
        assert_no_future(rows, split_of, by_time.summary["test_from"])
        split += 1
    assert split > 0.9 * hospitals


@pytest.fixture(params=[KEY, ""], ids=["key", "no key"])
def key(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(PATIENT_KEY, request.param)
    return request.param


@pytest.fixture
def source(tmp_path: Path) -> tuple[list[dict[str, Any]], Path]:
    """A hospital of 120 patients, and its export."""
    rows, path = hospital(7, patients=120), tmp_path / "notes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in public(rows)), encoding="utf-8")
    return rows, path


def stored(folder: Path) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("test", ["random", "newest 10%"])
def test_classify(source: tuple[list[dict[str, Any]], Path], key: str, test: str, tmp_path: Path) -> None:
    rows, path = source
    manifest = download_classify.run(path.as_uri(), tmp_path / "in", Notes())
    assert manifest["origin"]["columns"] == {
        "patient": ["subject_id"], "encounter": ["hadm_id"], "date": ["charttime"], "sex": [], "age": []
    }  # fmt: skip
    assert manifest["origin"]["keyed"] == bool(key) and manifest["origin"]["date"] == len(rows)
    again = download_classify.run(path.as_uri(), tmp_path / "again", Notes())
    assert again["digest"] == manifest["digest"]
    result = format_classify.run(tmp_path / "in", tmp_path / "out", Split(test=test))
    split_of = {normal_form(note["text"]): name for name in SPLITS
                for note in read_split(tmp_path / "out", name).to_pylist()}  # fmt: skip
    assert two_sided(rows, split_of) == set() and result["shared_clusters"] == 0
    assert {"same patient", "same encounter"} <= {entry["reason"] for entry in result["joined"]}
    if test == "random":
        assert result["by_time"] is None
    else:
        assert_no_future(rows, split_of, result["by_time"]["test_from"])
        assert 0.1 <= result["by_time"]["test"] < 0.25


@pytest.mark.parametrize("test", ["random", "newest 10%"])
def test_instruct(source: tuple[list[dict[str, Any]], Path], key: str, test: str, tmp_path: Path) -> None:
    rows, path = source
    settings = Examples(test=test, test_share=0.2, validation_share=0.1)
    download_instruct.run([Source(kind="notes", uri=path.as_uri())], tmp_path / "in", settings)
    folder = tmp_path / "in"
    (folder / "texts.parquet").rename(folder / "notes.parquet")
    split = split_by_cluster(folder, settings)
    table = pq.read_table(folder / "notes.parquet")
    texts = [normal_form(text) for text in table["text"].to_pylist()]
    split_of = {text: split.splits[number] for text, number in zip(texts, split.rows["notes"], strict=True)}
    assert two_sided(rows, split_of) == set() and split.shared_clusters() == 0
    assert split.patients == len({row["patient"] for row in rows})
    if split.by_time:
        assert_no_future(rows, split_of, split.by_time["test_from"])
    assert all(len(hashed) == 16 for hashed in table["patient"].to_pylist() if hashed) == bool(key)


def test_triples_and_notes_of_one_patient_stay_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the sources call the patient differently, and one of them writes numbers as text."""
    monkeypatch.setenv(PATIENT_KEY, KEY)
    rows = [row for row in hospital(3, patients=60) if row["subject_id"] not in (None, "", "unknown")]
    half = len(rows) // 2
    notes, triples = tmp_path / "notes.jsonl", tmp_path / "triples.jsonl"
    notes.write_text("".join(json.dumps(row) + "\n" for row in public(rows[:half])))
    triples.write_text("".join(
        json.dumps({"note": row["transcription"], "question": "What?", "answer": "This.", "task": "Summarization",
                    "MRN": f"{row['patient'] + 1}.0"}) + "\n" for row in rows[half:]
    ))  # fmt: skip
    sources = [Source(kind="notes", uri=notes.as_uri()), Source(kind="triples", uri=triples.as_uri())]
    download_instruct.run(sources, tmp_path / "in", Examples())
    (tmp_path / "in/texts.parquet").rename(tmp_path / "in/notes.parquet")
    split = split_by_cluster(tmp_path / "in", Examples(test_share=0.3, validation_share=0.3))
    texts: Iterator[str] = (
        normal_form(text)
        for name, column in (("notes", "text"), ("triples", "note_text"))
        for text in pq.read_table(tmp_path / f"in/{name}.parquet")[column].to_pylist()
    )
    numbers = split.rows["notes"] + split.rows["triples"]
    split_of = {text: split.splits[number] for text, number in zip(texts, numbers, strict=True)}
    assert two_sided(rows, split_of) == set()
    assert len(set(split_of.values())) == 3


def test_files_with_patients_are_cached_only_under_a_key(
    source: tuple[list[dict[str, Any]], Path], key: str, tmp_path: Path
) -> None:
    from clinadapt.storage import open_store

    store = open_store((tmp_path / "store").as_uri())
    sources = [Source(kind="notes", uri=source[1].as_uri())]
    first = download_instruct.run(sources, tmp_path / "a", Examples(), store)
    assert bool(store.list("sources/")) == bool(key)
    assert download_instruct.run(sources, tmp_path / "b", Examples(), store)["digest"] == first["digest"]


def test_identifiers_are_stored_nowhere(tmp_path: Path, key: str) -> None:
    path = tmp_path / "notes.jsonl"
    rows = [{"transcription": f"Note {i}.", "medical_specialty": "ab"[i % 2], "mrn": f"SECRET-{i}",
             "visit_id": f"V{i}X", "note_date": "13/2/2024"} for i in range(4)]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = download_classify.run(path.as_uri(), tmp_path / "a", Notes())
    download_instruct.run([Source(kind="notes", uri=path.as_uri())], tmp_path / "b", Examples())
    for folder in ("a", "b"):
        table = pq.read_table(tmp_path / folder / ("notes.parquet" if folder == "a" else "texts.parquet"))
        assert "secret" not in (str(table.to_pylist()) + stored(tmp_path / folder)).lower()
        assert len(set(table["patient"].to_pylist())) == 4
        assert str(table["date"].to_pylist()[0]) == "2024-02-13 00:00:00"
    assert "SECRET" not in " ".join(describe_origin(manifest["origin"]))


def test_notes_without_a_date_are_in_no_split_by_time() -> None:
    when = {note: datetime(2024, 1, 1 + note) for note in range(20)}
    split = split_by_time(np.arange(25), when, 0.1, 0.1)
    assert split.splits[20:] == [LEFT_OUT] * 5
    assert [split.splits[note] for note in range(20)] == ["train"] * 16 + ["validation"] * 2 + ["test"] * 2
    assert split.summary == {"test_from": "2024-01-19", "validation_from": "2024-01-17", "test": 0.1,
                             "validation": 0.1, "without_date": 5, "older_in_test": 0}  # fmt: skip


def test_a_returning_patient_is_in_the_test_with_all_notes() -> None:
    when = {note: datetime(2024, 1, 1 + note) for note in range(20)}
    cluster = np.array([0, *range(1, 19), 0])
    split = split_by_time(cluster, when, 0.05, 0.05)
    assert (split.splits[0], split.splits[19], split.summary["older_in_test"]) == ("test", "test", 1)


@pytest.mark.parametrize(
    ("when", "cluster", "message"),
    [
        ({}, range(20), "needs the date of the notes"),
        (dict.fromkeys(range(20), datetime(2024, 1, 1)), range(20), "100% of them are of one date"),
        ({note: datetime(2024, 1, 1 + note) for note in range(20)}, [0] * 20, "joined with it"),
    ],
)
def test_a_split_by_time_that_cannot_be_made(when: dict[int, datetime], cluster: Sequence[int], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        split_by_time(np.array(cluster), when, 0.1, 0.1)
    assert "\n" not in str(raised.value)


def test_visits_numbered_for_each_patient_join_nobody() -> None:
    origins = NoteOrigins()
    for note in range(400):
        origins.add(note, {"patient": f"p{note // 20}", "encounter": f"v{note % 20}", "date": None})
    assert origins.numbers_visits()
    assert set(origins.links()) == {"same patient"}
    assert len(set(join(400, origins.links()).cluster.tolist())) == 20


def test_what_joined_the_notes() -> None:
    links = {"same patient": [(1, 0), (2, 1)], "near duplicates": [(2, 0), (4, 3)], "same encounter": []}
    joined = join(6, links)
    assert joined.cluster.tolist() == [0, 0, 0, 1, 1, 2]
    assert joined.reasons == [
        {"reason": "same patient", "pairs": 2, "notes": 3, "alone": 1},
        {"reason": "near duplicates", "pairs": 2, "notes": 4, "alone": 1},
    ]

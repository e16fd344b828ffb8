"""The synthesize step with a stub teacher: order, counts, files and errors."""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
import pytest
from chat_support import read_triples, texts

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.config.instruct import Synthesis
from clinadapt.data.schemas.instruct import TASKS, TEXTS
from clinadapt.data.tables import TableWriter
from clinadapt.errors import UserError
from components.synthesize import instruct
from components.synthesize.instruct import run
from components.synthesize.teacher import Dropped, Text, Triple, TripleBatch


class StubTeacher:
    """A note from each case but every third, and from each note one triple and two dropped ones."""

    concurrency, digest, tokens, closed = 3, "sha256:stub", 0, False
    thoughts, host = 0, ""

    def note(self, case: Text) -> str:
        time.sleep(0.02 * (case.row % 4))  # the later ones are ready first
        if case.row % 3 == 0:
            raise Dropped("no facts")
        return f"NOTE: {case.text}"

    def triples(self, note: Text) -> TripleBatch:
        batch = TripleBatch([Triple(f"Row {note.row}?", "Yes.", TASKS[0], note.row != 1, "exact", ((0, 4),))])
        batch.dropped["twice the same"] += 2
        return batch

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> StubTeacher:
    stub = StubTeacher()
    monkeypatch.setattr(instruct, "create_teacher", lambda settings, cache, allowed_hosts: stub)
    return stub


def test_rows_keep_their_order_and_ready_made_ones_come_first(
    dataset: Callable[..., Path], tmp_path: Path, stub: StubTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TableWriter, "ROWS", 4)
    ready = {
        **{"source": 2, "row": 1, "note_text": "a", "instruction": "b", "answer": "c", "task": "Other"},
        **{"answerable": False, "check": "none", "spans": [], "private": False, "specialty": "Cardiology"},
        **{"patient": "p1", "encounter": None, "date": datetime(2024, 2, 3)},
        **{"sex": "male", "age_band": None},
    }
    pair = {"source": 3, "row": 1, "note_text": "a", "instruction": "b", "chosen": "c", "rejected": "d"}
    pair |= {"patient": "p2", "encounter": "e", "date": None, "sex": None, "age_band": None}
    group = {"specialty": "Surgery", "sex": "female", "age_band": "40 to 64 years"}
    rows_of_patients = [text | {"patient": f"p{text['row']}"} | group for text in texts(20, notes=5)]
    manifest = run(dataset(rows_of_patients, [ready] * 6, [pair]), tmp_path / "out", Synthesis(), None)
    triples = read_triples(tmp_path / "out")
    assert [triple["patient"] for triple in triples[6:]] == [f"p{triple['row']}" for triple in triples[6:]]
    assert triples[:6] == [ready] * 6
    rows = [row for row in range(1, 26) if row > 20 or row % 3]
    assert [triple["row"] for triple in triples[6:]] == rows
    assert triples[6]["spans"] == [{"start": 0, "end": 4}] and not triples[6]["answerable"]
    notes = pq.read_table(tmp_path / "out/notes.parquet", schema=TEXTS).to_pylist()
    assert [(note["row"], note["kind"], note["private"]) for note in notes] == [
        (row, "notes", row > 20) for row in rows
    ]
    assert [triple["note_text"] for triple in triples[6:]] == [note["text"] for note in notes]
    for name, value in group.items():
        assert {triple[name] for triple in triples[6:]} == {note[name] for note in notes} == {value}
    assert pq.read_table(tmp_path / "out/preferences.parquet").to_pylist() == [pair]

    counts = {key: manifest[key] for key in ("cases", "notes", "notes_from_cases", "triples", "triples_ready")}
    assert counts == {"cases": 20, "notes": 19, "notes_from_cases": 14, "triples": 25, "triples_ready": 6}
    assert manifest["triples_by_task"] == {TASKS[0]: 19, "Other": 6}
    assert manifest["not_answerable_by_task"] == {TASKS[0]: 1, "Other": 6}
    assert manifest["dropped"] == {"twice the same": 38, "no facts": 6} and not manifest["budget_exhausted"]
    assert manifest["source"] == ["builtin://cases"] and manifest["quarantined"] == {"empty": 2}
    assert manifest["dataset_digest"] == read_json(tmp_path / "dataset" / MANIFEST)["digest"]
    with (tmp_path / "out/dropped.csv").open(newline="") as file:
        dropped = list(csv.DictReader(file))
    assert dropped[0] == {"source": "0", "row": "1", "reason": "twice the same", "count": "2"}
    assert [row["row"] for row in dropped if row["reason"] == "no facts"] == ["3", "6", "9", "12", "15", "18"]


def test_an_error_leaves_no_files_and_closes_the_teacher(
    dataset: Callable[..., Path], tmp_path: Path, stub: StubTeacher
) -> None:
    def fails(note: Text) -> TripleBatch:
        raise UserError("fix it")

    stub.triples = fails  # type: ignore[method-assign]
    with pytest.raises(UserError, match="fix it"):
        run(dataset(texts(50)), tmp_path / "out", Synthesis(), None)
    assert list((tmp_path / "out").iterdir()) == [] and stub.closed


def test_a_note_that_no_instruction_fits_is_not_dropped(
    dataset: Callable[..., Path], tmp_path: Path, stub: StubTeacher
) -> None:
    two = stub.triples
    stub.triples = lambda note: TripleBatch() if note.row == 2 else two(note)  # type: ignore[method-assign]
    manifest = run(dataset(texts(0, notes=3)), tmp_path / "out", Synthesis(), None)
    assert (manifest["notes"], manifest["notes_without_triples"]) == (3, 1)
    assert manifest["dropped"] == {"twice the same": 4}


def test_an_empty_result_names_the_reason(dataset: Callable[..., Path], tmp_path: Path, stub: StubTeacher) -> None:
    stub.triples = lambda note: TripleBatch(dropped=Counter({"no section": 3}))  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"no section, 6 times"):
        run(dataset(texts(0, notes=2)), tmp_path / "out", Synthesis(), None)
    assert list((tmp_path / "out").iterdir()) == []


class NamingTeacher(StubTeacher):
    """Writes a name and a number that its notes do not have."""

    def triples(self, note: Text) -> TripleBatch:
        return TripleBatch([Triple("Who is Dr. Velnadal?", "MRN: E99431010 of Dr. Martell.", TASKS[0], True, "none")])


@pytest.mark.parametrize(
    ("policy", "teacher", "answer"),
    [
        ("surrogate", "llm", "MRN: [MRN] of Dr. Martell."),
        ("off", "llm", "MRN: E99431010 of Dr. Martell."),
        ("surrogate", "rules", "MRN: E99431010 of Dr. Martell."),
    ],
)
def test_what_an_llm_invents_is_screened_as_the_notes_were(
    dataset: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    teacher: Literal["llm", "rules"],
    answer: str,
) -> None:
    monkeypatch.setattr(instruct, "create_teacher", lambda settings, cache, allowed_hosts: NamingTeacher())
    note = texts(0, notes=1)[0] | {"text": "Seen by Dr. Martell."}
    folder = dataset([note])
    write_json(folder / MANIFEST, read_json(folder / MANIFEST) | {"phi": {"policy": policy}})
    run(folder, tmp_path / "out", Synthesis(teacher=teacher), None)
    assert [triple["answer"] for triple in read_triples(tmp_path / "out")] == [answer]

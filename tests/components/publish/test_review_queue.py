"""What publish stores of the answers that evaluate drew: their notes without what identifies somebody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import make_instruct_splits

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.config.base import Review
from clinadapt.data.schemas.instruct import EXAMPLES
from clinadapt.errors import UserError
from clinadapt.feedback.cases import Case, case_id
from clinadapt.feedback.settled import read_reviews
from clinadapt.storage.folder_store import FolderStore
from components.evaluate.review_cases import Candidate, write_cases
from components.publish.review_queue import queue_answers

NAME, VERSION = "assistant", "0123456789abcdef"


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """With a note that names somebody, in a private source, after those without."""
    folder = make_instruct_splits(tmp_path / "splits")
    rows = pq.read_table(folder / "test.parquet", schema=EXAMPLES).to_pylist()
    named = rows[-1] | {"note_text": "Mr. Velnadal, MRN: E99431010, takes 40 mg.", "instruction": "Does he cough?"}
    pq.write_table(pa.Table.from_pylist([*rows, named], schema=EXAMPLES), folder / "test.parquet")
    return folder


def queued(splits: Path, folder: Path, answer: str, phi: dict[str, Any], **settings: Any) -> list[Case]:
    """The cases of a version that gives one answer to everything."""
    rows = pq.read_table(splits / "test.parquet", schema=EXAMPLES).to_pylist()
    write_json(splits / "manifest.json", read_json(splits / "manifest.json") | {"phi": phi})
    (folder / "adapter").mkdir(exist_ok=True)
    write_json(folder / "adapter/clinadapt.json", {"recipe": "instruct"})
    answers = [
        Candidate(i, row["note_id"], row["instruction"], answer, row["private"], {"not found": 1} if i < 2 else {})
        for i, row in enumerate(rows)
    ]
    counts = write_cases(folder / "evaluation", "instruct", answers, Review(**settings), 0)
    write_json(folder / "evaluation/evaluation.json", {"review": counts})
    queue_answers(splits, folder / "adapter", folder / "evaluation", FolderStore(folder.as_uri()), NAME, VERSION, 3)
    return [each.case for each in read_reviews(FolderStore(folder.as_uri()), NAME, VERSION).cases]


def test_the_queue_is_that_of_evaluate(splits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = queued(splits, tmp_path, "aspirin", {})
    reviews = read_reviews(FolderStore(tmp_path.as_uri()), NAME, VERSION)
    queue = reviews.queue
    assert queue and (queue.reviewers, queue.population, queue.riskiest, queue.withheld) == (3, 12, 2, 5)
    assert not reviews.left_out and len(cases) == 12 and [case.place for case in cases] == list(range(1, 13))
    assert [case.drawn for case in cases] == ["risk"] * 2 + ["random"] * 10
    first = cases[0]
    assert (first.note_id, first.instruction, first.answer, first.cluster) == (
        "note-1",
        "List the drugs.",
        "aspirin",
        1,
    )
    assert first.case == case_id("instruct", "note-1", "List the drugs.") and first.reasons[0].kind == "not found"
    assert first.note.startswith("CHIEF COMPLAINT: Chest pain for 2 days.")
    assert not any("secretword" in case.note for case in cases)
    log = capsys.readouterr().err
    assert "12 of 12 held-out answers wait to be judged" in log and "5 answers about private notes do not" in log
    assert "aspirin" not in log


@pytest.mark.parametrize(
    "phi, note",
    [
        ({"policy": "report", "rows": 17}, "Mr. [NAME], MRN: [MRN], takes 40 mg."),
        ({"policy": "redact", "rows": 17, "types": {"NAME": "report"}}, "Mr. [NAME], MRN: [MRN], takes 40 mg."),
        ({"policy": "surrogate", "rows": 17}, "Mr. Velnadal, MRN: E99431010, takes 40 mg."),
    ],
)
def test_a_private_note_is_stored_without_who_it_is_about(
    splits: Path, tmp_path: Path, phi: dict[str, Any], note: str
) -> None:
    """What stands in a note that was screened is what screening put there."""
    cases = queued(splits, tmp_path, "Velnadal takes 40 mg, says Dr. Okonjo.", phi, private_notes=True)
    assert len(cases) == 17
    (named,) = [case for case in cases if case.instruction == "Does he cough?"]
    assert named.note == note
    name = "Velnadal" if phi["policy"] == "surrogate" else "[NAME]"
    assert named.answer == f"{name} takes 40 mg, says Dr. [NAME]."
    assert not any(case.as_written for case in cases), "no note names the doctor"
    (other := tmp_path / "other").mkdir()
    assert all(case.as_written for case in queued(splits, other, "Takes 40 mg.", phi))


def test_where_nothing_is_drawn_the_queue_says_how_many_reviewers_agree(splits: Path, tmp_path: Path) -> None:
    assert queued(splits, tmp_path, "aspirin", {}, riskiest=0, random=0) == []
    queue = read_reviews(FolderStore(tmp_path.as_uri()), NAME, VERSION).queue
    assert queue and (queue.reviewers, queue.population, queue.cases) == (3, 12, {})


def test_a_queue_is_written_once(splits: Path, tmp_path: Path) -> None:
    first = queued(splits, tmp_path, "aspirin", {})
    assert queued(splits, tmp_path, "warfarin", {}) == first


def test_a_queue_that_the_store_refuses_is_completed_by_the_next_try(
    splits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, writes = FolderStore.put, iter(range(100))

    def failing(self: FolderStore, key: str, data: bytes, **conditions: Any) -> str:
        if next(writes) == 5:
            raise UserError("cannot write: no space left")
        return put(self, key, data, **conditions)

    monkeypatch.setattr(FolderStore, "put", failing)
    with pytest.raises(UserError, match="no space left"):
        queued(splits, tmp_path, "aspirin", {})
    assert read_reviews(FolderStore(tmp_path.as_uri()), NAME, VERSION).cases == []
    assert len(queued(splits, tmp_path, "aspirin", {})) == 12

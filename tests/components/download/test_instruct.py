"""Sources of every layout become three tables; invalid rows are quarantined."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from s3_support import a_store, bucket
from support import ROOT

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, list_files
from clinadapt.config.instruct import Examples, Kind, Source
from clinadapt.data.schemas.instruct import PREFERENCES, TASKS, TEXTS, TRIPLES
from clinadapt.errors import UserError
from clinadapt.storage import open_store
from components.download import source_cache
from components.download.instruct import run

MTS_DIALOG = ROOT.parent / "shared/data/mts_dialog/MTS-Dialog-ValidationSet.csv"
SECRET = "Mr Zyx has xylophobia"
Write = Callable[..., Source]


@pytest.fixture
def source(tmp_path: Path) -> Write:
    """Write rows as JSON lines and return them as a source."""

    def write(kind: Kind, rows: list[dict[str, Any]], **fields: Any) -> Source:
        path = tmp_path / f"{kind}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return Source(kind=kind, uri=path.as_uri(), **fields)

    return write


def read(folder: Path, name: str, schema: Any) -> list[dict[str, Any]]:
    return pq.read_table(folder / f"{name}.parquet", schema=schema).to_pylist()


def triple(**fields: Any) -> dict[str, Any]:
    return {"note": "Knee pain.", "question": "What hurts?", "answer": "The knee.", "task": "Summarization", **fields}


def chat(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def test_every_kind_has_its_table(source: Write, tmp_path: Path) -> None:
    sources = [
        Source(kind="cases", uri="builtin://cases?rows=20"),
        source("notes", [{"transcription": "A note.", "description": "Short."}], private=True),
        source("triples", [triple(task="question ANSWERING")]),
        source("chat", [chat(("system", "Be kind."), ("user", "### Note\nx"), ("assistant", "y"))], task="Chat"),
        source("alpaca", [{"instruction": "Say a.", "input": "", "output": "a"}, {"instruction": "b", "output": "c"}]),
        source(
            "pairs", [{"dialogue": "d", "section_text": "s", "h": "PLAN"}], instruction="Write {h}.", task="Section"
        ),
        source("preferences", [{"note": "n", "question": "q", "chosen": "good", "rejected": "bad"}]),
    ]
    manifest = run(sources, tmp_path / "out", Examples())
    texts = read(tmp_path / "out", "texts", TEXTS)
    assert {row["kind"] for row in texts if row["source"] == 0} == {"cases"}
    assert texts[-1] == {"source": 1, "row": 1, "kind": "notes", "text": "A note.", "description": "Short.",
                         "private": True, "specialty": None, "patient": None, "encounter": None,
                         "date": None, "sex": None, "age_band": None}  # fmt: skip
    rows = read(tmp_path / "out", "triples", TRIPLES)
    assert [(row["source"], row["note_text"], row["instruction"], row["answer"], row["task"]) for row in rows] == [
        (2, "Knee pain.", "What hurts?", "The knee.", "Question Answering"),
        (3, "", "Be kind.\n\n### Note\nx", "y", "Chat"),
        (4, "", "Say a.", "a", "Other"),
        (4, "", "b", "c", "Other"),
        (5, "d", "Write PLAN.", "s", "Section"),
    ]
    assert all(row["answerable"] and row["check"] == "none" and row["spans"] == [] for row in rows)
    assert [row["chosen"] for row in read(tmp_path / "out", "preferences", PREFERENCES)] == ["good"]
    assert read_json(tmp_path / "out" / MANIFEST) == manifest
    assert [given["kind"] for given in manifest["source"]] == [given.kind for given in sources]
    assert manifest["rows_kept"] + manifest["repeated"] == manifest["rows_read"] == 27
    assert sum(manifest["rows"].values()) == manifest["rows_kept"]


def test_triples_need_no_task(source: Write, tmp_path: Path) -> None:
    row = triple()
    del row["task"]
    run([source("triples", [row, triple()])], tmp_path / "out", Examples())
    assert [row["task"] for row in read(tmp_path / "out", "triples", TRIPLES)] == ["Other", "Summarization"]


def test_a_column_that_no_row_has_is_refused(source: Write, tmp_path: Path) -> None:
    rows = [{"transcription": "One.", "summary": "Short."}]
    named = source("notes", rows, columns={"description": "sumary"})
    with pytest.raises(UserError, match=r"no column 'sumary'.*the columns are transcription, summary"):
        run([named], tmp_path / "out", Examples())


def test_an_answer_that_is_a_refusal_makes_its_question_unanswerable(source: Write, tmp_path: Path) -> None:
    rows = [triple(), triple(answer="The note does not mention a drug."), triple(answer="She denies chest pain.")]
    run([source("triples", rows)], tmp_path / "out", Examples())
    assert [row["answerable"] for row in read(tmp_path / "out", "triples", TRIPLES)] == [True, False, True]


def test_the_same_note_is_kept_once(source: Write, tmp_path: Path) -> None:
    rows = [{"transcription": text} for text in ("One.", "Two.", "One. ", "One.")]
    manifest = run([source("notes", rows), source("cases", rows[:1])], tmp_path / "out", Examples())
    kept = [(row["kind"], row["row"]) for row in read(tmp_path / "out", "texts", TEXTS)]
    assert kept == [("notes", 1), ("notes", 2), ("cases", 1)]
    assert (manifest["repeated"], manifest["sources"][0]["repeated"]) == (2, 2)


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        ("triples", triple(answer=""), "empty answer"),
        ("triples", triple(answer="\x00\ufeff \n"), "empty answer"),
        ("triples", triple(question=None), "empty instruction"),
        ("triples", triple(note=" "), "empty note"),
        ("triples", triple(task="Poetry"), f"unknown task: use {', '.join(TASKS[:-1])} or {TASKS[-1]}"),
        ("chat", {"messages": [{"role": "user", "content": "a"},
                               {"role": "assistant", "content": "b", "reasoning_content": SECRET}]},
         "a message has reasoning_content, which this layout does not carry over"),
        ("triples", triple(note="x" * 1_000_000), "note longer than 200,000 characters"),
        ("triples", triple(note=17), "note is not a string"),
        ("triples", {"note": SECRET}, "no column 'question'"),
        ("chat", chat(("user", "a"), ("assistant", "b")) | {"system": SECRET},
         "a row has system, which this layout does not carry over"),
        ("alpaca", {"instruction": "a", "output": "b", "history": [[SECRET, SECRET]]},
         "a row has history, which this layout does not carry over"),
        ("chat", chat(("user", SECRET)), "not user messages followed by one assistant message"),
        ("chat", chat(("assistant", "a")), "not user messages followed by one assistant message"),
        ("chat", chat(("user", "a"), ("doctor", "b")), "not user messages followed by one assistant message"),
        ("chat", chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")),
         "not user messages followed by one assistant message"),
        ("chat", chat(("user", "a"), ("assistant", "")), "empty answer"),
        ("chat", {"messages": []}, "not user messages followed by one assistant message"),
        ("chat", {"messages": SECRET}, "messages is not a list of role and content"),
        ("alpaca", {"instruction": "", "input": "a", "output": "b"}, "empty instruction"),
        ("notes", {"transcription": None}, "empty text"),
        ("preferences", {"question": "q", "chosen": "same ", "rejected": "same"}, "two equal answers"),
        ("preferences", {"question": "q", "chosen": "", "rejected": "b"}, "empty chosen"),
    ],
)  # fmt: skip
def test_an_invalid_row_is_quarantined(
    source: Write, tmp_path: Path, kind: Kind, row: dict[str, Any], reason: str
) -> None:
    good = {
        "triples": triple(),
        "chat": chat(("user", "a"), ("assistant", "b")),
        "alpaca": {"instruction": "a", "output": "b"},
        "notes": {"transcription": "a"},
        "preferences": {"question": "q", "chosen": "a", "rejected": "b"},
    }[kind]
    manifest = run([source(kind, [good, row])], tmp_path / "out", Examples())
    assert (manifest["rows_kept"], manifest["quarantined"]) == (1, {reason: 1})
    with (tmp_path / "out/quarantine.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["source", "row", "reason"], ["0", "2", reason]]
    for name in ("quarantine.csv", MANIFEST):
        assert "Zyx" not in (tmp_path / "out" / name).read_text()


def test_chats_of_sharegpt_and_messages_in_parts(source: Write, tmp_path: Path) -> None:
    sharegpt = {"conversations": [{"from": "system", "value": "note"}, {"from": "human", "value": "a"},
                                  {"from": "gpt", "value": "b"}]}  # fmt: skip
    parts = [{"type": "text", "text": "note"}, {"type": "text", "text": "a"}]
    image = [*parts, {"type": "image_url", "image_url": {"url": SECRET}}]
    for number, (rows, columns) in enumerate([
        ([sharegpt], {"messages": "conversations"}),
        ([chat(("user", parts), ("assistant", parts[1:])), chat(("user", image), ("assistant", "b"))], {}),
    ]):  # fmt: skip
        out = tmp_path / f"{number}"
        manifest = run([source("chat", rows, columns=columns)], out, Examples())
        read = pq.read_table(out / "triples.parquet").select(["instruction", "answer"]).to_pylist()
        assert not manifest["unused"]
        assert manifest["quarantined"] == ({"a message has a part that is no text": 1} if number else {})
        assert read == ([{"instruction": "note\na", "answer": "a"}] if number else
                        [{"instruction": "note\n\na", "answer": "b"}])  # fmt: skip


def test_what_a_layout_does_not_carry_over_is_counted(source: Write, tmp_path: Path) -> None:
    """Columns, and the fields of a chat's messages."""
    message = {"role": "user", "content": "a", "date": "2024", "Zyx": 1, "row": None}
    talk = {"messages": [message, {"role": "assistant", "content": "b", "date": "2025"}], "source": "ward"}
    sources = [
        source("chat", [talk, {**talk, "messages": []}]),
        source("pairs", [{"dialogue": "d", "section_text": "s", "h": "PLAN", "row_id": 1}], instruction="Write {h}."),
        source("notes", [{"transcription": "x", "keywords": "y"}, {"transcription": "x", "keywords": "y"}]),
    ]
    manifest = run(sources, tmp_path / "out", Examples())
    by_source = [entry["unused"] for entry in manifest["sources"]]
    assert by_source == [
        {"messages.date": 2, "columns with other names": 1, "source": 1}, {"row_id": 1}, {"keywords": 2}
    ]  # fmt: skip
    assert manifest["unused"]["messages.date"] == 2 and manifest["rows_kept"] == 3


@pytest.mark.parametrize(("decimal", "comma"), [("auto", True), ("comma", True), ("point", False)])
def test_how_a_source_writes_its_numbers(source: Write, tmp_path: Path, decimal: str, comma: bool) -> None:
    german = source("notes", [{"transcription": "Digoxin 0,125 mg, Paracetamol 1.000 mg"}], decimal=decimal)
    english = source("triples", [triple(answer="Digoxin 0.125 mg")])
    manifest = run([english, german], tmp_path / "out", Examples())
    assert manifest["decimal_comma"] == ([1] if comma else [])
    assert manifest["sources"][1]["decimals"] == {"comma": 1, "point": 0}


def test_numbers_written_in_both_ways_need_the_setting(source: Write, tmp_path: Path) -> None:
    rows = [{"transcription": f"{n},5 mg and {n}.5 mL"} for n in range(9)]
    with pytest.raises(UserError, match=r"9 numbers with a decimal comma and 9 with a decimal point: say which it is"):
        run([source("notes", rows)], tmp_path / "out", Examples())
    assert run([source("notes", rows, decimal="comma")], tmp_path / "out", Examples())["decimal_comma"] == [0]


def test_a_pair_without_the_column_of_its_instruction(source: Write, tmp_path: Path) -> None:
    rows = [{"dialogue": "d", "section_text": "s", "h": "PLAN"}, {"dialogue": "d", "section_text": "s"}]
    manifest = run([source("pairs", rows, instruction="Write {h}.")], tmp_path / "out", Examples())
    assert manifest["quarantined"] == {"no column 'h'": 1}


def test_control_characters_go_and_right_to_left_text_stays(source: Write, tmp_path: Path) -> None:
    run([source("triples", [triple(note="ألم\x07 في الركبة\x00", answer="הברך")])], tmp_path / "out", Examples())
    (row,) = read(tmp_path / "out", "triples", TRIPLES)
    assert (row["note_text"], row["answer"]) == ("ألم في الركبة", "הברך")


def test_the_specialty_of_a_note_is_carried_over(source: Write, tmp_path: Path) -> None:
    about = {"medical_specialty": " Cardiovascular /\n Pulmonary ", "ward": "x" * 61}
    sources = [
        source("notes", [{"transcription": "One."} | about, {"transcription": "Two.", "medical_specialty": 7}]),
        source("triples", [triple(**about)], columns={"specialty": "ward"}),
        source("pairs", [{"dialogue": "d", "section_text": "s"} | about], instruction="x", columns={"specialty": ""}),
    ]
    run(sources, tmp_path / "out", Examples())
    assert [row["specialty"] for row in read(tmp_path / "out", "texts", TEXTS)] == ["Cardiovascular / Pulmonary", None]
    assert [row["specialty"] for row in read(tmp_path / "out", "triples", TRIPLES)] == [None, None]
    sources[0] = source("notes", [{"transcription": "One."} | about], columns={"specialty": "department"})
    with pytest.raises(UserError, match="notes.jsonl has no column 'department': choose another one"):
        run(sources, tmp_path / "other", Examples())


def test_sex_and_band_of_age_are_carried_over_and_the_age_is_not(source: Write, tmp_path: Path) -> None:
    """Of every kind of source that is about a note; a source without these columns has none."""
    about = {"gender": "F", "age": 93.25}
    sources = [
        source(
            "notes", [{"transcription": "One."} | about, {"transcription": "Two.", "gender": SECRET, "age": SECRET}]
        ),
        source("cases", [{"transcription": "Three.", "description": "x"} | about]),
        source("triples", [triple(**about)], columns={"sex": "", "age": ""}),
        source("chat", [chat(("user", "x"), ("assistant", "y")) | about]),
        source(
            "alpaca", [{"instruction": "a", "output": "b", "w": "male", "a": "6 mo"}], columns={"sex": "w", "age": "a"}
        ),
        source("pairs", [{"dialogue": "d", "section_text": "s"}], instruction="x"),
    ]
    manifest = run(sources, tmp_path / "out", Examples())
    rows = [*read(tmp_path / "out", "texts", TEXTS), *read(tmp_path / "out", "triples", TRIPLES)]
    woman, unknown = ("female", "80 years and more"), (None, None)
    assert [(row["sex"], row["age_band"]) for row in rows] == [
        woman, unknown, woman, unknown, woman, ("male", "under 18 years"), unknown,
    ]  # fmt: skip
    assert (manifest["origin"]["unreadable sexes"], manifest["origin"]["unreadable ages"]) == (1, 1)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"93.25" not in stored and SECRET.encode() not in stored
    with pytest.raises(UserError, match="notes.jsonl has no column 'sex at birth': choose another one"):
        run([source("notes", [{"transcription": "a"}], columns={"sex": "sex at birth"})], tmp_path / "x", Examples())


def test_a_source_without_a_valid_row_leaves_nothing(source: Write, tmp_path: Path) -> None:
    sources = [source("notes", [{"transcription": "a"}]), source("triples", [{"context": SECRET}] * 3)]
    with pytest.raises(UserError, match=r"none of the 3 rows of .*triples.jsonl can be used as triples .*context") as e:
        run(sources, tmp_path / "out", Examples())
    assert "Zyx" not in str(e.value) and "\n" not in str(e.value)
    assert not (tmp_path / "out").exists()


def test_a_source_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none.csv not found"):
        run([Source(kind="notes", uri=(tmp_path / "none.csv").as_uri())], tmp_path / "out", Examples())
    assert not (tmp_path / "out").exists()


@pytest.fixture(params=["folder", "moto"])
def days(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int, list[dict[str, Any]]], str]:
    """Write the notes of a day as a file, into a folder or a bucket; return the folder's URI."""
    store = a_store(request.param, request)

    def write(day: int, rows: list[dict[str, Any]]) -> str:
        store.put(f"notes/day-{day}.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
        return f"{store.uri}/notes/"

    return write


def notes_of(day: int, count: int = 3) -> list[dict[str, Any]]:
    return [{"transcription": f"Note {number} of day {day}."} for number in range(count)]


def test_a_folder_that_grew_is_read_where_it_grew(
    days: Callable[[int, list[dict[str, Any]]], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a quarantined row and a note repeated across files, it is the same dataset as without a cache."""
    read_files: list[str] = []
    rows = source_cache.source_rows

    def counted(uri: str) -> Any:
        read_files.append(uri.rpartition("/")[2])
        return rows(uri)

    monkeypatch.setattr(source_cache, "source_rows", counted)
    store = open_store((tmp_path / "cache").as_uri())
    days(1, [*notes_of(1), {"transcription": "", "\ud800": 1}])
    source = Source(kind="notes", uri=days(2, notes_of(2)))
    first = run([source], tmp_path / "first", Examples(), store)
    days(3, [*notes_of(3), *notes_of(1), {"transcription": 7}])
    grown = run([source], tmp_path / "grown", Examples(), store)
    assert read_files == ["day-1.jsonl", "day-2.jsonl", "day-3.jsonl"]
    assert (first["rows_read"], grown["rows_read"], grown["repeated"]) == (7, 14, 3)
    fresh = run([source], tmp_path / "fresh", Examples())
    assert fresh == grown and list_files(tmp_path / "fresh") == list_files(tmp_path / "grown")
    texts = read(tmp_path / "grown", "texts", TEXTS)
    assert [row["row"] for row in texts] == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert texts[-1]["text"] == "Note 2 of day 3."
    with (tmp_path / "grown/quarantine.csv").open(newline="") as file:
        assert list(csv.reader(file))[1:] == [["0", "4", "empty text"], ["0", "14", "text is not a string"]]


def test_the_cache_of_a_source_depends_on_how_it_is_read(source: Write, tmp_path: Path) -> None:
    store = open_store((tmp_path / "cache").as_uri())

    def cached(source: Source, **settings: Any) -> int:
        run([source], tmp_path / "out", Examples(**settings), store)
        return len({key.split("/")[1] for key in store.list("sources/")})

    notes = source("notes", notes_of(1))
    assert [cached(notes), cached(notes)] == [1, 1]
    assert cached(notes.model_copy(update={"private": False})) == 2
    assert cached(notes, max_note_characters=100) == 3
    assert cached(source("notes", notes_of(1, count=4))) == 4


@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_a_damaged_cache_is_read_again(source: Write, tmp_path: Path, how: str) -> None:
    store, notes = open_store((tmp_path / "cache").as_uri()), source("notes", notes_of(1))
    wanted = run([notes], tmp_path / "out", Examples(), store)
    (path,) = (tmp_path / "cache").rglob("rows.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + b"?" + whole[-8:])
    if how == "gone":
        path.unlink()
    assert run([notes], tmp_path / "again", Examples(), store) == wanted
    assert path.read_bytes() == whole


def test_names_of_files(tmp_path: Path, s3_environment: None) -> None:
    """Files that S3 consoles and Spark leave in a folder are skipped; special characters and encodings are fine."""
    bucket_of = open_store(f"s3://{bucket()}")
    for key in ("", "notes #1.jsonl", "_SUCCESS", ".crc"):
        bucket_of.put(f"notes/{key}", json.dumps(notes_of(1)[0]).encode() if key.startswith("notes") else b"")
    manifest = run([Source(kind="notes", uri=f"{bucket_of.uri}/notes/")], tmp_path / "out", Examples())
    assert manifest["rows_read"] == 1
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / os.fsdecode(b"n\xe9 #2?.jsonl")).write_text(json.dumps(notes_of(2)[0]))
    assert run([Source(kind="notes", uri=folder.as_uri())], tmp_path / "other", Examples())["rows_read"] == 1


def test_a_folder_without_files(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/.hidden.csv").write_text("transcription\na\n")
    with pytest.raises(UserError, match="contains no data file"):
        run([Source(kind="notes", uri=(tmp_path / "notes").as_uri())], tmp_path / "out", Examples())
    assert not (tmp_path / "out").exists()


def test_mts_dialog(tmp_path: Path) -> None:
    if not MTS_DIALOG.is_file():
        pytest.skip("MTS-Dialog is not beside the repository")
    pairs = Source(kind="pairs", uri=MTS_DIALOG.as_uri(), instruction="Write the section {section_header}.")
    manifest = run([pairs], tmp_path / "out", Examples())
    assert (manifest["rows_read"], manifest["rows_kept"], manifest["quarantined"]) == (100, 100, {})
    rows = read(tmp_path / "out", "triples", TRIPLES)
    assert {row["instruction"] for row in rows} >= {"Write the section GENHX.", "Write the section ALLERGY."}


def test_the_tasks_are_those_of_asclepius(source: Write, tmp_path: Path) -> None:
    rows = [triple(task=task.upper(), question=task) for task in TASKS]
    run([source("triples", rows)], tmp_path / "out", Examples())
    assert tuple(row["task"] for row in read(tmp_path / "out", "triples", TRIPLES)) == TASKS

"""A source of any scheme becomes one validated table; invalid rows are quarantined."""

from __future__ import annotations

import csv
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clinadapt.artifacts.hashing import read_json, sha256_json
from clinadapt.artifacts.manifest import MANIFEST, list_files
from clinadapt.config.classify import Notes
from clinadapt.data.schemas.classify import NOTES
from clinadapt.data.sources import redacted_uri, skipped_files, source_digest, source_files
from clinadapt.data.text import clean
from clinadapt.errors import UserError
from components.download.classify import run

SECRET = "Mr Zyx has xylophobia"  # text of a note: must not appear in messages, manifests or the quarantine


@pytest.fixture
def table(tmp_path: Path) -> Callable[[list[dict[str, Any]]], str]:
    """Write rows as JSON lines and return their URI."""

    def write(rows: list[dict[str, Any]]) -> str:
        path = tmp_path / "notes.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path.as_uri()

    return write


def note(text: Any = "a note", label: Any = "a") -> dict[str, Any]:
    return {"transcription": text, "medical_specialty": label}


def test_the_layout_of_mtsamples(notes_csv: Callable[..., Path], tmp_path: Path) -> None:
    source = notes_csv(rows=240)
    manifest = run(source.as_uri(), tmp_path / "out", Notes())
    kept = pq.read_table(tmp_path / "out/notes.parquet", schema=NOTES).to_pylist()
    with source.open(newline="", encoding="utf-8") as file:
        given = list(csv.DictReader(file))
    assert [(row["row"], row["text"], row["label"]) for row in kept] == [
        (number, clean(row["transcription"]), row["medical_specialty"]) for number, row in enumerate(given, start=1)
    ]
    assert (manifest["rows_read"], manifest["rows_kept"], manifest["quarantined"]) == (240, 240, {})
    assert manifest["labels"] == sorted({row["medical_specialty"] for row in given})
    assert read_json(tmp_path / "out" / MANIFEST) == manifest
    assert manifest["files"] == list_files(tmp_path / "out")
    assert manifest["digest"] == sha256_json(manifest["files"])


def test_what_is_not_used_is_counted(table: Callable[..., str], tmp_path: Path) -> None:
    """Values of valid rows; names that may be data are not shown."""
    more = {"keywords": "knee", "summary": " ", "Zyx, Anna": 3}
    manifest = run(table([note("one"), note("two", "b") | more, note("") | more]), tmp_path / "out", Notes())
    assert manifest["unused"] == {"columns with other names": 1, "keywords": 1}
    assert "Zyx" not in (tmp_path / "out" / MANIFEST).read_text()


def test_sex_and_band_of_age_of_a_note(table: Callable[..., str], tmp_path: Path) -> None:
    rows = [note(label="a") | {"Sex": "F", "Age": "93 y"}, note(label="b") | {"Sex": "no", "Age": ""}, note(label="b")]
    manifest = run(table(rows), tmp_path / "out", Notes())
    notes = pq.read_table(tmp_path / "out/notes.parquet", schema=NOTES).to_pylist()
    told = [(row["sex"], row["age_band"]) for row in notes]
    assert told == [("female", "80 years and more"), (None, None), (None, None)]
    assert (manifest["origin"]["unreadable sexes"], manifest["origin"]["unreadable ages"]) == (1, 0)
    run(table(rows), tmp_path / "none", Notes(columns={"sex": "", "age": ""}))
    assert {row["sex"] for row in pq.read_table(tmp_path / "none/notes.parquet").to_pylist()} == {None}


def test_the_same_source_gives_the_same_digest(notes_csv: Callable[..., Path], tmp_path: Path) -> None:
    digests = [
        run(source, tmp_path / str(number), Notes())["digest"]
        for number, source in enumerate(
            [notes_csv(seed=7).as_uri(), notes_csv(seed=7).as_uri(), notes_csv(seed=8).as_uri()]
        )
    ]
    assert digests[0] == digests[1] != digests[2]


def test_invalid_rows_are_quarantined(table: Callable[..., str], tmp_path: Path) -> None:
    rows = [
        note(SECRET),
        note("  \n "),
        note(None),
        note(17),
        note(SECRET, ""),
        note(SECRET, None),
        {"medical_specialty": "a"},
        {"transcription": SECRET},
        note(SECRET * 100),
        note("another", " b "),
    ]
    manifest = run(table(rows), tmp_path / "out", Notes(max_note_characters=1000))
    kept = pq.read_table(tmp_path / "out/notes.parquet").to_pylist()
    assert [(row["row"], row["label"]) for row in kept] == [(1, "a"), (10, "b")]
    assert manifest["quarantined"] == {
        "empty text": 2,
        "empty label": 2,
        "text is not a string": 1,
        "no column 'transcription'": 1,
        "no column 'medical_specialty'": 1,
        "text longer than 1,000 characters": 1,
    }
    with (tmp_path / "out/quarantine.csv").open(newline="") as file:
        listed = list(csv.reader(file))
    assert listed[0] == ["row", "reason"]
    assert [int(number) for number, _ in listed[1:]] == [2, 3, 4, 5, 6, 7, 8, 9]
    for name in ("quarantine.csv", MANIFEST):
        assert "Zyx" not in (tmp_path / "out" / name).read_text()


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("  a \t b  ", "a b"),
        ("a \n b", "a\nb"),
        ("a\n\n\n\n\nb", "a\n\nb"),
        ("a\n \n\t\n \nb", "a\n\nb"),
        ("A\u030angstro\u0308m", "Ångström"),
        ("a\x00b\x07c\ufeffd", "a b cd"),
        ("37\u00a0°C", "37 °C"),
        ("\x00\ufeff \n", ""),
        ("Vel\u00adna\u200bdal\u202e, Oko\u2060n\u2066jo\u2069", "Velnadal, Okonjo"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("1.  PAIN:\n- knee", "1. PAIN:\n- knee"),
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("Surgery", "Surgery"),
        (" Sur\u200bgery\u200f ", "Surgery"),
        ("Sur\tgery", "Sur gery"),
        (3, "3"),
        (3.0, "3"),
        ("3", "3"),
        (True, None),
        (3.5, None),
        (["a"], None),
        *((word, None) for word in ("nan", "NaN", "None", "N/A", "null", "", " ", "\u200b")),
        (float("nan"), None),
    ],
)
def test_what_a_label_is(table: Callable[..., str], tmp_path: Path, value: Any, label: str | None) -> None:
    """The same in every format; None: the row is quarantined."""
    rows = [note("one", "a"), note("two", "b"), note("three", value)]
    manifest = run(table(rows), tmp_path / "out", Notes())
    kept = pq.read_table(tmp_path / "out/notes.parquet").to_pylist()
    assert [row["label"] for row in kept] == ["a", "b", *([label] if label else [])]
    assert sum(manifest["quarantined"].values()) == (label is None)


def test_a_label_none_that_is_wanted_is_a_label(table: Callable[..., str], tmp_path: Path) -> None:
    manifest = run(table([note("one", "None"), note("two", "b")]), tmp_path / "out", Notes(labels=["None", "b"]))
    assert manifest["labels"] == ["None", "b"]


@pytest.mark.parametrize(
    ("one", "other"), [("0", "0.0"), ("Cardiology", "С" + "ardiology"), ("Ｂ", "B"), ("Νeuro", "Neuro")]
)
def test_labels_that_read_the_same_are_refused(table: Callable[..., str], tmp_path: Path, one: str, other: str) -> None:
    with pytest.raises(UserError, match="are the same to a reader") as raised:
        run(table([note("one", one), note("two", other), note("three", "b")]), tmp_path / "out", Notes())
    assert ascii(one) in str(raised.value) and ascii(other) in str(raised.value)


@pytest.fixture
def five(table: Callable[..., str]) -> str:
    """Labels a to e, with 5, 4, 3, 2 and 1 rows."""
    return table([note(f"note {label} {i}", label) for label, n in zip("abcde", (5, 4, 3, 2, 1), strict=True)
                  for i in range(n)])  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "labels", "kept"),
    [
        (Notes(), "abcde", 15),
        (Notes(top_labels=2), "ab", 9),
        (Notes(labels=["e", "c"]), "ce", 4),
        (Notes(labels=["e", "d", "a"], top_labels=2), "ad", 7),
        (Notes(top_labels=9), "abcde", 15),
    ],
)
def test_which_labels_are_kept(five: str, tmp_path: Path, settings: Notes, labels: str, kept: int) -> None:
    manifest = run(five, tmp_path / "out", settings)
    assert "".join(manifest["labels"]) == labels
    assert manifest["rows_kept"] == kept
    assert manifest["rows_of_other_labels"] == 15 - kept


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([], Notes(), "notes.jsonl is empty"),
        ([note(SECRET)] * 3, Notes(), r"only one label remains \('a'\): .*at least two"),
        ([note(SECRET), note("x", "b")], Notes(top_labels=1), "only one label remains"),
        (
            [note(SECRET, "Surgery"), note("x", "Urology")],
            Notes(labels=["Surgry"]),
            "no label 'Surgry' in 'medical_specialty': did you mean 'Surgery'",
        ),
        (
            [note(SECRET)] * 3,
            Notes(columns={"text": "text"}),
            r"none of 3 rows .*\(3 x no column .text.\): .*\(the columns are transcription, medical_specialty\)",
        ),
        ([note(SECRET)] * 3, Notes(columns={"label": "label"}), r"3 x no column 'label'"),
        ([note("")] * 2 + [note(None)], Notes(), r"none of 3 rows .*\(3 x empty text\)"),
    ],
)
def test_nothing_to_learn_from(
    table: Callable[..., str], tmp_path: Path, rows: list[dict[str, Any]], settings: Notes, message: str
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        run(table(rows), tmp_path / "out", settings)
    assert "\n" not in str(raised.value) and "Zyx" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_parquet_with_nulls_and_numbers(tmp_path: Path) -> None:
    rows = {"transcription": ["x", None, "y"], "medical_specialty": ["a", "b", "b"]}
    pq.write_table(pa.table(rows), tmp_path / "notes.parquet")
    manifest = run((tmp_path / "notes.parquet").as_uri(), tmp_path / "out", Notes())
    assert (manifest["rows_kept"], manifest["quarantined"]) == (2, {"empty text": 1})


class _Server(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address of a web server that serves it."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Server, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def test_every_scheme_gives_the_same_notes(
    notes_csv: Callable[..., Path], served: tuple[Path, str], s3_environment: None, tmp_path: Path
) -> None:
    source = notes_csv()
    folder, address = served
    (folder / "notes.csv").write_bytes(source.read_bytes())
    bucket = f"data-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    boto3.client("s3").upload_file(str(source), bucket, "in/notes.csv")
    uris = [source.as_uri(), f"{address}/notes.csv?download=1", f"s3://{bucket}/in/notes.csv"]
    found = {run(uri, tmp_path / str(number), Notes())["files"]["notes.parquet"]["sha256"]
             for number, uri in enumerate([*uris, "builtin://cases?rows=240&seed=7"])}  # fmt: skip
    assert len(found) == 1


def test_a_digest_follows_the_content(
    served: tuple[Path, str], s3_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    bucket = f"data-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    file = folder / "notes.csv"
    uris = [file.as_uri(), f"{address}/notes.csv", f"s3://{bucket}/notes.csv"]
    seen: list[list[str]] = []
    for time, data in ((1, b"a,b\n"), (1, b"a,b\n"), (1000, b"a,c\n")):
        file.write_bytes(data)
        os.utime(file, (time, time))
        boto3.client("s3").put_object(Bucket=bucket, Key="notes.csv", Body=data)
        seen.append([source_digest(uri) for uri in uris])
    assert seen[0] == seen[1]
    assert all(before != after for before, after in zip(seen[1], seen[2], strict=True))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("notes.csv", "unsupported URI scheme: use file:///path"),
        ("ftp://host/notes.csv", "unsupported URI scheme"),
        ("file:///no/such/file.csv", "/no/such/file.csv not found: check the path"),
        ("file://relative/notes.csv", "not an absolute path: write file:///absolute/path"),
        ("s3://bucket", "no object key: write s3://bucket/folder/file.csv"),
        ("builtin://case", "write builtin://cases"),
        ("builtin://cases?rows=many", "write builtin://cases"),
        ("builtin://cases?rows=0", "write builtin://cases"),
        ("builtin://cases?row=9", "write builtin://cases"),
        ("builtin://cases?rows", "write builtin://cases"),
        ("http://127.0.0.1:9/notes.csv", r"cannot be reached \(ConnectError\): check address, proxy"),
    ],
)
def test_a_source_that_does_not_exist(tmp_path: Path, uri: str, message: str) -> None:
    for attempt in (lambda: source_digest(uri), lambda: run(uri, tmp_path / "out", Notes())):
        with pytest.raises(UserError, match=message) as raised:
            attempt()
        assert "\n" not in str(raised.value)


def test_a_page_or_object_that_does_not_exist(served: tuple[Path, str], s3_environment: None) -> None:
    with pytest.raises(UserError, match="HTTP 404: check the address"):
        source_digest(f"{served[1]}/none.csv")
    bucket = f"data-{uuid.uuid4().hex}"
    with pytest.raises(UserError, match=r"s3://.* not found: check bucket and key|answered"):
        source_digest(f"s3://{bucket}/none.csv")
    boto3.client("s3").create_bucket(Bucket=bucket)
    with pytest.raises(UserError, match=r"s3://.* not found: check bucket and key"):
        source_digest(f"s3://{bucket}/none.csv")


def test_a_hub_that_does_not_answer(no_hub: None) -> None:
    with pytest.raises(UserError, match=r"hf://someone/notes.*: check its name, split, HF_TOKEN and the network"):
        source_digest("hf://someone/notes")


def test_a_redacted_uri_has_no_secrets() -> None:
    assert redacted_uri("https://ann:secret@host:8443/notes.csv?X-Amz-Signature=1") == "https://host:8443/notes.csv"
    assert redacted_uri("builtin://cases?rows=9&seed=7") == "builtin://cases?rows=9&seed=7"


def test_a_readme_beside_the_data_is_skipped(notes_csv: Callable[..., Path], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.csv").write_bytes(notes_csv(rows=40).read_bytes())
    for name in ("README.md", "LICENSE", "scan of Mr Zyx.pdf", ".hidden"):
        (folder / name).write_text(SECRET)
    assert source_files(folder.as_uri()) == [(folder / "a.csv").as_uri()]
    assert skipped_files(folder.as_uri()) == [".md", ".pdf", "no suffix"]
    assert skipped_files((folder / "a.csv").as_uri()) == []
    assert run(folder.as_uri(), tmp_path / "out", Notes())["rows_read"] == 40
    (folder / "a.csv").unlink()
    with pytest.raises(UserError, match="contains no data file: add a file of notes"):
        source_files(folder.as_uri())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Notes(columns={"patient": "mrn"}), "has no column 'mrn': choose another one .the columns are transcription"),
        (Notes(columns={"date": "seen %d.%m.%Y"}), "has no column 'seen': choose another one"),
    ],
)
def test_a_patient_or_date_column_that_is_not_there(
    table: Callable[..., str], tmp_path: Path, settings: Notes, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(table([note(SECRET), note("x", "b")]), tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_the_command_to_type_for_another_layout(table: Callable[..., str], tmp_path: Path) -> None:
    rows = [{"note": SECRET, "specialty": "a", "Mr Zyx": "x"}] * 3
    wanted = r"as in --columns text=note,label=specialty \(the columns are note, specialty and 1 with another name\)"
    with pytest.raises(UserError, match=wanted):
        run(table(rows), tmp_path / "out", Notes())

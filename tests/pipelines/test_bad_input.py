"""Malformed input through the real command: exit status 2, one line that says what to do, nothing half-written.

`pytest -s` prints the lines as a table.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import Clinadapt

from clinadapt.data.builtin_cases import generate

SECRET = "Zyxophobia"  # stands in every note, and so must stand in no message, log or record
COLUMNS = ["transcription", "medical_specialty", "keywords"]

Rows = list[dict[str, str]]


def good_rows() -> Rows:
    """Rows that a run would accept."""
    return [
        {
            "transcription": f"{SECRET}. {row['transcription']}",
            "medical_specialty": row["medical_specialty"],
            "keywords": row["keywords"],
        }
        for row in generate(240, 7)
    ]


def csv_text(rows: Rows) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


@dataclass
class Desk:
    """Where a case lays out its files."""

    folder: Path
    tiny_bert: Path
    write_profile: Callable[..., Path]

    def file(self, name: str, data: bytes | str | Rows) -> list[str]:
        """Arguments that make a run read a file with this content."""
        path = self.folder / name
        text = csv_text(data) if isinstance(data, list) else data
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return [str(path)]

    def zip(self, *names: str) -> list[str]:
        path = self.folder / "notes.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, csv_text(good_rows()))
        return [str(path)]

    def parquet(self) -> list[str]:
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(good_rows()), buffer)
        return self.file("notes.parquet", buffer.getvalue()[:-100])

    def base(self, change: Callable[[Path], object]) -> list[str]:
        """Arguments for a run on a copy of the tiny BERT that `change` breaks."""
        model = Path(shutil.copytree(self.tiny_bert, self.folder / "model"))
        change(model)
        return ["--base-model", str(model)]

    def profile(self, old: str = "", new: str = "", **changes: Any) -> list[str]:
        """Arguments for a run with a changed profile."""
        path = self.write_profile(**changes)
        path.write_text(path.read_text().replace(old, new) if old else path.read_text())
        return ["--profile", str(path)]


def cut_off(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])


def only(label: str, count: int) -> Rows:
    """Good rows with only so many of one label."""
    rows = good_rows()
    kept = [row for row in rows if row["medical_specialty"] == label][:count]
    return [row for row in rows if row["medical_specialty"] != label] + kept


def changed(**columns: str) -> Rows:
    return [row | columns for row in good_rows()]


def without(column: str) -> Rows:
    return [{key: value for key, value in row.items() if key != column} for row in good_rows()]


# What is wrong, how to lay it out, what the line has to say.
RUNS: dict[str, tuple[Callable[[Desk], list[str]], str]] = {
    "missing file": (lambda d: [str(d.folder / "none.csv")], "none.csv not found: check the path"),
    "an empty folder": (lambda d: [str(d.folder)], "the folder .* contains no data file"),
    "missing text column": (
        lambda d: d.file("notes.csv", without("transcription")),
        r"240 x no column 'transcription'\): .*--columns text=COLUMN \(the columns are medical_specialty, keywords\)",
    ),
    "missing label column": (
        lambda d: d.file("notes.csv", without("medical_specialty")),
        r"240 x no column 'medical_specialty'\): .*--columns label=COLUMN \(the columns are transcription, keywords\)",
    ),
    "empty file": (lambda d: d.file("notes.csv", ""), "is empty: use a file with a header and rows"),
    "header only": (lambda d: d.file("notes.csv", []), "has no rows: use a file with notes"),
    "one class only": (
        lambda d: d.file("notes.csv", changed(medical_specialty="Surgery")),
        r"only one label remains \('Surgery'\): .*at least two",
    ),
    "a class with too few notes": (
        lambda d: d.file("notes.csv", only(good_rows()[0]["medical_specialty"], 4)),
        r"the split needs 10 different notes of each label, .* it has fewer: .* \([1-4]\): add notes, or leave",
    ),
    "all notes empty": (lambda d: d.file("notes.csv", changed(transcription=" ")), "240 x empty text.*fix the rows"),
    "not UTF-8": (
        lambda d: d.file("notes.csv", csv_text(good_rows()).replace(SECRET, SECRET + " é").encode("latin-1", "ignore")),
        r"is not UTF-8 \(byte 0xe9\): convert it, .*iconv",
    ),
    "NUL byte": (
        lambda d: d.file("notes.csv", csv_text(good_rows()).replace(SECRET, SECRET + "\0", 1)),
        "line 2 contains a NUL byte: export the file again",
    ),
    "unclosed quote": (
        lambda d: d.file("notes.csv", csv_text(good_rows()) + '"' + SECRET),
        "a quote opened after line .* is never closed: fix that row",
    ),
    "every row a 2 MB note": (
        lambda d: d.file("notes.csv", changed(transcription=SECRET * 200_000)[:12]),
        "12 x text longer than 200,000 characters.*fix the rows",
    ),
    "damaged .gz": (
        lambda d: d.file("notes.csv.gz", gzip.compress(csv_text(good_rows()).encode())[:-2000]),
        "cannot be decompressed, as it is truncated or damaged: fetch it again",
    ),
    ".zip with two CSVs": (lambda d: d.zip("a.csv", "b.csv"), "contains 2 CSV files: use a .zip with exactly one"),
    "damaged parquet": (lambda d: d.parquet(), "is not a valid Parquet file: export it again"),
    "a format that is none": (
        lambda d: d.file("notes.xls", "PK"),
        "unknown format; use .csv, .tsv, .json, .jsonl",
    ),
    "keywords as text": (
        lambda d: [*d.file("notes.csv", good_rows()), "--text-column", "keywords"],
        "column 'keywords' contains the label in 100% of the rows, .*: use the text of the note instead",
    ),
    "unknown scheme": (lambda d: ["ftp://host/notes.csv"], "unsupported URI scheme: use file:///path"),
    "unknown built-in source": (lambda d: ["builtin://case"], "write builtin://cases"),
    "unknown label": (lambda d: ["--label", "Surgry", "--label", "Urology"], "no label 'Surgry' .*: did you mean '"),
    "unknown profile": (
        lambda d: ["--profile", "no-such"],
        "profile 'no-such' not found: use .*cpu-demo",
    ),
    "profile with a wrong key": (
        lambda d: d.profile("num_train_epochs:", "epoch:"),
        "profile '.*': train.epoch: extra inputs are not permitted",
    ),
    "profile with a wrong value": (
        lambda d: d.profile("num_train_epochs: 1", "num_train_epochs: 0"),
        "train.num_train_epochs: input should be greater than or equal to 1",
    ),
    "profile that is no YAML": (lambda d: d.profile("name:", "name: ["), "is not valid YAML"),
    "another recipe": (lambda d: ["--recipe-is", "pretrain"], "for recipe 'classify', not 'pretrain': choose another"),
    "unknown base model": (lambda d: ["--base-model", str(d.folder / "none")], "no config.json: give the folder of"),
    "base model without safetensors": (
        lambda d: d.base(lambda model: (model / "model.safetensors").rename(model / "pytorch_model.bin")),
        "has no .safetensors weights: convert it first, pickled weights are not loaded",
    ),
    "cut-off safetensors": (
        lambda d: d.base(cut_off),
        "model.safetensors is truncated or not a safetensors file: fetch it again",
    ),
    "base model of an unknown architecture": (
        lambda d: d.base(
            lambda m: (m / "config.json").write_text((m / "config.json").read_text().replace('"bert"', '"x"'))
        ),
        "architecture 'x' is not in transformers",
    ),
    "LoRA target that matches nothing": (
        lambda d: d.profile(train={"lora": {"target_modules": ["query", "Wqkv"]}}),
        "LoRA target 'Wqkv' matches no module of the base model: it has dense, key, query, value",
    ),
    "quantization int3": (lambda d: ["--quantization", "int3"], "quantization: input should be 'none' or 'nf4'"),
    "no epochs": (lambda d: ["--epochs", "0"], "num_train_epochs: input should be greater than or equal to 1"),
    "a learning rate of zero": (lambda d: ["--learning-rate", "0"], "learning_rate: input should be greater than 0"),
    "an adapter name with a slash": (lambda d: ["--adapter-name", "a/b"], "use small letters, digits and hyphens"),
    "store that cannot be written": (
        lambda d: ["--store", d.file("store-is-a-file", "")[0]],
        "cannot write .* choose a writable location",
    ),
    "store of an unknown scheme": (lambda d: ["--store", "gs://bucket"], "use file:///folder or s3://bucket/prefix"),
    "more than fits into memory": (
        lambda d: d.profile(train={"per_device_train_batch_size": 10_000_000}),
        "training needs about .* GiB and there are .*: lower per_device_train_batch_size",
    ),
}

OTHERS: dict[str, tuple[list[str], str]] = {
    "predict with an unknown adapter": (
        ["predict", "--adapter", "none", "--note", "NOTE", "--store", "STORE"],
        "no adapter 'none' in .*; there are: none yet",
    ),
    "predict with an adapter elsewhere": (
        ["predict", "--adapter", "file:///none/adapters/a/b", "--note", "NOTE"],
        "no adapter version 'a/b' in file:///none: list the folder",
    ),
    "predict without a note": (["predict", "--adapter", "a"], "give either --note FILE or --file FILE"),
    "predict with a note that is not there": (["predict", "--adapter", "a", "--note", "none.txt"], "no file none.txt"),
    "estimate of an unknown profile": (["estimate", "--profile", "none"], "profile 'none' not found: use "),
    "estimate of an unknown base": (["estimate", "--base-model", "none/such"], "no config.json: give the folder"),
    "estimate for a GPU of no size": (
        ["estimate", "--gpu", "0"],
        "--gpu 0 is no size of a GPU: give its memory in GiB",
    ),
    "estimate for a GPU by its name": (
        ["estimate", "--gpu", "A100"],
        "--gpu A100 is no size of a GPU: give its memory",
    ),
    "estimate for a GPU and a cluster": (["estimate", "--gpu", "24", "-c", "kind"], "give either --gpu or --cluster"),
    "estimate for a GPU of a classify profile": (
        ["estimate", "--gpu", "24", "-p", "cpu-demo"],
        "'cpu-demo' is of classify",
    ),
    "compile of an unknown profile": (["compile", "--profile", "none", "-o", "OUT"], "profile 'none' not found"),
}


@pytest.fixture
def desk(tmp_path: Path, tiny_bert: Path, write_profile: Callable[..., Path]) -> Desk:
    folder = tmp_path / "desk"
    folder.mkdir()
    return Desk(folder, tiny_bert, write_profile)


def check(status: int, errors: str, wanted: str, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in errors.splitlines() if line.startswith("error:")]
    with capfd.disabled():
        print(f"\n{name:34} {lines}", end="")
    assert status == 2, errors
    assert len(lines) == 1, errors
    assert re.search(wanted, lines[0]), lines[0]
    assert "Traceback" not in errors and "bug in clinadapt" not in errors
    assert SECRET not in errors


def run_arguments(case: list[str], desk: Desk, store: Path, home: Path) -> list[str]:
    """A whole command: the case's own arguments, and what it leaves open."""
    recipe = case.pop() if case[:1] == ["--recipe-is"] else "classify"
    arguments = ["run", recipe, *(a for a in case if a != "--recipe-is")]
    if "--profile" not in case:
        arguments += desk.profile()
    if "--store" not in case:
        arguments += ["--store", str(store)]
    return [*arguments, "--home", str(home)]


def nothing_is_left(store: Path, home: Path) -> None:
    """No adapter, and no note in a record or a log."""
    assert not (store / "adapters").exists()
    for path in [*store.rglob("*.json"), *home.glob("logs/*"), *home.rglob("*.csv")]:
        assert SECRET not in path.read_text(encoding="utf-8", errors="replace"), path


@pytest.mark.parametrize("name", RUNS)
def test_a_run(name: str, desk: Desk, tmp_path: Path, clinadapt: Clinadapt, capfd: pytest.CaptureFixture[str]) -> None:
    lay_out, wanted = RUNS[name]
    store, home = tmp_path / "store", tmp_path / "home"
    done = clinadapt(*run_arguments(lay_out(desk), desk, store, home))
    check(done.returncode, done.stderr, wanted, name, capfd)
    assert done.stdout == ""
    nothing_is_left(store, home)


@pytest.mark.parametrize("name", OTHERS)
def test_another_command(name: str, tmp_path: Path, clinadapt: Clinadapt, capfd: pytest.CaptureFixture[str]) -> None:
    arguments, wanted = OTHERS[name]
    (tmp_path / "note.txt").write_text(SECRET)
    places = {"NOTE": tmp_path / "note.txt", "STORE": tmp_path / "store", "OUT": tmp_path / "out"}
    done = clinadapt(*(places.get(a, a) for a in arguments))
    check(done.returncode, done.stderr, wanted, name, capfd)


def test_a_run_of_the_installed_command(
    desk: Desk, tmp_path: Path, installed_clinadapt: Clinadapt, capfd: pytest.CaptureFixture[str]
) -> None:
    lay_out, wanted = RUNS["unclosed quote"]
    store, home = tmp_path / "store", tmp_path / "home"
    done = installed_clinadapt(*run_arguments(lay_out(desk), desk, store, home))
    check(done.returncode, done.stderr, wanted, "unclosed quote", capfd)
    assert done.stdout == ""
    nothing_is_left(store, home)

"""The search for planted strings finds them however they are written, where they must not be, and there alone."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import zipfile
from pathlib import Path
from urllib.parse import quote

import planted_run
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

NAME, PHONE = "Sjövrek", "612-555-0149"
SENTENCE = planted_run.SENTENCES[0]


def test_every_form_of_a_string_is_found(tmp_path: Path, tiny_llama: Path) -> None:
    tokenizer = tiny_llama / "tokenizer.json"
    folder = tmp_path / "home/logs"
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text(f"a note of MARUNKA {NAME.upper()}, call {PHONE}\n")
    (folder / "record.json").write_text(json.dumps({"patient": NAME}))
    (folder / "uri.txt").write_text(f"file:///{quote(NAME)}.txt")
    (folder / "hash.txt").write_text(hashlib.sha256(PHONE.encode()).hexdigest())
    (folder / "a.gz").write_bytes(gzip.compress(PHONE.encode()))
    (folder / "a.xz").write_bytes(lzma.compress(PHONE.encode()))
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        archive.writestr("member", f"{SENTENCE}.")
    ids = Tokenizer.from_file(str(tokenizer)).encode(f"Call {PHONE}").ids
    pq.write_table(pa.table({"input_ids": [ids]}), folder / "tokens.parquet", compression="zstd")
    pq.write_table(pa.table({"text": [f"{SENTENCE}."]}), folder / "texts.parquet", compression="zstd")
    (folder / f"{PHONE}.txt").touch()
    (folder / "harmless.txt").write_text("Call 612 about a wooden flamingo.")
    found = planted_run.leaks(tmp_path, tokenizer)
    assert {name.rpartition("/")[2] for name, _ in found} == {
        path.name for path in folder.iterdir() if path.name != "harmless.txt"
    }
    assert ("home/logs/log.txt", NAME) in found and ("home/logs/log.txt", PHONE) in found


def test_a_table_of_notes_may_hold_their_sentences_and_no_identifier(tmp_path: Path) -> None:
    folder = tmp_path / "home/outputs/run/screen-classify/screened"
    folder.mkdir(parents=True)
    (tmp_path / "input").mkdir()
    (tmp_path / "input/notes.csv").write_text(f"{NAME} {SENTENCE}")
    for name in ("notes.parquet", "manifest.json"):
        (folder / name).write_text(f"{NAME}: {SENTENCE}")
    assert {(name.rpartition("/")[2], string) for name, string in planted_run.leaks(tmp_path)} == {
        ("notes.parquet", NAME), ("manifest.json", NAME), ("manifest.json", SENTENCE)
    }  # fmt: skip

"""`clinadapt predict` in a process of its own: the answer on standard output, nothing a reader need not know on
standard error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support import Clinadapt

from clinadapt.artifacts.hashing import write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.signing import sign_manifest
from clinadapt.registry.champion import promote
from clinadapt.storage import open_store
from clinadapt.storage.transfer import upload_folder


@pytest.fixture
def instruct_store(instruct_adapter: Path, tmp_path: Path) -> str:
    """A store with an instruct adapter `answers` as champion."""
    folder = Path(shutil.copytree(instruct_adapter, tmp_path / "adapter"))
    write_json(folder / MANIFEST, sign_manifest(write_manifest(folder, {"name": "answers", "version": "v1"})))
    store = open_store((tmp_path / "store").as_uri())
    upload_folder(store, folder, "adapters/answers/v1")
    promote(store, "answers", "v1", "", {})
    return store.uri


def test_an_instruct_adapter_answers_without_noise(
    instruct_store: str, installed_clinadapt: Clinadapt, clinadapt: Clinadapt, tmp_path: Path
) -> None:
    note = tmp_path / "note.txt"
    note.write_text("Knee pain. Ibuprofen 400 mg was given.", encoding="utf-8")
    arguments = ["predict", "--adapter", "answers", "--store", instruct_store, "--note", note, "--ask", "Which drugs?"]
    done = installed_clinadapt(*arguments)
    assert done.returncode == 0 and done.stdout.strip()
    remarks = ("Not supported by the note: ", "The answer was cut off", "The model did not see")
    assert all(line.startswith(remarks) for line in done.stderr.splitlines()), done.stderr
    assert clinadapt(*arguments, "--json").stderr == ""


def test_several_questions_about_one_note(instruct_store: str, clinadapt: Clinadapt, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("Knee pain. Ibuprofen 400 mg was given.", encoding="utf-8")
    arguments = ["predict", "--adapter", "answers", "--store", instruct_store]
    asks = ["--ask", "Which drugs?", "--ask", "Which knee?"]
    done = clinadapt(*arguments, "--note", note, *asks, "--json")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["instruction"] for answer in answers] == ["Which drugs?", "Which knee?"]
    refused = clinadapt(*arguments, "--file", tmp_path / "notes.csv", *asks)
    assert refused.returncode == 2 and "--ask-column" in refused.stderr

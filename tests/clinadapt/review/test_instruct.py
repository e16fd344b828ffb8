"""Asking a published instruct adapter: one note complete and as a stream, the rows of a file, and the command."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import UNFINISHED

from clinadapt.artifacts.hashing import write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.signing import sign_manifest
from clinadapt.data.readers import read_rows
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.base_model import describe
from clinadapt.models.chat_template import load_tokenizer
from clinadapt.monitoring.aggregates import Aggregate
from clinadapt.monitoring.recorder import SWITCH
from clinadapt.registry.champion import promote
from clinadapt.review.classify import ClassifyService
from clinadapt.review.inputs import read_note
from clinadapt.review.instruct import InstructService, remarks
from clinadapt.storage import open_store
from clinadapt.storage.transfer import upload_folder

NOTE = "62-year-old woman with chest pain. Aspirin 100 mg was given."
ASK = "Which drugs were given?"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> str:
    """The URI of a store with an untrained instruct adapter `assistant` as champion."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder, store_folder = tmp_path_factory.mktemp("adapter"), tmp_path_factory.mktemp("store")
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")).save_pretrained(folder)
    load_tokenizer(tiny_llama).save_pretrained(folder)
    uri = tiny_llama.as_uri()
    InstructCard(
        base_model=uri,
        base_digest=describe(uri).digest,
        quantization="none",
        precision="fp32",
        seed=0,
        max_length=256,
        max_new_tokens=12,
        tasks=["Question Answering"],
    ).write(folder)
    manifest = {"name": "assistant", "version": "0123456789abcdef"}
    write_json(folder / MANIFEST, sign_manifest(write_manifest(folder, manifest)))
    opened = open_store(store_folder.as_uri())
    upload_folder(opened, folder, "adapters/assistant/0123456789abcdef")
    promote(opened, "assistant", "0123456789abcdef", "", {})
    return store_folder.as_uri()


@pytest.fixture(scope="module")
def service(store: str) -> InstructService:
    return InstructService("assistant", store)


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Nobody may read the file meanwhile, not even root."""
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_stream_ends_with_the_complete_answer(service: InstructService) -> None:
    *pieces, last = service.stream(NOTE, ASK)
    complete = service.answer(NOTE, ASK)
    assert last == complete and "".join(map(str, pieces)).strip() == complete["answer"]
    assert complete["adapter"] == service.uri and service.uri.endswith("/adapters/assistant/0123456789abcdef")
    assert complete["trimmed_tokens"] == 0 and service.answer(NOTE * 100, ASK)["trimmed_tokens"] > 0


@pytest.mark.parametrize(
    ("note", "instruction", "message"),
    [
        (" \n", ASK, "^the note has no text: give"),
        ("x" * 200_001, ASK, "^the note has more than 200,000 characters: give"),
        (NOTE, "", "^the instruction has no text: give"),
        (NOTE, "x" * 4_001, "^the instruction has more than 4,000 characters: give"),
        (NOTE, "word " * 700, "^an instruction leaves no room"),
    ],
)
def test_an_unusable_question_is_refused(service: InstructService, note: str, instruction: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        service.answer(note, instruction)
    with pytest.raises(UserError, match=message):
        next(service.stream(note, instruction))


def test_bad_rows_have_an_error_and_the_others_an_answer(service: InstructService) -> None:
    good, long = {"text": NOTE, "ask": ASK}, {"text": NOTE, "ask": "word " * 700}
    rows: list[Any] = [good, good | {"text": ""}, "3 fields instead of 2", good | {"ask": " "}, long, good]
    answers = list(service.answer_rows(rows, "text", instruction_column="ask"))
    assert [answer["row"] for answer in answers] == [1, 2, 3, 4, 5, 6]
    errors = [answer.get("error") for answer in answers]
    assert errors[:4] == [None, "no text", "3 fields instead of 2", "no text in the instruction"] and not errors[5]
    assert "no room" in str(errors[4])
    assert answers[0]["answer"] == answers[5]["answer"]
    with pytest.raises(UserError, match="no column 'what'.*--ask-column"):
        list(service.answer_rows(rows, "text", instruction_column="what"))


def test_the_remarks_say_what_a_reader_has_to_know() -> None:
    answer = {"answer": "x", "trimmed_tokens": 0, "complete": True, "unsupported": []}
    assert remarks(answer) == []
    assert remarks(answer | {"answer": ""}) == ["The adapter wrote no answer."]
    lines = remarks({"answer": "x", "trimmed_tokens": 1200, "complete": False, "unsupported": ["40 mg", "heparin"]})
    assert lines[0] == "Not supported by the note: 40 mg, heparin." and "1,200 tokens" in lines[2] and len(lines) == 3


def test_every_way_to_ask_is_counted(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Complete, streamed to its end, and as rows; not a stream that is stopped, nor a row that has no answer."""
    copied = Path(shutil.copytree(store.removeprefix("file://"), tmp_path / "store", ignore=UNFINISHED)).as_uri()
    counted = InstructService("assistant", copied, "page")
    counted.answer(NOTE, ASK)
    list(counted.stream(NOTE, ASK))
    next(counted.stream(NOTE, ASK))
    list(counted.answer_rows([{"text": NOTE}, {"text": ""}, {"text": f"{NOTE} No fever."}], "text", ASK))
    assert counted.recorder
    counted.recorder.flagged()
    counted.recorder.close()
    (key,) = open_store(copied).list("monitoring/")
    total = Aggregate.from_json(json.loads(open_store(copied).get(key)[0]), ())
    assert (total.answers, total.notes, total.flags) == (4, 2, 1)
    assert total.cells["task"] == {"Named Entity Recognition": 4} and sum(total.cells["latency"].values()) == 2
    monkeypatch.setenv(SWITCH, "off")
    assert InstructService("assistant", copied, "page").recorder is None


def test_the_command_streams_and_writes_files(store: str, clinadapt: Any, tmp_path: Path) -> None:
    note, file = tmp_path / "note.txt", tmp_path / "notes.csv"
    note.write_text(NOTE)
    file.write_text(f"transcription\n{NOTE}\n")
    where = ["predict", "--adapter", "assistant", "--store", store]
    shown = clinadapt(*where, "--note", note, "--ask", ASK)
    asked = clinadapt(*where, "--note", note, "--ask", ASK, "--json")
    assert (shown.returncode, asked.returncode) == (0, 0), shown.stderr + asked.stderr
    answer = json.loads(asked.stdout)
    assert shown.stdout.strip() == answer["answer"]
    assert all(remark in shown.stderr for remark in remarks(answer))
    rows = clinadapt(*where, "--file", file, "--ask", ASK)
    (row,) = csv.DictReader(io.StringIO(rows.stdout))
    assert (row["row"], row["instruction"], row["error"]) == ("1", ASK, "")
    wrong = clinadapt(*where, "--note", note)
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1
    assert "clinadapt predict --ask" in wrong.stderr
    keys = open_store(store).list("monitoring/assistant/0123456789abcdef/")
    totals = [Aggregate.from_json(json.loads(open_store(store).get(key)[0]), ()) for key in keys]
    assert sum(total.answers for total in totals) == 3 and all("/predict-" in key for key in keys)


def test_an_instruct_adapter_is_no_classifier(store: str) -> None:
    with pytest.raises(UserError, match="answers instructions: .*clinadapt predict --ask"):
        ClassifyService("assistant", store)


def test_an_unreadable_file_is_a_user_error(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("a\n1\n")
    with unreadable(path):
        with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
            read_note(path)
        with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
            list(read_rows(path, "notes.csv"))
    path.chmod(0o600)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_note(path)


def test_wrong_options_give_a_line_of_json_too(clinadapt: Any) -> None:
    done = clinadapt("predict", "--bogus", "--json")
    assert done.returncode == 2 and "--bogus" in json.loads(done.stdout)["error"]
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1

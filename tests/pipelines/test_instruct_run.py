"""The whole instruct pipeline on this machine, through the command: cases, notes, triples, a Llama made on the spot,
QLoRA, evaluation, a published adapter that answers."""

from __future__ import annotations

import json
import time
from pathlib import Path

import document_checks as checks
import planted_run
import pyarrow.parquet as pq
import pytest
import yaml
from support import Clinadapt, Run, instruct_profile

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, list_files
from clinadapt.data.schemas.instruct import TASKS

STEPS = ["preflight", "download", "screen", "synthesize", "format", "lookup", "pretrain", "train", "evaluate", "gate",
         "publish"]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, clinadapt: Clinadapt) -> Run:
    folder = tmp_path_factory.mktemp("instruct")
    planted = planted_run.write_input(folder)
    sources = [{"kind": kind, "uri": path.as_uri()} for kind, path in planted.items()]
    profile = instruct_profile(sources=[{"kind": "cases", "uri": "builtin://cases?rows=140&seed=7"}, *sources])
    (folder / "profile.yaml").write_text(yaml.safe_dump(profile | {"review": {"private_notes": True}}))
    home, store, temporary = folder / "home", folder / "store", folder / "temporary"
    temporary.mkdir()
    command = ["run", "instruct", "--profile", str(folder / "profile.yaml"), "--home", str(home)]
    command += ["--store", str(store), "--json"]
    done = clinadapt(*command, cwd=temporary, temporary=temporary)
    assert done.returncode == 0, done.stderr
    (folder / "printed.txt").write_text(done.stdout + done.stderr)
    return Run(command, json.loads(done.stdout), home, store)


def version(run: Run) -> Path:
    return run.store / "adapters/answers" / run.result["run_key"]


def test_every_step_ran_and_left_its_record(run: Run) -> None:
    summary = read_json(run.store / "runs" / run.result["run"] / "summary.json")
    assert list(summary["steps"]) == STEPS
    assert {record["state"] for record in summary["steps"].values()} == {"done"}
    assert (run.result["state"], run.result["verdict"]) == ("published", "pass")


def test_the_version_is_whole(run: Run) -> None:
    manifest = read_json(version(run) / MANIFEST)
    assert manifest["files"] == list_files(version(run))
    assert {"adapter_model.safetensors", "clinadapt.json", "README.md", "report.html"} <= manifest["files"].keys()
    assert "chat_template.jinja" in manifest["files"] or "chat_template" in read_json(
        version(run) / "tokenizer_config.json"
    )


def test_every_task_was_asked_on_notes_that_training_never_saw(run: Run) -> None:
    splits = run.outputs / "format-instruct/splits"
    sides = {
        side: pq.read_table(splits / f"{side}.parquet", columns=["note_id", "task"])
        for side in ("train", "validation", "test")
    }
    notes = {side: set(table["note_id"].to_pylist()) for side, table in sides.items()}
    assert not notes["train"] & notes["test"] and not notes["train"] & notes["validation"]
    corpus = pq.read_table(splits / "corpus.parquet", columns=["note_id"])
    assert not set(corpus["note_id"].to_pylist()) & notes["test"]
    assert set(sides["train"]["task"].to_pylist()) == set(TASKS)


def test_the_same_command_finds_nothing_new(run: Run, clinadapt: Clinadapt) -> None:
    """Although pretrain makes the base model, which the run key names by its content."""
    start = time.monotonic()
    done = clinadapt(*run.command)
    print(f"run again: {time.monotonic() - start:.1f} s")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert again["run_key"] == run.result["run_key"] and again["adapter_uri"] == run.result["adapter_uri"]
    steps = read_json(run.store / "runs" / again["run"] / "summary.json")["steps"]
    assert list(steps) == ["preflight", "lookup"] and again["sentence"].startswith("nothing new: answers/")


def test_the_adapter_answers(run: Run, clinadapt: Clinadapt, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("MEDICATIONS: Lisinopril 10 mg daily.\n\nPLAN: Return in two weeks.")
    ask = ["predict", "--adapter", "answers", "--store", str(run.store), "--note", str(tmp_path / "note.txt")]
    done = clinadapt(*ask, "--ask", "List the drugs.", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["adapter"] == version(run).as_uri()


def test_its_governance_documents(run: Run) -> None:
    checks.check_complete(version(run) / "documents")
    assert checks.check_values(version(run) / "documents", version(run)) > 200
    checks.check_same_texts(version(run) / "documents")
    checks.check_chai(version(run) / "documents/chai-applied-model-card.xml")


def test_its_model_card_is_valid_against_its_public_schema(run: Run) -> None:
    checks.validate_chai(version(run) / "documents/chai-applied-model-card.xml")


def test_no_note_is_logged(run: Run) -> None:
    """Not in a record, a log, or a record or document of the version: no eight words in a row of any note. The report
    shows examples of synthetic notes."""
    texts = pq.read_table(run.outputs / "synthesize/triples/notes.parquet", columns=["text"])["text"].to_pylist()
    logs = " ".join(
        path.read_text(errors="replace") for path in [*run.home.rglob("logs/*"), *run.store.glob("runs/*/*.json")]
    )
    written = " ".join(logs.split())
    for text in texts:
        words = text.split()
        assert not any(" ".join(words[i : i + 8]) in written for i in range(0, len(words) - 8, 8))


def test_of_planted_strings_none_is_in_what_the_run_wrote_but_where_notes_stand(run: Run) -> None:
    """No identifier at all, and sentences of notes only in the tables of steps, in caches of tokens and answers, and in
    the cases for reviewers."""
    folder, dataset = run.home.parent, "home/outputs/*/download-*/dataset"
    (tokenizer,) = planted_run.matching(folder, "home/outputs/*/format-*/splits/tokenizer/tokenizer.json")
    for table in ("texts", "triples"):
        read = planted_run.matching(folder, f"{dataset}/{table}.parquet")
        assert planted_run.is_everywhere(planted_run.IDENTIFIERS, read), table
    assert planted_run.leaks(folder, tokenizer) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["notes=/nowhere.csv"], "/nowhere.csv not found"),
        (["--top-labels", "3"], "--top-labels is not an option of instruct"),
        (["--teacher", "oracle"], "teacher"),
        (["pairs=/nowhere.csv"], "pairs= needs the instruction that its answers follow: add --instruction"),
        (["--label-column", "x"], "name a source too"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    clinadapt: Clinadapt, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = clinadapt("run", "instruct", *arguments, "--home", tmp_path / "home", "--store", tmp_path / "store")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr

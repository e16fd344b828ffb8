"""The whole pipeline on this machine, through the command."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import planted_run
import psutil
import pytest
from support import SOURCE, UNFINISHED, Clinadapt, Run, WriteProfile, quiet_environment
from warm_process import WarmProcess

from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, list_files
from clinadapt.data.tables import read_split

STEPS = ["preflight", "download", "screen", "format", "lookup", "train", "evaluate", "gate", "publish"]
METRICS = {"accuracy", "any_label_accuracy", "balanced_accuracy", "macro_f1", "log_loss", "ece", "log_loss_scaled",
           "ece_scaled"}  # fmt: skip


def test_the_line_of_json(demo_run: Run) -> None:
    result = demo_run.result
    assert (result["state"], result["verdict"], result["error"]) == ("published", "pass", None)
    assert len(result["run_key"]) == 16 and int(result["run_key"], 16)
    assert result["adapter_uri"] == demo_run.version.as_uri()
    assert set(result["metrics"]) == METRICS
    for metric in result["metrics"].values():
        assert metric["low"] <= metric["value"] <= metric["high"]
    assert f"{result['metrics']['accuracy']['value']:.1%}" in result["sentence"]


def test_every_artifact_is_there(demo_run: Run) -> None:
    outputs = demo_run.outputs
    for folder in ("download-classify/dataset", "format-classify/splits", "train-classify/adapter",
                   "evaluate-classify/evaluation", "gate/verdict"):  # fmt: skip
        manifest = read_json(outputs / folder / MANIFEST)
        assert manifest["files"] == list_files(outputs / folder), folder
    assert (outputs / "gate/report").read_text().startswith("<!doctype html>")
    assert ": published\n" in (outputs / "summarise/summary").read_text()
    executor = read_json(outputs / "evaluate-classify/executor_output.json")["artifacts"]
    matrix = executor["classification"]["artifacts"][0]["metadata"]["confusionMatrix"]
    assert (
        sum(sum(row["row"]) for row in matrix["rows"])
        == read_json(outputs / "evaluate-classify/evaluation/evaluation.json")["rows"]
    )
    scalars = executor["metrics"]["artifacts"][0]["metadata"]
    assert scalars["accuracy"] == demo_run.result["metrics"]["accuracy"]["value"]


def test_the_store(demo_run: Run) -> None:
    runs = demo_run.store / "runs" / demo_run.result["run"]
    assert {path.name for path in runs.iterdir()} == {
        *(f"{step}.json" for step in STEPS),
        "summarise.json",
        "summary.json",
        "report.html",
        "conformance.json",
    }
    summary = read_json(runs / "summary.json")
    assert list(summary["steps"]) == STEPS
    assert all(record["state"] == "done" and record["duration_seconds"] >= 0 for record in summary["steps"].values())
    assert demo_run.result["report_uri"] == (runs / "report.html").as_uri()
    assert (runs / "report.html").read_bytes() == (demo_run.version / "report.html").read_bytes()
    manifest = read_json(demo_run.version / MANIFEST)
    assert manifest["files"] == list_files(demo_run.version)
    assert manifest["version"] == demo_run.result["run_key"]
    champion = read_json(demo_run.version.parent / "champion.json")
    assert champion["version"] == demo_run.result["run_key"]
    assert not [p for p in demo_run.store.rglob("*") if p.suffix in (".bin", ".pt", ".pkl", ".pickle")]


def test_no_note_is_logged(demo_run: Run) -> None:
    """Not in a record, a report, a log or a metric: no eight words in a row of any held-out or training note. Only the
    cases that reviewers judge hold their notes."""
    splits = demo_run.outputs / "format-classify/splits"
    pieces = {
        " ".join(words[i : i + 8])
        for name in ("train", "test")
        for words in (text.split() for text in read_split(splits, name)["text"].to_pylist())
        for i in range(0, max(1, len(words) - 8), 8)
    }
    files = [*demo_run.store.rglob("*.json"), *demo_run.store.rglob("*.html"), *demo_run.store.rglob("*.md")]
    cases = demo_run.store / "reviews"
    files = [path for path in files if path.name != "tokenizer.json" and not path.is_relative_to(cases)]
    for path in [*files, *demo_run.home.glob("logs/*"), *demo_run.outputs.rglob("executor_output.json")]:
        text = " ".join(path.read_text(encoding="utf-8").split())
        assert not [piece for piece in pieces if piece in text], path


def test_of_planted_strings_none_is_in_what_the_run_wrote_but_where_notes_stand(demo_run: Run) -> None:
    """No identifier at all, and sentences of notes only in the tables of steps and in the cases for reviewers."""
    folder = demo_run.home.parent
    read = planted_run.matching(folder, "home/outputs/*/download-*/dataset/notes.parquet")
    assert planted_run.is_everywhere(planted_run.IDENTIFIERS, read) and len(planted_run.IDENTIFIERS) == 30
    assert planted_run.leaks(folder) == []


def test_the_same_command_again_finds_nothing_new(demo_run: Run, clinadapt: Clinadapt, tmp_path: Path) -> None:
    """Whatever the cache knows: without it data are prepared again, and nothing is trained."""
    before = list_files(demo_run.store / "adapters", exclude=())
    home = demo_run.command.index("--home") + 1
    for folder in (str(demo_run.home), str(tmp_path / "another home")):
        start = time.monotonic()
        done = clinadapt(*demo_run.command[:home], folder, *demo_run.command[home + 1 :])
        print(f"run again in {Path(folder).name}: {time.monotonic() - start:.1f} s")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        shown = {key: result[key] for key in ("run_key", "metrics", "adapter_uri")}
        assert shown == {key: demo_run.result[key] for key in shown}
        assert (result["state"], result["verdict"]) == ("nothing new", None)
        version = f"specialty/{result['run_key']}"
        nothing = f"nothing new: {version} was "
        assert result["sentence"].startswith(nothing) and nothing in done.stderr
        assert Path(result["report_uri"].removeprefix("file://")).is_file()
        prepared = {"download", "screen", "format"} if folder != str(demo_run.home) else set()
        assert records(demo_run.store, result) == {"preflight", "lookup"} | prepared
        summary = demo_run.store / "runs" / result["run"] / "summary.json"
        assert read_json(summary)["sentence"] == result["sentence"]
    assert list_files(demo_run.store / "adapters", exclude=()) == before


def records(store: Path, result: dict[str, Any]) -> set[str]:
    """The steps that ran, and so left a record, instead of coming from the cache."""
    return {path.stem for path in (store / "runs" / result["run"]).glob("*.json")} & set(STEPS)


def test_predict(demo_run: Run, clinadapt: Clinadapt, notes_csv: Callable[..., Path], tmp_path: Path) -> None:
    """The champion by name answers a note and a file; its changed byte is refused by name."""
    where = ["--adapter", "specialty", "--store", str(demo_run.store)]
    note = tmp_path / "note.txt"
    note.write_text("Knee pain. X-ray shows a fracture of the tibia.", encoding="utf-8")
    done = clinadapt("predict", *where, "--note", note, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer["label"] in (*answer["probabilities"], "unsure") and answer["adapter"] == demo_run.version.as_uri()
    done = clinadapt("predict", *where, "--file", notes_csv(rows=5))
    lines = done.stdout.splitlines()
    assert lines[0] == "row,label,probability,error" and len(lines) == 6
    assert done.stderr == "5 rows, 0 failed\n"
    store = Path(shutil.copytree(demo_run.store, tmp_path / "store", ignore=UNFINISHED))
    weights = store / demo_run.version.relative_to(demo_run.store) / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    done = clinadapt("predict", "--adapter", "specialty", "--store", str(store), "--note", note)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "adapter_model.safetensors is not what was published" in line


def test_the_gate_says_no(demo_run: Run, clinadapt: Clinadapt, tmp_path: Path) -> None:
    """The same training, from the cache, under another name and thresholds that nothing can pass: twice, as what was
    refused is in no registry, and is judged anew."""
    before = list_files(demo_run.store / "adapters", exclude=())
    position = demo_run.command.index("--profile") + 1
    lenient = Path(demo_run.command[position]).read_text()
    strict = tmp_path / "strict.yaml"
    strict.write_text(lenient.replace("gain_over_base: -1.0", "gain_over_base: 1.0"))
    for _ in range(2):
        done = clinadapt(
            *demo_run.command[:position], strict, *demo_run.command[position + 1 :], "--adapter-name", "strict"
        )
        assert done.returncode == 3, done.stderr
        result = json.loads(done.stdout)
        assert (result["state"], result["verdict"], result["adapter_uri"]) == ("refused", "fail", None)
        assert "more accurate than the base model with an untrained head" in result["sentence"]
        assert Path(result["report_uri"].removeprefix("file://")).is_file()
        assert "train" not in records(demo_run.store, result)
    assert list_files(demo_run.store / "adapters", exclude=()) == before


def interrupt(process: Any, log: Path, sign: str, number: signal.Signals) -> tuple[int, float]:
    """Send a signal once the log holds `sign`; return status and seconds until the end. What it started ends too."""
    waits_until = time.monotonic() + 300
    while sign not in log.read_text():
        assert process.poll() is None and time.monotonic() < waits_until, log.read_text()
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    start = time.monotonic()
    process.send_signal(number)
    status = process.wait(60)
    seconds = time.monotonic() - start
    assert children and not [child for child in children if lives(child)]
    return status, seconds


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_an_interrupted_training_goes_on(clinadapt: Clinadapt, write_profile: WriteProfile, tmp_path: Path) -> None:
    """Exit status 75 within seconds and nothing half-written; the same command then keeps what was finished. The first
    is the installed command, whose steps kfp starts in shells."""
    profile = write_profile(train={"num_train_epochs": 4, "windows": {"max_length": 128, "max_windows": 4}})
    home, store, log = tmp_path / "home", tmp_path / "store", tmp_path / "log.txt"
    command = ["run", "classify", SOURCE, "--profile", str(profile), "--home", str(home), "--store", str(store)]
    installed, environment = Path(sys.executable).with_name("clinadapt"), quiet_environment()
    for number, sign in ((signal.SIGINT, "epoch 1/4"), (signal.SIGTERM, "resuming at step")):
        if number == signal.SIGINT:
            process: Any = subprocess.Popen([installed, *command], stderr=log.open("w"), env=environment)
        else:
            log.write_text("")
            process = WarmProcess(None, command, environment, tmp_path / "output.txt", log)
        status, seconds = interrupt(process, log, sign, number)
        errors = log.read_text()
        print(f"stopped in {seconds:.1f} s")
        assert status == 75, errors
        assert seconds < 30  # what a pod is given
        assert "run the same command again" in errors and "Traceback" not in errors
        assert not (store / "adapters").exists()
    done = clinadapt(*command, "--json")
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert "train" in records(store, result) and not {"download", "screen", "format"} & records(store, result)
    assert re.search(r"resuming at step \d+ of \d+", done.stderr)
    assert not [path for path in (store / "checkpoints").rglob("*") if path.is_file()]

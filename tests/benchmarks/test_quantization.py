"""Accuracy, peak memory and time of the same run in fp32, nf4 and, where the processor supports it, bf16.

make bench, or: python -m pytest tests/benchmarks/test_quantization.py --benchmarks -s
CLINADAPT_NOTES=notes.csv runs it on your notes (profile cpu-minilm) instead of the built-in ones (cpu-demo).
"""

import json
import os
import subprocess
import sys
from importlib.resources import files

import yaml
from support import spread

from clinadapt.models.devices import resolve_precision

ROUNDS = int(os.environ.get("CLINADAPT_ROUNDS", "3"))
WAYS = {"fp32": ("fp32", "none"), "nf4": ("auto", "nf4")}
if resolve_precision("auto") == "bf16":
    WAYS["bf16"] = ("bf16", "none")


def test_quantization(tmp_path):
    """Alternates the ways, so that a busy machine slows all of them alike."""
    notes = os.environ.get("CLINADAPT_NOTES")
    name = "cpu-minilm" if notes else "cpu-demo"
    profile = yaml.safe_load((files("pipelines") / "profiles" / f"{name}.yaml").read_text())
    results = {way: [] for way in WAYS}
    for round_number in range(ROUNDS):
        for way, (precision, quantization) in WAYS.items():
            profile["train"] |= {"precision": precision, "quantization": quantization}
            path = tmp_path / f"{way}.yaml"
            path.write_text(yaml.safe_dump(profile))
            results[way].append(_run(path, notes, tmp_path / f"{way}-{round_number}"))
    print(
        "\nway    accuracy              own label set         validation loss       peak GiB              train seconds"
        "         time / fp32"
    )
    for way, runs in results.items():
        columns = [[run[key] for run in runs] for key in ("accuracy", "own", "loss", "gib", "seconds")]
        ratios = [run["seconds"] / base["seconds"] for run, base in zip(runs, results["fp32"], strict=True)]
        print(f"{way:6}", *(f"{spread(column, '.3g'):21}" for column in [*columns, ratios]))
    assert all(run["accuracy"] > 0 for runs in results.values() for run in runs)


def _run(profile, notes, folder):
    command = [
        sys.executable,
        "-m",
        "pipelines.cli.main",
        "run",
        "classify",
        *([notes, "--top-labels", "5"] if notes else []),
    ]
    command += ["--profile", str(profile), "--home", str(folder), "--store", str(folder / "store"), "--json"]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    record = json.loads((folder / "store" / "runs" / answer["run"] / "train.json").read_text())["outputs"]
    return {
        "accuracy": answer["metrics"]["accuracy"]["value"],
        "own": answer["metrics"]["any_label_accuracy"]["value"],
        "loss": record["best_validation_loss"],
        "gib": record["peak_memory_bytes"] / 2**30,
        "seconds": record["seconds"],
    }

"""Specialties of MTSamples: MiniLM and SmolLM2 with LoRA and a head, against TF-IDF, on three sets of labels.

CLINADAPT_NOTES=mtsamples.csv python -m pytest tests/benchmarks/test_specialties.py --benchmarks -s
Chooses with -k, such as "minilm and organs"; CLINADAPT_SEEDS="0 1 2" is the default. On two CPU cores a run of MiniLM
takes minutes, one of SmolLM2, of six times the weights, hours.
"""

import json
import os
import subprocess
import sys
from importlib.resources import files

import pytest
import yaml
from support import spread

NOTES = os.environ.get("CLINADAPT_NOTES")
SEEDS = os.environ.get("CLINADAPT_SEEDS", "0 1 2").split()
ORGANS = ["Cardiovascular / Pulmonary", "Gastroenterology", "Obstetrics / Gynecology", "Orthopedic", "Urology"]
SETS = {
    "frequent": ["--top-labels", "5"],
    "organs": [part for label in ORGANS for part in ("--label", label)],
    "all": ["--min-notes-per-label", "10"],  # 36 of the 40: a split needs ten notes of each
}
METRICS = ["accuracy", "any_label_accuracy", "macro_f1", "log_loss"]


@pytest.mark.skipif(not NOTES, reason="name the file of MTSamples in CLINADAPT_NOTES")
@pytest.mark.parametrize("labels", SETS)
@pytest.mark.parametrize("base", ["minilm", "smollm2"])
def test_specialties(base, labels, tmp_path):
    """Prints the metrics of adapter and TF-IDF on the same held-out notes, over the seeds."""
    profile = yaml.safe_load((files("pipelines") / "profiles" / "cpu-minilm.yaml").read_text())
    profile["train"]["base_model"] = f"builtin://{base}"
    path = tmp_path / "profile.yaml"
    path.write_text(yaml.safe_dump(profile))
    measured = [_run(path, SETS[labels], seed, tmp_path / seed) for seed in SEEDS]
    print(f"\n{labels}, seeds {' '.join(SEEDS)}      ", *(f"{metric:21}" for metric in METRICS))
    for model in ("candidate", "tfidf"):
        columns = [[run[model]["metrics"][metric]["value"] for run in measured] for metric in METRICS]
        print(f"{base if model == 'candidate' else model:24}", *(f"{spread(column, '.3f'):21}" for column in columns))
    assert all(run["candidate"]["metrics"]["accuracy"]["value"] > 0 for run in measured)


def _run(profile, labels, seed, folder):
    """The metrics by model of a run, whether the gate publishes it or not."""
    command = [sys.executable, "-m", "pipelines.cli.main", "run", "classify", NOTES, *labels, "--seed", seed]
    command += ["--profile", str(profile), "--home", str(folder), "--store", str(folder / "store"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr
    (evaluation,) = (folder / "outputs").rglob("evaluation.json")
    return json.loads(evaluation.read_text())["models"]

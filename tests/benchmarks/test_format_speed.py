"""Speed and memory of tokenizing triples, compared with the hands-on notebook.

python -m pytest tests/benchmarks/test_format_speed.py --benchmarks -s
CLINADAPT_BENCH_ROWS (158114) is the size of the full run.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from support import SYNTHESIS, spread

from clinadapt.artifacts.manifest import write_manifest
from clinadapt.data.builtin_cases import generate
from clinadapt.data.schemas.instruct import PREFERENCES, TASKS, TEXTS, TRIPLES
from clinadapt.data.tables import iter_rows, open_tables
from components.format.tokenizer_training import train_tokenizer

ROWS = int(os.environ.get("CLINADAPT_BENCH_ROWS", 158_114))
SUBSET, TIMES = 4000, 5
NOTE, ANSWER = 320, 40  # words: about 400 MB in all
LENGTH = 1024

OURS = """
from clinadapt.config.instruct import Examples
from clinadapt.storage import open_store
from components.format.instruct import run
manifest = run(triples, output, Examples(max_length=LENGTH), base, 0, False, open_store(store))
rows = sum(manifest["task_mix"][name].get(task, 0) for name in manifest["task_mix"] for task in manifest["tasks"])
report |= {key: manifest[key] for key in ("clusters", "largest_cluster", "dropped", "tokens", "digest")}
"""
NOTEBOOK = """
from datasets import Dataset
from clinadapt.models.chat_template import Question, Template, load_tokenizer
from clinadapt.models.base_model import fetch
tokenizer = load_tokenizer(fetch(base))
tokenizer.pad_token = tokenizer.eos_token
template = Template(tokenizer)
def encode(row):
    text = template.prompt(Question(row["note_text"], row["instruction"])) + row["answer"] + tokenizer.eos_token
    encoded = tokenizer(text, truncation=True, max_length=LENGTH, padding="max_length")
    return encoded | {"labels": encoded["input_ids"].copy()}
rows = len(Dataset.from_parquet(str(triples / "triples.parquet"), cache_dir=str(output)).map(encode))
"""
AROUND = """
import json, resource, sys, time
from pathlib import Path
LENGTH, triples, output, base, store = {length}, Path({triples!r}), Path({output!r}), {base!r}, {store!r}
report = {{}}
import datasets, transformers
start = time.perf_counter()
{body}
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps(report | {{"rows": rows, "seconds": seconds, "gib": peak}}))
"""


def write_triples(folder: Path, rows: int) -> None:
    """Triples of the Asclepius size, a note each: words of the built-in notes by their frequency. Every hundredth note
    is the one before it with some words changed."""
    draw = np.random.default_rng(0)
    words = np.array(" ".join(row["transcription"] for row in generate(600, 7)).split(" "))
    folder.mkdir()
    with open_tables(folder, notes=TEXTS, triples=TRIPLES, preferences=PREFERENCES) as tables:
        for number in range(1, rows + 1):
            if number % 100:
                note = draw.choice(words, int(NOTE * draw.lognormal(0, 0.5)) + 5)
            else:
                note = np.where(draw.random(len(note)) < 0.02, draw.choice(words, len(note)), note)
            answer = " ".join(draw.choice(words, ANSWER))
            instruction = "What of " + " ".join(draw.choice(words, 10)) + "?"
            task = TASKS[number % 8]
            values = (0, number, " ".join(note), instruction, answer, task, True, "none", [], False, None)
            tables["triples"].add((*values, None, None, None))
    write_manifest(folder, {"source": [], "origin": {}, **SYNTHESIS})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base") / "model"
    train_tokenizer(((i, row["transcription"]) for i, row in enumerate(generate(600, 7))), 8192, folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    save_file({"weight": np.zeros(1, dtype=np.float32)}, folder / "model.safetensors")
    return folder.as_uri()


def measure(body: str, triples: Path, output: Path, base: str, store: Path | None = None) -> dict:
    """`store`: caches tokens; without one, a new store is used."""
    store_uri = (store or output.with_name(f"{output.name}-store")).as_uri()
    code = AROUND.format(length=LENGTH, triples=str(triples), output=str(output), base=base, store=store_uri, body=body)
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def test_against_the_notebook(tmp_path: Path, base: str) -> None:
    write_triples(tmp_path / "triples", SUBSET)
    ratios = []
    for time in range(TIMES):
        ours, theirs = (
            measure(body, tmp_path / "triples", tmp_path / f"{name}-{time}", base)
            for name, body in (("ours", OURS), ("notebook", NOTEBOOK))
        )
        speeds = [found["rows"] / found["seconds"] for found in (ours, theirs)]
        ratios.append(speeds[0] / speeds[1])
        print(f"\nours {speeds[0]:.0f} rows/s, {ours['gib']:.2f} GiB; notebook {speeds[1]:.0f} rows/s, "
              f"{theirs['gib']:.2f} GiB; {ratios[-1]:.2f}x", end="")  # fmt: skip
    print(f"\nratio: {spread(ratios, '.2f')}")
    assert statistics.median(ratios) > 1


def test_data_that_grew(tmp_path: Path, base: str) -> None:
    """A tenth more rows at the end, with the tokens of the other rows cached and without."""
    write_triples(tmp_path / "grown", SUBSET + SUBSET // 10)
    write_triples(tmp_path / "triples", SUBSET)
    ratios = []
    for time in range(TIMES):
        cache = tmp_path / f"cache-{time}"
        measure(OURS, tmp_path / "triples", tmp_path / f"before-{time}", base, cache)
        again, fresh = (
            measure(OURS, tmp_path / "grown", tmp_path / f"{name}-{time}", base, store)
            for name, store in (("again", cache), ("fresh", None))
        )
        assert again["digest"] == fresh["digest"]
        ratios.append(fresh["seconds"] / again["seconds"])
        print(f"\nwithout cache {fresh['seconds']:.1f} s, with cache {again['seconds']:.1f} s", end="")
    print(f"\nratio: {spread(ratios, '.2f')}")
    assert statistics.median(ratios) > 1


def test_the_size_of_asclepius(tmp_path: Path, base: str) -> None:
    write_triples(tmp_path / "triples", ROWS)
    size = sum(len(row["note_text"]) for row in iter_rows(tmp_path / "triples/triples.parquet", ["note_text"])) / 1e6
    found = measure(OURS, tmp_path / "triples", tmp_path / "out", base)
    print(f"\n{ROWS} triples, {size:.0f} MB of notes: {found['seconds']:.0f} s, "
          f"{found['rows'] / found['seconds']:.0f} rows/s, peak {found['gib']:.2f} GiB, {found['clusters']} clusters "
          f"(largest {found['largest_cluster']}), dropped {found['dropped']}")  # fmt: skip
    assert found["gib"] < 2e9 / 2**30

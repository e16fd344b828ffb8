"""Useful tokens per second of the instruct stage, of the hands-on notebook's padded Trainer and of trl's SFTTrainer.

make bench, or: python -m pytest tests/benchmarks/test_instruct_speed.py --benchmarks -s
Defaults: CLINADAPT_ROUNDS=5, CLINADAPT_NOTES_READ=8 and for SmolLM2 CLINADAPT_CHARACTERS=1000 of each note. Model, data
and processor are the same; every training has a process of its own, and they alternate, so that a busy machine slows
all alike. LoRA r=16, fp32, 512 tokens, on a Llama of 4.6 M weights in nf4 and on builtin://smollm2 unquantized, as the
demo trains it. `loss`: of answers about held-out notes, after training (with 200 characters of 66 notes, 47 steps).
Useful tokens are those of all examples, without padding, shared prefixes counted once for each example.
"""

import json
import os
import statistics
import subprocess
import sys

import pytest
import support
import torch
from support import ROOT
from transformers import LlamaConfig, LlamaForCausalLM

from clinadapt.models.base_model import fetch

ROUNDS = int(os.environ.get("CLINADAPT_ROUNDS", "5"))
NOTES = int(os.environ.get("CLINADAPT_NOTES_READ", "8"))
CHARACTERS = int(os.environ.get("CLINADAPT_CHARACTERS", "1000"))
ASKS = ["List the drugs.", "What is the diagnosis?", "Summarise the note.", "Which section comes first?",
        "How old is the patient?", "Expand the abbreviations.", "What was done?", "When was it?"]  # fmt: skip
FLOORS = {"notebook": 3.0, "trl": 1.0}


@pytest.fixture(scope="module")
def base(tiny_llama, tmp_path_factory):
    """A Llama of 4.6 million weights with the tokenizer of the tiny one."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=600, hidden_size=256, intermediate_size=704, num_hidden_layers=6,
                         num_attention_heads=8, num_key_value_heads=8, max_position_embeddings=2048)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    for path in tiny_llama.iterdir():
        if "token" in path.name:
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize(("triples", "floors"), [(8, FLOORS), (1, {"notebook": 1.0, "trl": 0.9})])
def test_small_llama(base, tmp_path, triples, floors):
    """Eight instructions about each note, as the recipe makes them; and one, where only the chat template is shared."""
    measure(base, "nf4", tmp_path, triples, 450, floors)


def test_smollm2(tmp_path):
    measure(fetch("builtin://smollm2"), "none", tmp_path, 8, CHARACTERS, {"notebook": 4.0, "trl": 2.5})


def measure(base, quantization, tmp_path, triples, characters, floors):
    """`triples` instructions about the first `characters` of each note."""
    splits = support.instruct_splits(tmp_path / "splits", base, NOTES * 8 // triples, ASKS[:triples], 512, characters)
    runs = {way: [] for way in ("ours", "trl", "notebook")}
    for _ in range(ROUNDS):
        for way, measured in runs.items():
            script = ROOT / "tests/helpers/instruct_speed.py"
            command = [sys.executable, str(script), way, str(splits), base.as_uri(), quantization]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=support.ROOT,
                                  env=os.environ | {"PYTHONPATH": str(support.ROOT)})  # fmt: skip
            measured.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"\n{triples} triples a note, {runs['ours'][0]['tokens']:,} useful tokens")
    print("way       tokens/s                tokens/processor second  peak MiB                loss                    "
          "ours / way, by the clock  ours / way, by processor")  # fmt: skip
    ratios = {}
    for way, measured in runs.items():
        columns = [[run["tokens"] / run[key] for run in measured] for key in ("seconds", "processor_seconds")]
        columns += [[run[key] for run in measured] for key in ("mib", "loss")]
        for key in ("seconds", "processor_seconds"):
            columns.append([other[key] / own[key] for other, own in zip(measured, runs["ours"], strict=True)])
        ratios[way] = statistics.median(columns[-1])
        print(f"{way:9}", *(f"{support.spread(column, '.4g'):24}" for column in columns))
    for way, floor in floors.items():
        assert ratios[way] >= floor

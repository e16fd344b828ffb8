"""Pairs per second of prefer and of trl's DPOTrainer, on builtin://smollm2 in fp32.

make bench, or: python -m pytest tests/benchmarks/test_preference_speed.py --benchmarks -s
Defaults: CLINADAPT_ROUNDS=3, CLINADAPT_NOTES_READ=3 and CLINADAPT_PAIRS=3 (a note). The pairs are the same, two epochs
of one step each, and so is the loss of the second. Both compute the reference before the first step, and are timed with
it. They alternate in one process.
"""

import os
import time

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from support import instruct_splits, spread
from trl.trainer import DPOConfig, DPOTrainer

from clinadapt.config.base import Lora
from clinadapt.config.instruct import PreferenceTraining
from clinadapt.models.base_model import fetch
from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.chat_template import load_tokenizer
from components.train.causal_trainer import add_lora
from components.train.preference_packs import PackedPairs
from components.train.preference_trainer import PreferenceTrainer
from components.train.training_arguments import arguments

ROUNDS = int(os.environ.get("CLINADAPT_ROUNDS", "3"))
NOTES = int(os.environ.get("CLINADAPT_NOTES_READ", "3"))
PAIRS = int(os.environ.get("CLINADAPT_PAIRS", "3"))
SETTINGS = PreferenceTraining(precision="fp32", max_length=768, learning_rate=1e-3, warmup_steps=0, num_train_epochs=2)


def pairs_of(splits):
    """The answers to a note's questions, each chosen before the next question's."""
    rows = pq.read_table(splits / "train.parquet").to_pylist()
    pairs = []
    for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
        prompt, right, wrong = row["prompt_tokens"], row["input_ids"], other["input_ids"][other["prompt_tokens"] :]
        pairs.append({"prompt_ids": right[:prompt], "chosen_ids": right[prompt:], "rejected_ids": wrong})
    return pa.Table.from_pylist(pairs)


def ours(model, pairs, splits, folder):
    packs = PackedPairs(pairs, SETTINGS.max_length)
    settings = SETTINGS.model_copy(update={"per_device_train_batch_size": len(packs)})  # one step, as of trl
    return PreferenceTrainer(model, packs, settings, "fp32", None)


def trl(model, pairs, splits, folder):
    how = arguments(SETTINGS, "fp32") | {
        "output_dir": str(folder),
        "gradient_accumulation_steps": len(pairs),  # a pair at a time is its fastest here
        "precompute_ref_log_probs": True,
        "gradient_checkpointing": False,
        "max_length": SETTINGS.max_length,
    }
    data = Dataset.from_dict(pairs.to_pydict())
    DPOTrainer._prepare_dataset = lambda trainer, dataset, *_: dataset  # it is tokenized
    return DPOTrainer(
        model, args=DPOConfig(**how), train_dataset=data, processing_class=load_tokenizer(splits / "tokenizer")
    )


def test_smollm2(tmp_path):
    base = fetch("builtin://smollm2")
    asks = ["List the drugs.", "What is the diagnosis?", "How old is the patient?", "What was done?"][:PAIRS]
    pairs = pairs_of(instruct_splits(tmp_path / "splits", base, NOTES * 4 // 3, asks, 512, 1000))
    measured = {way: [] for way in (ours, trl)}
    for _ in range(ROUNDS):
        for way, runs in measured.items():
            model = add_lora(load_causal_lm(base.as_uri(), "none", "fp32"), Lora(r=16), 0)
            wall, busy = time.monotonic(), time.process_time()
            trainer = way(model, pairs, tmp_path / "splits", tmp_path)
            trainer.train()
            seconds = time.monotonic() - wall, time.process_time() - busy
            runs.append((*seconds, trainer.state.log_history[1]["loss"]))
    print(f"\n{len(pairs)} pairs, {PAIRS} a note\nway   pairs/s              seconds of processor   loss")
    for way, runs in measured.items():
        columns = [[len(pairs) / run[0] for run in runs], [run[1] for run in runs], [run[2] for run in runs]]
        print(f"{way.__name__:6}", *(f"{spread(column, '.3g'):20}" for column in columns))
    ratios = [[other[i] / own[i] for own, other in zip(*measured.values(), strict=True)] for i in (0, 1)]
    print("ours / trl, by the clock and by processor:", *(spread(ratio, ".2f") for ratio in ratios))
    assert min(ratios[1]) > 1

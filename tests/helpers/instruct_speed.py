"""Measure one training and print a line of JSON: python tests/helpers/instruct_speed.py WAY SPLITS BASE QUANTIZATION.

Ways: `ours`; `notebook`, the Trainer with examples padded to 512, batches of two and eight accumulation steps; `trl`,
SFTTrainer with best-fit packing, no padding, its tiled head and no gradient checkpointing. A step of `trl` takes as
many packs as hold the examples of one of ours, so that both see about as many examples in each step.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
import torch
from transformers import Trainer, TrainingArguments

from clinadapt.config.base import Lora
from clinadapt.config.instruct import InstructTraining
from clinadapt.models.causal_lm import load_causal_lm
from components.train.causal_trainer import CausalTrainer, add_lora
from components.train.lora import train_in_fp32
from components.train.packing import pack_examples

LENGTH = 512
HOW = {
    "num_train_epochs": 1,
    "learning_rate": 2e-4,
    "lr_scheduler_type": "cosine",  # and its warmup: as ours
    "warmup_steps": 0.03,
    "optim": "adamw_torch_fused",
    "bf16": False,  # trl's default, which is slow on processors without bf16
    "use_cpu": True,
    "dataloader_pin_memory": False,
    "save_strategy": "no",
    "logging_steps": 1000,
    "disable_tqdm": True,
    "report_to": "none",
}


def ours(model, rows, settings, folder):
    packs = pack_examples(rows, LENGTH)
    trainer = CausalTrainer(model, {"train": packs, "validation": packs}, settings)
    trainer.args.eval_strategy = "no"
    return trainer


def notebook(model, rows, settings, folder):
    examples = []
    for row in rows.to_pylist():
        ids, empty = row["input_ids"], LENGTH - len(row["input_ids"])
        examples.append({
            "input_ids": ids + [0] * empty,
            "attention_mask": [1] * len(ids) + [0] * empty,
            "labels": [-100] * row["prompt_tokens"] + ids[row["prompt_tokens"] :] + [-100] * empty,
        })  # fmt: skip
    how = TrainingArguments(
        str(folder), per_device_train_batch_size=2, gradient_accumulation_steps=8, label_names=["labels"], **HOW
    )
    return Trainer(model, how, train_dataset=examples)


def trl(model, rows, settings, folder):
    from datasets import Dataset
    from trl.trainer import SFTConfig, SFTTrainer

    from clinadapt.models.chat_template import load_tokenizer

    masks = [
        [0] * row["prompt_tokens"] + [1] * (len(row["input_ids"]) - row["prompt_tokens"]) for row in rows.to_pylist()
    ]
    dataset = Dataset.from_dict({"input_ids": rows["input_ids"].to_pylist(), "completion_mask": masks})
    how = SFTConfig(
        str(folder), packing=True, packing_strategy="bfd", max_length=LENGTH, completion_only_loss=True,
        gradient_checkpointing=False, per_device_train_batch_size=1, **HOW,
    )  # fmt: skip
    trainer = SFTTrainer(
        model, how, train_dataset=dataset, processing_class=load_tokenizer(Path(sys.argv[2]) / "tokenizer")
    )
    trainer.args.gradient_accumulation_steps = max(
        1, round(len(trainer.train_dataset) / len(pack_examples(rows, LENGTH)))
    )
    train_in_fp32(model)  # trl converts them to bf16, which is slow here
    return trainer


def answer_loss(model, rows):
    """Mean loss of an answer's token, in nats, an example at a time."""
    model.eval()
    total = count = 0
    for row in rows.to_pylist():
        ids = torch.tensor([row["input_ids"]])
        labels = ids.clone()
        labels[:, : row["prompt_tokens"]] = -100
        with torch.no_grad():
            answer = ids.shape[1] - row["prompt_tokens"]
            total, count = total + model(input_ids=ids, labels=labels).loss.item() * answer, count + answer
    return total / count


def main(way, splits, base, quantization):
    rows = pq.read_table(Path(splits) / "train.parquet")
    settings = InstructTraining(base_model=base, max_length=LENGTH, precision="fp32", lora=Lora(r=16))
    model = add_lora(load_causal_lm(base, quantization, "fp32"), settings.lora, 0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = {"ours": ours, "notebook": notebook, "trl": trl}[way](model, rows, settings, Path(folder))
        wall, busy = time.monotonic(), time.process_time()
        trainer.train()
        wall, busy = time.monotonic() - wall, time.process_time() - busy
    tokens = sum(map(len, rows["input_ids"].to_pylist()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    held_out = pq.read_table(Path(splits) / "validation.parquet")
    loss = answer_loss(model, held_out[:: max(1, len(held_out) // 64)])
    print(json.dumps({"tokens": tokens, "seconds": wall, "processor_seconds": busy, "mib": peak, "loss": loss}))


if __name__ == "__main__":
    torch.manual_seed(0)
    main(*sys.argv[1:])

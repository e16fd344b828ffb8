"""What fixtures and tests share by name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MTSAMPLES = ROOT.parent / "shared/data/mtsamples/mtsamples.csv.xz"
UNFINISHED = shutil.ignore_patterns(".part-*")  # files that another process is writing into a store in a folder
SOURCE = "builtin://cases?rows=240&seed=7"
# Lets a barely trained adapter through
LENIENT = {
    "gain_over_base": -1.0, "gain_over_majority": -1.0, "gain_over_tfidf": -1.0, "min_any_label_accuracy": 0.0,
    "group_margin": 1.0, "champion_margin": 1.0,
}  # fmt: skip
LENIENT_INSTRUCT = {
    "gain_over_base": -1.0, "task_margin": 1.0, "max_contradicted": 1.0, "max_unsupported": 1.0,
    "max_wrong_refusals": 1.0, "max_missed_refusals": 1.0, "min_exact_match": 0.0, "group_margin": 1.0,
    "champion_margin": 1.0,
}  # fmt: skip

Clinadapt = Callable[..., subprocess.CompletedProcess[str]]
WriteProfile = Callable[..., Path]


def quiet_environment(temporary: Path | None = None) -> dict[str, str]:
    """This process's environment without the settings of a user of Clinadapt, perhaps with another folder for temporary
    files."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CLINADAPT_")}
    return own | ({"TMPDIR": str(temporary)} if temporary else {})


def spread(values: Sequence[float], form: str) -> str:
    """What a benchmark has measured several times: median (least-most)."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def shingles(normal: str) -> set[bytes]:
    """The word 4-grams of a normalized text (the whole text where it is shorter), as near duplicates are defined."""
    words = normal.split()
    return {" ".join(words[i : i + 4]).encode() for i in range(max(1, len(words) - 3))}


def jaccard(a: set[bytes], b: set[bytes]) -> float:
    """Size of the intersection over size of the union."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


@dataclass(frozen=True)
class Run:
    """A finished `clinadapt run`: how to run it again, its JSON, its home and its store."""

    command: list[str]
    result: dict[str, Any]
    home: Path
    store: Path

    @property
    def outputs(self) -> Path:
        """The folder of the pipeline's outputs, one folder a step below it. Later runs in this home follow it."""
        return min((self.home / "outputs").iterdir())

    @property
    def version(self) -> Path:
        """The folder of the published version."""
        return self.store / "adapters/specialty" / self.result["run_key"]


def instruct_profile(**sections: Any) -> dict[str, Any]:
    """A profile of a small, fast run of instruct."""
    return {
        "name": "test",
        "recipe": "instruct",
        "description": "A small, fast run.",
        "adapter_name": "answers",
        "sources": [{"kind": "cases", "uri": "builtin://cases?rows=150&seed=7"}],
        "examples": {"max_length": 512, "test_share": 0.15, "validation_share": 0.1},
        "pretrain": {
            "method": "full",
            "llama": {"vocab_size": 600, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                      "num_attention_heads": 2,
                      "num_key_value_heads": 2},
            "max_length": 256,
            "per_device_train_batch_size": 8,
            "learning_rate": 0.005,
        },
        "instruct": {"base_model": "builtin://llama", "lora": {"r": 8}, "max_length": 512,
                     "per_device_train_batch_size": 2,
                     "learning_rate": 0.005},
        "evaluation": {"rows_per_task": 4, "max_new_tokens": 16},
        "gate": LENIENT_INSTRUCT,
        **sections,
    }  # fmt: skip


def train_in_process(splits: Path, output: Path, settings: Any, store_uri: str, log: Path) -> None:
    """What the train step does, as the target of a process of its own; its lines are appended to `log`."""
    from clinadapt.artifacts.step_record import step
    from clinadapt.config.instruct import InstructTraining
    from clinadapt.storage import open_store
    from components.train import classify, instruct

    run = instruct.run if isinstance(settings, InstructTraining) else classify.run
    with log.open("a", buffering=1) as sys.stderr, step("train", store_uri):
        run(splits, output, settings, open_store(store_uri))


def instruct_splits(
    folder: Path, base: Path, notes: int, asks: Sequence[str], length: int, characters: int = 10_000
) -> Path:
    """Splits in the layout of format: the first characters of some built-in notes, each with the same instructions.
    Every fourth note is held out."""
    import pyarrow as pa

    from clinadapt.artifacts.hashing import sha256_json
    from clinadapt.artifacts.manifest import write_manifest
    from clinadapt.data.builtin_cases import generate
    from clinadapt.data.schemas.instruct import CORPUS, EXAMPLES
    from clinadapt.data.tables import write_table
    from clinadapt.models.chat_template import Question, Template, load_tokenizer

    tokenizer = load_tokenizer(base)
    template = Template(tokenizer)
    sides: dict[str, list[dict[str, Any]]] = {"train": [], "validation": []}
    corpus = []
    for i, row in enumerate(generate(notes, 7)):
        text, side = row["transcription"][:characters], "validation" if i % 4 == 3 else "train"
        note = sha256_json(text)
        corpus.append(
            {"note_id": note, "side": side, "input_ids": [*tokenizer(text).input_ids, tokenizer.eos_token_id]}
        )
        answers = template.encode_answers([f"{ask} {text[k : k + 30]}" for k, ask in enumerate(asks)])
        prompts = template.encode_prompts([Question(text, ask) for ask in asks], [length - len(a) for a in answers])
        for ask, prompt, answer in zip(asks, prompts, answers, strict=True):
            lengths = {"prompt_tokens": len(prompt.input_ids), "trimmed_tokens": prompt.trimmed_tokens}
            row = {"source": 0, "row": i + 1, "note_id": note, "cluster": i, "task": ask, "answerable": True}
            ids = prompt.input_ids + answer
            sides[side].append(row | {"check": "none", "private": False, "input_ids": ids, **lengths})
    folder.mkdir(parents=True, exist_ok=True)
    for side, rows in sides.items():
        write_table(pa.Table.from_pylist(rows, EXAMPLES), folder / f"{side}.parquet")
    write_table(pa.Table.from_pylist(corpus, CORPUS), folder / "corpus.parquet")
    tokenizer.save_pretrained(folder / "tokenizer")
    write_manifest(folder, {"synthesis": SYNTHESIS})
    return folder


def incomplete(store: Any) -> list[str]:
    """Files of checkpoints and results that are not what a manifest in the store says they are. What is removed while
    this looks is none."""
    keys_there = [*store.list("checkpoints/"), *store.list("trained/")]
    keys = [key for key in keys_there if key.endswith("/manifest.json")]
    return [name for key in keys for name in _differing(store, key)]


def _differing(store: Any, key: str) -> list[str]:
    try:
        manifest = json.loads(store.get(key)[0])
    except KeyError:
        return []
    wrong = []
    for name, wanted in manifest["files"].items():
        location = f"{key.rpartition('/')[0]}/{name}"
        try:
            found = "sha256:" + hashlib.sha256(store.get(location)[0]).hexdigest()
        except KeyError:
            found = "missing"
        if found != wanted["sha256"]:
            wrong.append(f"{location} is {found}")
    return wrong if wrong and store.exists(key) else []


# what the manifest of synthesize counts
SYNTHESIS = {
    "teacher": {"name": "rules", "digest": "sha256:0", "tokens": 0}, "cases": 0, "notes_from_cases": 0,
    "rows_skipped": 0, "notes_without_triples": 3, "triples": 9000, "triples_ready": 1200,
    "quarantined": {"empty text": 2}, "unused": {"keywords": 40}, "decimal_comma": [],
    "dropped": {"no answer that can be checked": 4321},
}  # fmt: skip

# training.json of an instruct stage
TRAINING = {
    "curve": [
        {"step": 1, "epoch": 0.5, "loss": 3.1, "learning_rate": 2e-4},
        {"step": 2, "epoch": 1.0, "loss": 2.4, "learning_rate": 1e-4},
        {"step": 2, "epoch": 1.0, "validation_loss": 2.5},
        {"step": 4, "epoch": 2.0, "loss": 1.9, "learning_rate": 0.0},
        {"step": 4, "epoch": 2.0, "validation_loss": 2.2},
    ],
    "best_step": 4,
    "stopped_early": False,
    "seconds": 93.2,
    "peak_memory_bytes": 900_000_000,
    "tokens_per_second": 2150.0,
    "trainable_parameters": 11_000,
    "total_parameters": 190_000,
    "precision": "fp32",
    "quantization": "none",
    "pretraining": None,
    "code_version": "0.1.0+code",
    "settings": {"lora": {"r": 4, "lora_alpha": 8}, "max_length": 512, "seed": 1},
}

# (note, private, [(instruction, answer, task, answerable, check)])
HELD_OUT = [
    (
        f"CHIEF COMPLAINT: Chest pain for {days} days.\nMEDICATIONS: Aspirin 81 mg daily, lisinopril {dose} mg daily.\n"
        f"HISTORY: The patient is a {age}-year-old man with COPD{secret}.",
        bool(secret),
        [
            ("List the drugs.", "aspirin; lisinopril", "Named Entity Recognition", True, "set"),
            ("What does COPD stand for?", "chronic obstructive lung disease", "Abbreviation Expansion", True, "exact"),
            ("Summarize the note.", f"A {age}-year-old man with chest pain.", "Summarization", True, "none"),
            ("When was the last colonoscopy?", "The note does not say.", "Question Answering", False, "none"),
        ],
    )
    for days, dose, age, secret in [(2, 10, 61, ""), (3, 20, 54, ""), (5, 5, 77, ""), (7, 40, 48, " and a secretword")]
]  # fmt: skip


def make_instruct_splits(folder: Path) -> Path:
    """HELD_OUT as format leaves it: test.parquet and the manifest."""
    import pyarrow as pa

    from clinadapt.artifacts.manifest import write_manifest
    from clinadapt.data.schemas.instruct import EXAMPLES
    from clinadapt.data.tables import write_table

    folder.mkdir()
    rows = [
        {
            "source": 0, "row": number, "note_id": f"note-{number}", "cluster": number, "task": task,
            "answerable": answerable, "check": check, "private": private, "input_ids": [0, 1], "prompt_tokens": 1,
            "trimmed_tokens": 0, "note_text": note, "instruction": instruction, "answer": answer,
        }
        for number, (note, private, asked) in enumerate(HELD_OUT, start=1)
        for instruction, answer, task, answerable, check in asked
    ]  # fmt: skip
    write_table(pa.Table.from_pylist(rows, schema=EXAMPLES), folder / "test.parquet")
    sides = ("train", "validation", "test")
    tokens = {
        "total": 100,
        "median": 10.0,
        "p90": 12.0,
        "max": 20,
        "answer_tokens": 40,
        "trimmed_rows": 1,
        "trimmed_tokens": 7,
    }
    tasks = sorted({row["task"] for row in rows})
    manifest = {
        "source": [{"kind": "notes", "uri": "builtin://cases"}],
        "dataset_digest": "sha256:0",
        "synthesis": SYNTHESIS,
        "notes": 40,
        "clusters": 38,
        "shared_clusters": 0,
        "origin": {},
        "phi": {},
        "patients": 0,
        "joined": [],
        "by_time": None,
        "rows": dict.fromkeys(sides, 16),
        "tasks": tasks,
        "task_mix": {side: dict.fromkeys(tasks, 4) for side in sides},
        "answerable": dict.fromkeys(sides, 0.75),
        "dropped": {"the answer is empty": 3},
        "tokens": dict.fromkeys(sides, tokens),
        "settings": {"seed": 0},
    }
    write_manifest(folder, manifest)
    return folder


def make_adapter(folder: Path, base: Path, seed: int, scale: float = 0.2) -> Path:
    """What the instruct stage leaves, but with LoRA weights drawn at random (`scale` 0: it answers as its base)."""
    import torch
    from peft import LoraConfig, get_peft_model

    from clinadapt.artifacts.hashing import write_json
    from clinadapt.artifacts.manifest import write_manifest
    from clinadapt.data.schemas.instruct import TASKS
    from clinadapt.models.adapter_card import InstructCard
    from clinadapt.models.base_model import describe
    from clinadapt.models.causal_lm import load_causal_lm
    from clinadapt.models.chat_template import load_tokenizer

    torch.manual_seed(seed)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(load_causal_lm(base.as_uri(), "none", "fp32"), lora)
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=scale)
    model.save_pretrained(folder)
    load_tokenizer(base).save_pretrained(folder)
    digest = describe(base.as_uri()).digest
    card = InstructCard(
        base_model=base.as_uri(),
        base_digest=digest,
        quantization="none",
        precision="fp32",
        seed=seed,
        max_length=512,
        max_new_tokens=32,
        tasks=list(TASKS),
    )
    card.write(folder)
    (folder / "README.md").unlink()  # peft's own
    write_json(folder / "training.json", TRAINING)
    write_manifest(folder, {"base_digest": digest})
    return folder

"""Answers per second: every note read once, against a row of its own for every question (transformers' generate).

make bench, or: python -m pytest tests/benchmarks/test_answer_speed.py --benchmarks -s
Defaults: CLINADAPT_ROUNDS=3, CLINADAPT_NOTES_READ=4, CLINADAPT_ANSWER_TOKENS=32 (limit of an answer). builtin://smollm2
in nf4 with a LoRA adapter, eight questions about each of MTSamples' notes of 2,200 to 3,200 characters (the median is
2,600). The two ways alternate, so that a busy machine slows both.
"""

import json
import lzma
import os
import time

import pytest
import support
import torch

from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.base_model import fetch
from clinadapt.models.chat_template import Question
from clinadapt.models.generator import Generator

ROUNDS = int(os.environ.get("CLINADAPT_ROUNDS", "3"))
NOTES = int(os.environ.get("CLINADAPT_NOTES_READ", "4"))
LIMIT = int(os.environ.get("CLINADAPT_ANSWER_TOKENS", "32"))
MTSAMPLES = support.ROOT.parent / "shared/data/mtsamples/notes.jsonl.xz"
BATCH = 16  # rows of generate
ASKS = ["List the drugs.", "What is the diagnosis?", "Summarise the note in one sentence.", "How old is the patient?",
        "When was it?", "What was done?", "Does the patient smoke?", "What is the plan?"]  # fmt: skip


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = support.make_adapter(tmp_path_factory.mktemp("adapter"), fetch("builtin://smollm2"), 0, 0.01)
    card = InstructCard.read(folder).model_dump() | {"quantization": "nf4", "precision": "auto", "max_length": 1024}
    (folder / "clinadapt.json").write_text(json.dumps(card))
    return Generator(folder)


def notes():
    if not MTSAMPLES.is_file():
        pytest.skip("needs MTSamples in ../shared")
    with lzma.open(MTSAMPLES, "rt", encoding="utf-8") as file:
        texts = (json.loads(line)["text"] for line in file)
        fitting = [text for text in texts if text and 2200 <= len(text) <= 3200]
    return fitting[:NOTES]


def a_row_each(generator, questions):
    """Tokens of each answer; prompts of similar length in one batch, padded on the left."""
    prompts = generator.template.encode_prompts(questions, [1024 - LIMIT] * len(questions))
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i].input_ids))
    answers = {}
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        rows = [prompts[i].input_ids for i in batch]
        longest = max(map(len, rows))
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        with generator._inference():
            output = generator.model.generate(
                input_ids=ids, attention_mask=mask, generation_config=generator.stopping.generation_config(LIMIT)
            )
        answers |= {
            i: generator.stopping.cut(row)[0] for i, row in zip(batch, output[:, longest:].tolist(), strict=True)
        }
    return [answers[i] for i in range(len(questions))]


def test_answer_speed(generator):
    questions = [Question(note, ask) for note in notes() for ask in ASKS]
    ways = {
        "a note once": lambda: [answer.tokens for answer in generator.answers(questions, LIMIT)],
        "a row each": lambda: a_row_each(generator, questions),
    }
    seconds = {way: [] for way in ways}
    for _ in range(ROUNDS):
        answers = {}
        for way, answer in ways.items():
            wall, busy = time.monotonic(), time.process_time()
            answers[way] = answer()
            seconds[way].append((time.monotonic() - wall, time.process_time() - busy))
    same = sum(map(list.__eq__, *answers.values()))
    print(
        f"\n{len(questions)} questions about {len(questions) // len(ASKS)} notes; {same} answers have the same tokens"
    )
    print("way          answers/s               answers/processor second")
    for way, measured in seconds.items():
        print(f"{way:12}", *(f"{support.spread([len(questions) / t[i] for t in measured], '.3g'):24}" for i in (0, 1)))
    ratios = [[slow[i] / fast[i] for fast, slow in zip(*seconds.values(), strict=True)] for i in (0, 1)]
    print("ratio       ", *(f"{support.spread(ratio, '.3g'):24}" for ratio in ratios))
    assert same >= 0.9 * len(questions)  # bf16 rounds otherwise in another batch
    assert sorted(ratios[1])[ROUNDS // 2] >= 3

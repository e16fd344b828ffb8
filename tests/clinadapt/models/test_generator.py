"""Answers: together as alone, cut at the end, streamed as given, and as surprising as the model says."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from clinadapt.errors import UserError
from clinadapt.models.causal_lm import load_causal_lm
from clinadapt.models.chat_template import Question
from clinadapt.models.generator import Generator
from clinadapt.models.stopping import Stopping

QUESTIONS = [
    Question("CHIEF COMPLAINT: Chest pain for two days.", "Summarize the note."),
    Question("MEDICATIONS: Aspirin 81 mg daily, lisinopril 10 mg daily.\n" * 4, "List the medications."),
    Question("Knee pain after a fall. X-ray shows no fracture.", "Does the note mention a fracture?"),
    Question("x", "Say what COPD stands for."),
]


@pytest.fixture(scope="module")
def generator(instruct_adapter: Path) -> Generator:
    return Generator(instruct_adapter)


def test_together_as_alone(generator: Generator) -> None:
    """Prompts of other lengths beside it, and the padding they bring, change no token of an answer."""
    together = generator.answers(QUESTIONS, max_new_tokens=12, batch_size=4)
    alone = [generator.answers([question], max_new_tokens=12)[0] for question in QUESTIONS]
    assert together == alone
    assert len({tuple(answer.tokens) for answer in together}) > 1
    with generator.without_adapter():
        assert generator.answers(QUESTIONS, max_new_tokens=12) != together


def test_questions_about_a_note_read_it_once(generator: Generator) -> None:
    """In whatever order they come, their answers are those that each has alone; also on the page, one after another."""
    note = "MEDICATIONS: Aspirin 81 mg daily, lisinopril 10 mg daily.\n" * 4
    asked = ["List the medications.", "Is aspirin taken?", "Summarize the note.", "Is it?"]
    questions = [Question(text, ask) for ask in asked for text in (note, "Knee pain after a fall.")]
    alone = [generator.answers([question], max_new_tokens=12)[0] for question in questions]
    read: list[int] = []
    embeddings = generator.model.get_base_model().get_input_embeddings()
    hook = embeddings.register_forward_hook(lambda module, given, states: read.append(states.shape[1]))
    assert generator.answers(questions, max_new_tokens=12) == alone
    tokens = [len(prompt.input_ids) for prompt in generator.template.encode_prompts(questions, [512] * len(questions))]
    assert sum(sorted(read)[-2:]) < sum(tokens) / 2
    read.clear()
    for ask, answer in zip(asked, alone[::2], strict=True):
        assert "".join(generator.stream(Question(note, ask), max_new_tokens=12)).strip() == answer.text
    hook.remove()
    first_passes = [n for n in read if n > 1]
    assert len(first_passes) == len(asked) and max(first_passes[1:]) < first_passes[0] / 2


def test_the_adapter_comes_back_after_the_base_has_answered(generator: Generator) -> None:
    before = generator.answers(QUESTIONS[:1], max_new_tokens=8)
    with generator.without_adapter():
        generator.answers(QUESTIONS[:1], max_new_tokens=8)
    assert generator.answers(QUESTIONS[:1], max_new_tokens=8) == before


def test_the_limit_cuts_and_eos_ends(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever token is eos ends the answer, is no part of it, and what comes after it is dropped."""
    (long,) = generator.answers(QUESTIONS[:1], max_new_tokens=12)
    assert (len(long.tokens), long.complete) == (12, False)
    end = long.tokens[5]
    monkeypatch.setattr(generator, "stopping", Stopping((generator.tokenizer.eos_token_id, end)))
    for answer in generator.answers([QUESTIONS[0], QUESTIONS[0]], max_new_tokens=12):
        assert answer.complete
        assert answer.tokens == long.tokens[: long.tokens.index(end)]


def test_a_stream_gives_the_answer(generator: Generator) -> None:
    for question in QUESTIONS:
        (answer,) = generator.answers([question], max_new_tokens=24)
        assert "".join(generator.stream(question, max_new_tokens=24)).strip() == answer.text


def test_a_stream_that_nobody_reads_stops(generator: Generator) -> None:
    """Of 400 tokens few are made once the first words were read and the iterator closed. A word at a time comes out, so
    the untrained model is made to say words."""
    (word, *_) = generator.tokenizer.encode(" and", add_special_tokens=False)
    passes = []

    def log(module: torch.nn.Module, given: tuple[torch.Tensor], logits: torch.Tensor) -> torch.Tensor:
        passes.append(1)
        return logits + 1000 * torch.nn.functional.one_hot(torch.tensor(word), logits.shape[-1])

    hook = generator.model.get_base_model().get_output_embeddings().register_forward_hook(log)
    pieces = generator.stream(QUESTIONS[0], max_new_tokens=400)
    next(pieces)
    pieces.close()
    hook.remove()
    assert 0 < len(passes) < 400


def test_an_error_in_the_stream_is_raised(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "model", None)
    with pytest.raises(AttributeError):
        list(generator.stream(QUESTIONS[0], max_new_tokens=4))


def test_a_long_note_is_trimmed_and_the_tokens_counted(generator: Generator) -> None:
    long = Question("Blood pressure 120/80, pulse 72. " * 200, "Summarize the note.")
    short, trimmed = generator.answers([QUESTIONS[0], long], max_new_tokens=8)
    assert short.trimmed_tokens == 0
    assert trimmed.trimmed_tokens > 1000
    with pytest.raises(UserError, match="leaves no room for a note"):
        generator.answers([Question("x", "Summarize. " * 400)], max_new_tokens=8)


def test_losses_are_those_of_the_plain_model(generator: Generator, tiny_llama: Path) -> None:
    """Against transformers' own loss, a row at a time without padding, for the base and with the adapter."""
    answers = ["Chest pain.", "Aspirin; lisinopril", "No.", "Chronic obstructive pulmonary disease"]
    plain = load_causal_lm(tiny_llama.as_uri(), "none", "fp32")
    with generator.without_adapter():
        sums, counts = generator.answer_losses(QUESTIONS, answers)
    for question, answer, total, count in zip(QUESTIONS, answers, sums, counts, strict=True):
        (ids,) = generator.template.encode_answers([answer])
        (prompt,) = generator.template.encode_prompts([question], [10_000])
        labels = torch.tensor([[-100] * len(prompt.input_ids) + ids])
        loss = plain(input_ids=torch.tensor([prompt.input_ids + ids]), labels=labels).loss
        assert count == len(ids)
        assert total == pytest.approx(float(loss) * len(ids), rel=1e-4)
    tuned, same = generator.answer_losses(QUESTIONS, answers)
    assert (same == counts).all()
    assert np.abs(tuned - sums).min() > 1e-3
    assert math.exp(sums.sum() / counts.sum()) > 1


def test_a_fresh_process_gives_the_same_tokens(generator: Generator, instruct_adapter: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path;"
        "from clinadapt.models.generator import Generator; from test_generator import QUESTIONS;"
        f"g = Generator(Path({str(instruct_adapter)!r}));"
        "print([a.tokens for a in g.answers(QUESTIONS, 12, 2)])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str([answer.tokens for answer in generator.answers(QUESTIONS, 12, 2)])

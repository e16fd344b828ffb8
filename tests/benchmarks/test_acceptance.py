"""The acceptance set, asked of published adapters and of their base models: share of right answers, by kind.

CLINADAPT_ADAPTER="URI [URI ...]" python -m pytest tests/benchmarks/test_acceptance.py --benchmarks -s
A URI is a published version, such as file:///folder/.clinadapt/store/adapters/demo-instruct/VERSION.
"""

import os
from collections import defaultdict

import pytest
from acceptance import acceptance_questions

from clinadapt.models.chat_template import Question
from clinadapt.models.generator import Generator
from clinadapt.registry.adapters import download_adapter

QUESTIONS = acceptance_questions()


def _print_shares(title, answers):
    right = defaultdict(list)
    for question, answer in zip(QUESTIONS, answers, strict=True):
        for group in ("all", question.kind):
            right[group].append(question.accepts(answer.text))
    shares = "  ".join(f"{kind} {sum(hits)}/{len(hits)}" for kind, hits in right.items())
    print(f"\n{title}: {sum(right['all']) / len(QUESTIONS):.1%} right   {shares}")


@pytest.mark.skipif("CLINADAPT_ADAPTER" not in os.environ, reason="name published adapters in CLINADAPT_ADAPTER")
def test_acceptance():
    """Prints every answer, with * before a wrong one, and the shares."""
    prompts = [Question(question.note, question.instruction) for question in QUESTIONS]
    for uri in os.environ["CLINADAPT_ADAPTER"].split():
        folder, _ = download_adapter(uri, "")
        generator = Generator(folder)
        with generator.without_adapter():
            base = generator.answers(prompts)
        adapted = generator.answers(prompts)
        print()
        for question, *answers in zip(QUESTIONS, base, adapted, strict=True):
            print(f"{question.hand}: {question.instruction}")
            for title, answer in zip(("base", "adapter"), answers, strict=True):
                print(
                    f"  {' ' if question.accepts(answer.text) else '*'} {title:8}{' '.join(answer.text.split())[:160]}"
                )
        _print_shares(f"base model of {uri}", base)
        _print_shares(uri, adapted)

"""What a notebook imports from clinadapt.models, in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import clinadapt.models

CELL = """
from pathlib import Path
from clinadapt.models import Generator, Question, describe_base_model

generator = Generator(Path({adapter!r}))
(answer,) = generator.answers([Question("Knee pain after a fall.", "What hurts?")], max_new_tokens=4)
print(describe_base_model(generator.card.base_model).parameters(), len(answer.tokens), answer.trimmed_tokens)
"""


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_cell_answers_a_question(instruct_adapter: Path) -> None:
    parameters, tokens, trimmed = map(int, run(CELL.format(adapter=str(instruct_adapter))).split())
    assert parameters > 10**5 and 0 < tokens <= 4 and trimmed == 0


@pytest.mark.parametrize("name", clinadapt.models.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert name in dir(clinadapt.models)
    assert getattr(clinadapt.models, name).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Clasifier'"):
        clinadapt.models.Clasifier  # noqa: B018


def test_what_preflight_and_the_command_need_is_imported_without_torch() -> None:
    modules = ["base_model", "lora_targets", "builtin_llama", "memory.available", "memory.classify", "memory.instruct"]
    imports = "; ".join(f"import clinadapt.models.{module}" for module in modules)
    loaded = run(f"import sys; {imports}; print(*{{'torch', 'transformers', 'peft'}} & set(sys.modules))")
    assert loaded.strip() == ""

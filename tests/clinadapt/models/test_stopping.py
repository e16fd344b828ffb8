"""An answer ends where the base model's authors say: a list of tokens, the end of a turn, a text."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support import make_adapter
from transformers import AutoModelForCausalLM, GenerationConfig

from clinadapt.models.chat_template import Question, Template, load_tokenizer
from clinadapt.models.generator import Generator
from clinadapt.models.stopping import Stopping

QUESTION = Question("Chest pain for two days.", "Summarize the note.")
TURNS = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% else %}{{ eos_token }}{% endif %}"
)


def base_like(tiny_llama: Path, folder: Path, **published: Any) -> Path:
    """The tiny Llama with another generation_config.json."""
    shutil.copytree(tiny_llama, folder)
    GenerationConfig(**published).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def free_answer(instruct_adapter: Path) -> list[int]:
    """The tokens that the adapter generates where nothing ends an answer early."""
    return Generator(instruct_adapter).answers([QUESTION], max_new_tokens=16)[0].tokens


@pytest.mark.parametrize("use_adapter", [True, False])
def test_every_token_of_the_published_list_ends_an_answer(
    tiny_llama: Path, tmp_path: Path, free_answer: list[int], use_adapter: bool
) -> None:
    """Of base and candidate alike, whichever of several tokens it is."""
    base = base_like(tiny_llama, tmp_path / "base", eos_token_id=[1, *range(2, 600)])
    generator = Generator(make_adapter(tmp_path / "adapter", base, seed=1))
    if use_adapter:
        answer = generator.answers([QUESTION], max_new_tokens=16)[0]
    else:
        with generator.without_adapter():
            answer = generator.answers([QUESTION], max_new_tokens=16)[0]
    assert answer.complete and answer.tokens == [] and len(free_answer) == 16


def test_a_published_text_ends_an_answer_and_is_no_part_of_it(
    tiny_llama: Path, tmp_path: Path, free_answer: list[int]
) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    whole = tokenizer.decode(free_answer, skip_special_tokens=True)
    string = whole[len(whole) // 2 :][:3]
    base = base_like(tiny_llama, tmp_path / "base", eos_token_id=1, stop_strings=[string])
    generator = Generator(make_adapter(tmp_path / "adapter", base, seed=1))
    (answer,) = generator.answers([QUESTION], max_new_tokens=16)
    assert answer.complete and answer.text == whole[: whole.index(string)].strip()
    assert "".join(generator.stream(QUESTION, max_new_tokens=16)).strip() == answer.text
    together = generator.answers([QUESTION, Question("x", "y"), QUESTION], max_new_tokens=16)
    assert together[0] == together[2] == answer


def test_the_end_of_a_turn_ends_an_answer(tiny_llama: Path) -> None:
    """Also where neither the tokenizer nor the generation config calls it an end; its loss counts up to there."""
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]})
    tokenizer.chat_template = TURNS
    template = Template(tokenizer)
    stopping = Stopping.of(GenerationConfig(eos_token_id=5), tokenizer, template.end)
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert stopping.token_ids == (tokenizer.eos_token_id, end, 5)
    (answer,) = template.encode_answers(["Pain."])
    assert answer[-1] == tokenizer.eos_token_id
    assert stopping.cut(answer) == (answer[: answer.index(end)], True)


def test_no_text_is_shown_that_a_stop_string_takes_back() -> None:
    stopping = Stopping((1,), ("\n\n###", "###Q"))
    for text, shown in [("Pain", 4), ("Pain\n", 4), ("Pain\n\n#", 4), ("Pain\n\nx", 7), ("a##", 1), ("a###Qb###", 1)]:
        assert stopping.final_length(text) == shown, text


def test_the_published_adapter_tells_servers_the_ends(tmp_path: Path, tiny_llama: Path, instruct_splits: Path) -> None:
    """train writes them beside the adapter; merged weights carry them."""
    from clinadapt.config.base import Lora
    from clinadapt.config.instruct import InstructTraining
    from clinadapt.models.merging import write_merged
    from components.train import instruct

    base = base_like(tiny_llama, tmp_path / "base", eos_token_id=[1, 7], temperature=0.3, do_sample=True)
    settings = InstructTraining(
        base_model=base.as_uri(), max_length=600, quantization="none", precision="fp32", lora=Lora(r=2)
    )
    instruct.run(instruct_splits, tmp_path / "adapter", settings)
    write_merged(tmp_path / "adapter", tmp_path / "merged")
    for folder in (tmp_path / "adapter", tmp_path / "merged"):
        published = GenerationConfig.from_pretrained(folder)
        assert published.eos_token_id == [1, 7] and not published.do_sample
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "merged").generation_config.eos_token_id == [1, 7]

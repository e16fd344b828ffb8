"""A template renders the same prompt every day, and keeps what the base's authors tell their model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers.utils import chat_template_utils

from clinadapt.models.chat_template import SYSTEM, Question, Template, load_tokenizer
from clinadapt.models.published_template import PINNED_DATE, pin_date

QUESTION = Question("Knee pain.", "What hurts?")
# Heads of templates as Llama 3.2, Granite, SmolLM3 and Mistral have them
DATED = {
    "with a fallback": '{%- if strftime_now is defined %}{%- set today = strftime_now("%d %b %Y") %}{%- endif %}'
    "Today: {{ today }}\n",
    "inside a macro": "{%- macro head() %}Today: {{ strftime_now('%B %d, %Y') }}\n{%- endmacro %}{{ head() }}",
    "a format in a variable": "{%- set how = '%Y-%m-%d %H:%M' %}Today: {{ strftime_now(how) }}\n",
    "no known format": "Today: {{ strftime_now(['%', 'Y'] | join) }}\n",
}
CHAT = (
    "{% for m in messages %}{{ m.role + ':' + m.content + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
CHATML_WITH_DEFAULT = (
    "{% if messages[0].role != 'system' %}{{ '<system>You are \"Qwen\", made by \\'us\\'.</system>\n' }}{% endif %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<assistant>' + m.content + eos_token }}"
    "{% else %}{{ '<' + m.role + '>' + m.content + '</' + m.role + '>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.mark.parametrize("head", DATED)
def test_today_is_the_same_day_every_day(
    tiny_llama: Path, tmp_path: Path, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In our prompts, and for whoever renders the template that is published."""
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.chat_template = DATED[head] + CHAT
    tokenizer.save_pretrained(tmp_path / "base")
    prompts = []
    for year in (2026, 2031):

        class Clock(chat_template_utils.datetime):  # type: ignore[misc,name-defined]
            @classmethod
            def now(cls, tz: Any = None, year: int = year) -> Any:
                return cls(year, 11, 29, 23, 59)

        monkeypatch.setattr(chat_template_utils, "datetime", Clock)
        ours = load_tokenizer(tmp_path / "base")
        ours.save_pretrained(tmp_path / "adapter")
        prompts.append(Template(load_tokenizer(tmp_path / "adapter")).prompt(QUESTION))
    assert prompts[0] == prompts[1]
    assert f"{PINNED_DATE.year}" in prompts[0]
    published = (tmp_path / "adapter/chat_template.jinja").read_text()
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["strftime_now"] = lambda how: "another day"
    assert "another day" not in environment.from_string(published).render(messages=[], eos_token="")


def test_a_template_without_a_date_is_unchanged() -> None:
    assert pin_date(CHAT) == CHAT
    dated = pin_date(DATED["with a fallback"])
    assert pin_date(dated) == dated != DATED["with a fallback"]


def test_the_authors_system_prompt_comes_before_ours(tiny_llama: Path, tmp_path: Path) -> None:
    """For every program that renders the published template with our message; other messages are the caller's."""
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.chat_template = CHATML_WITH_DEFAULT
    tokenizer.save_pretrained(tmp_path / "base")
    load_tokenizer(tmp_path / "base").save_pretrained(tmp_path / "adapter")
    for folder in ("base", "adapter"):
        ours = load_tokenizer(tmp_path / folder)
        prompt = Template(ours).prompt(QUESTION)
        assert prompt.startswith(f"<system>You are \"Qwen\", made by 'us'.\n\n{SYSTEM}</system>\n<user>### Note")
        other = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}]
        assert ours.apply_chat_template(other, tokenize=False) == "<system>Be brief.</system>\n<user>x</user>\n"


def test_of_several_templates_the_default_is_used(tiny_llama: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_llama)
    tokenizer.chat_template = {"default": CHAT, "tool_use": "tools"}
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).chat_template == CHAT

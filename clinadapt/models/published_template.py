"""The chat template of a base model as it is trained with, judged with and published: its authors' system prompt stays,
and it renders the same prompt every day."""

from __future__ import annotations

import datetime
import json
import re
from typing import Any

from jinja2.exceptions import TemplateError

PINNED_DATE = datetime.datetime(2024, 7, 26)  # the day that Llama 3.1's template falls back to
# What rendering a template raises: of Jinja itself, and of what stands in it, whoever wrote it
TEMPLATE_ERRORS = (
    TemplateError, ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError
)  # fmt: skip
_MACRO = "{%- macro strftime_now("
_DATE_FORMAT = re.compile(r"""(['"])([^'"{}]*%[-A-Za-z][^'"{}]*)\1""")


def pin_date(template: str) -> str:
    """A template in which `strftime_now` gives PINNED_DATE, in any program that renders it; others are unchanged."""
    if "strftime_now" not in template or _MACRO in template:
        return template
    formats = sorted({text for _, text in _DATE_FORMAT.findall(template)})
    texts = json.dumps({text: PINNED_DATE.strftime(text) for text in formats}, ensure_ascii=False)
    other = json.dumps(f"{PINNED_DATE:%Y-%m-%d}")
    return f"{_MACRO}format) -%}}{{{{- ({texts}).get(format, {other}) -}}}}{{%- endmacro +%}}{template}"


def keep_system_prompt(tokenizer: Any, system: str) -> str:
    """The template of a tokenizer in which the system message `system` follows the system prompt that the template has
    where there is no system message, which a message would replace."""
    user = {"role": "user", "content": "\ue000"}

    def render(messages: list[dict[str, str]]) -> str:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    try:
        ours, authors = render([{"role": "system", "content": system}, user]), render([user])
    except TEMPLATE_ERRORS:  # no system role
        return tokenizer.chat_template
    before, found, after = ours.partition(system)
    default = authors[len(before) : len(authors) - len(after)]
    if not found or not default.strip() or authors != before + default + after or default.strip() in before:
        return tokenizer.chat_template
    both = json.dumps(f"{default.strip()}\n\n{system}", ensure_ascii=False)
    condition = f"messages[0].role == 'system' and messages[0].content == {json.dumps(system)}"
    message = f"[{{'role': 'system', 'content': {both}}}]"
    head = f"{{%- if {condition} -%}}{{%- set messages = {message} + messages[1:] -%}}{{%- endif +%}}"
    return head + tokenizer.chat_template

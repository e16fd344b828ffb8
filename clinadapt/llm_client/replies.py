"""What an OpenAI-compatible chat endpoint replies, as this client reads it: the answer without a reasoning model's
thoughts, in whatever form a server sends them."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, Field

# Marks around a reasoning model's thoughts, as servers send them within the content of a reply
_THOUGHTS = (
    (r"<(?:think|thinking|thought|reasoning|seed:think)>", r"</(?:think|thinking|thought|reasoning|seed:think)>"),
    (r"\[THINK\]", r"\[/THINK\]"),
    ("◁think▷", "◁/think▷"),
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
)
_CHANNEL = re.compile(
    r"<\|channel\|>(\w+)(?:(?!<\|message\|>).)*<\|message\|>(.*?)(?=<\|(?:end|return|start|channel)\|>|\Z)", re.S
)


class Reply(BaseModel):
    """A reply of the model, without the thoughts before it; `truncated` if it ended at `max_tokens`."""

    text: str
    truncated: bool
    thoughts: bool = False


class _Message(BaseModel):
    content: str | list[dict[str, Any]] | None = None
    reasoning_content: Any = None
    reasoning: Any = None

    def reply(self, truncated: bool) -> Reply:
        """The text of the answer; parts of another kind are thoughts."""
        parts = [{"type": "text", "text": self.content or ""}] if not isinstance(self.content, list) else self.content
        text = "".join(str(part.get("text", "")) for part in parts if part.get("type") == "text")
        answer = without_thoughts(text)
        separate = bool(self.reasoning_content or self.reasoning or any(part.get("type") != "text" for part in parts))
        return Reply(text=answer, truncated=truncated, thoughts=separate or answer != text.strip())


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int | None = None


class Completion(BaseModel):
    """The fields of a chat completion that this client reads."""

    model: str | None = None
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def without_thoughts(text: str) -> str:
    """The answer in a reply whose content has a reasoning model's thoughts before it, between tags or in a channel.
    Where only their end is marked, all before it is thought; where they never end, there is no answer."""
    if channels := _CHANNEL.findall(text):
        text = "".join(message for channel, message in channels if channel == "final")
    for begin, end in _THOUGHTS:
        text = re.sub(f"{begin}.*?{end}", "", text, flags=re.S | re.I)
        text = re.split(end, text, flags=re.I)[-1]
        text = re.split(begin, text, flags=re.I)[0]
    return text.strip()

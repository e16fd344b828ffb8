"""What of a language model's replies is kept; each flaw has a name that the report counts it under."""

from __future__ import annotations

import re

from clinadapt.clinical.faithfulness import unsupported_facts
from clinadapt.llm_client import Reply

# AI alone is aortic insufficiency or an aromatase inhibitor in a note
_AI = re.compile(
    r"\b(?:as an (?:ai\b(?! (?:patient|pt))|artificial intelligence)"
    r"|(?:i am|i['’]m) an? (?:ai|artificial intelligence)\b"
    r"|ai (?:language )?(?:model|assistant)|language model|chat ?gpt|openai)",
    re.IGNORECASE,
)
_LIST_NUMBER = re.compile(r"^\s*\d{1,2}[.)]\s+", re.MULTILINE)
_QUESTION_AT_END = re.compile(r"\?[\s\"'”’)*]*$")


def flaw(reply: Reply) -> str | None:
    """What is wrong with any reply: cut off, empty, or it speaks of being an AI."""
    if reply.truncated:
        return "cut off at the longest reply"
    if not re.search(r"\w", reply.text):
        return "empty"
    return "speaks of being an AI" if _AI.search(reply.text) else None


def note_flaw(reply: Reply, case: str) -> str | None:
    """What is wrong with a note made of a case, such as a number, drug or date that the case does not hold."""
    return flaw(reply) or (_added(reply.text, case))


def answer_flaw(reply: Reply, note: str, question: str) -> str | None:
    """What is wrong with an answer. It may name what the question names, to say that the note does not hold it."""
    if found := flaw(reply):
        return found
    if _QUESTION_AT_END.search(reply.text):
        return "ends in a question"
    return _added(reply.text, f"{note}\n{question}")


def _added(text: str, source: str) -> str | None:
    """The numbers of a list are no facts."""
    return "adds facts" if unsupported_facts(_LIST_NUMBER.sub("", text), source) else None

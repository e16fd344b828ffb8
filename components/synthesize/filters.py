"""Quality filters on the replies of a language model; the report counts rejected replies by the name of the flaw."""

from __future__ import annotations

import re

from clinadapt.clinical.faithfulness import unsupported_facts
from clinadapt.clinical.refusals import is_refusal
from clinadapt.llm_client import Reply

# In a note, AI alone means aortic insufficiency or an aromatase inhibitor
_AI = re.compile(
    r"\b(?:as an (?:ai\b(?! (?:patient|pt))|artificial intelligence)"
    r"|(?:i am|i['’]m) an? (?:ai|artificial intelligence)\b"
    r"|ai (?:language )?(?:model|assistant)|language model|chat ?gpt|openai)",
    re.IGNORECASE,
)
_LIST_NUMBER = re.compile(r"^\s*\d{1,2}[.)]\s+", re.MULTILINE)
_QUESTION_AT_END = re.compile(r"\?[\s\"'”’)*]*$")


def flaw(reply: Reply) -> str | None:
    """Flaw of any reply: truncated, empty, or about being an AI."""
    if reply.truncated:
        return "truncated at max_tokens"
    if not re.search(r"\w", reply.text):
        return "empty"
    return "speaks of being an AI" if _AI.search(reply.text) else None


def note_flaw(reply: Reply, case: str, decimal_comma: bool = False) -> str | None:
    """Flaw of a note generated from a case, such as a number, drug or date that the case does not contain."""
    return flaw(reply) or _added_facts(reply.text, case, decimal_comma)


def answer_flaw(reply: Reply, note: str, question: str, decimal_comma: bool = False) -> str | None:
    """Flaw of an answer. It may repeat facts of the question, to say that the note does not contain them."""
    if problem := flaw(reply):
        return problem
    if _QUESTION_AT_END.search(reply.text):
        return "ends in a question"
    return _added_facts(reply.text, f"{note}\n{question}", decimal_comma)


def refusal_flaw(reply: Reply, marked: bool) -> str | None:
    """Flaw of an answer that the teacher marked as a refusal, without its mark, and that states something else."""
    return "marked as not answerable but not a refusal" if marked and not is_refusal(reply.text) else None


def _added_facts(text: str, source: str, decimal_comma: bool) -> str | None:
    """Numbers of list items do not count as facts."""
    return "adds facts" if unsupported_facts(_LIST_NUMBER.sub("", text), source, decimal_comma) else None

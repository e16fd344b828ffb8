"""Quality filters on the replies of a language model; the report counts rejected replies by the name of the flaw."""

from __future__ import annotations

import re

from clinadapt.clinical.abbreviations import abbreviation_lexicon
from clinadapt.clinical.claims import unsupported
from clinadapt.clinical.claims.words import STOP_WORDS, words
from clinadapt.clinical.drugs import drugs
from clinadapt.clinical.faithfulness import unsupported_facts
from clinadapt.clinical.refusals import is_refusal
from clinadapt.llm_client import Reply
from components.synthesize.teacher import Spans

# In a note, AI alone means aortic insufficiency or an aromatase inhibitor
_AI = re.compile(
    r"\b(?:as an (?:ai\b(?! (?:patient|pt))|artificial intelligence)"
    r"|(?:i am|i['’]m) an? (?:ai|artificial intelligence)\b"
    r"|ai (?:language )?(?:model|assistant)|language model|chat ?gpt|openai)",
    re.IGNORECASE,
)
_LIST_NUMBER = re.compile(r"^\s*\d{1,2}[.)]\s+", re.MULTILINE)
_WORDS = re.compile(r"[^\W_]+")
_QUOTED = re.compile(r"[\"“]([^\"“”]+)[\"”]|(?<!\w)['‘]([^'’]+(?:\b['’]\w[^'’]*)*)['’](?!\w)")
# What an abbreviation looks like: BP, SpO2, PICCs, t.i.d., h/o
_ABBREVIATION = re.compile(
    r"(?<![\w/.])(?:[A-Za-z\d]*[A-Z][a-z\d]?[A-Z\d][A-Za-z\d]*|(?:[a-z]\.){2,}|[a-z]{1,2}/[a-z]{0,2})(?![\w/])"
)
_MEANS = re.compile(r"\W*(?:(?:here )?(?:stands? for|means?|refers? to|is(?: short for)?)\b)?\W*", re.IGNORECASE)
_NEW_WORDS = 1 / 3  # share of an answer's words that may stand in neither note nor request, where the answer is a fact
_ASKED_WORDS = 1 / 3  # share of a question's words that the sentence which answers it holds
_COPIED = 2 / 3  # share of a paraphrase's runs of four words that may stand in the note
# Tasks whose answers are facts in the note's own words
_FACTS = (
    "Named Entity Recognition",
    "Relation Extraction",
    "Temporal Information Extraction",
    "Coreference Resolution",
    "Question Answering",
)
_ASKS_FOR_DRUGS = re.compile(r"\b(?:drugs?|medications?|medicines?)\b", re.IGNORECASE)
_ABOUT_A_QUOTE = ("Coreference Resolution", "Paraphrasing")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
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


def question_flaw(reply: Reply, note: str, task: str) -> str | None:
    """Flaw of a request: it quotes what the note does not say, or does not name what its task is about."""
    if problem := flaw(reply):
        return problem
    said, quotes = _spaced(note), _QUOTED.findall(reply.text)
    if any(_spaced(one or other) not in said for one, other in quotes):
        return "quotes what the note does not say"
    if task in _ABOUT_A_QUOTE and not quotes:
        return "quotes nothing"
    if task == "Abbreviation Expansion" and not asked_abbreviations(reply.text, note):
        return "names no abbreviation of the note"
    return None


def answer_flaw(reply: Reply, note: str, question: str, task: str, decimal_comma: bool = False) -> str | None:
    """Flaw of an answer. It may repeat facts of the question, to say that the note does not contain them."""
    if problem := flaw(reply):
        return problem
    text = reply.text
    if _QUESTION_AT_END.search(text):
        return "ends in a question"
    if added := _added_facts(text, f"{note}\n{question}", decimal_comma):
        return added
    of_task = None if is_refusal(text) else _task_flaw(text, note, question, task)
    if of_task and task == "Abbreviation Expansion":  # says more than that it is not supported
        return of_task
    if unsupported(_LIST_NUMBER.sub("", text), note, question, decimal_comma):
        return "states what the note does not support"
    return of_task


def _task_flaw(text: str, note: str, question: str, task: str) -> str | None:
    """Flaw of an answer that belongs to its task."""
    if task == "Abbreviation Expansion":
        shorts = asked_abbreviations(question, note)
        return None if all(_expands(text, short) for short in shorts) else "does not expand the abbreviation"
    if task == "Paraphrasing" and _copied(text, note) > _COPIED:
        return "copies the note"
    if task in _FACTS:
        known = _content(note) | _content(question) | _content(" ".join(_expansions(note)))
        lines = [own for line in text.splitlines() if (own := _content(line))]
        if any(len(own - known) > _NEW_WORDS * len(own) for own in lines):
            return "adds words that the note does not have"
        of_drugs = task == "Named Entity Recognition" and _ASKS_FOR_DRUGS.search(question)
        if of_drugs and sum(bool(drugs(line)) for line in text.splitlines()) < len(lines) / 2:
            return "lists what is no drug"
    return None


def quoted_spans(quote: str, note: str) -> Spans:
    """(start, end) in the note of the sentences that hold each line of a quote; none where a line does not stand there
    word for word."""
    patterns = [r"[\W_]+".join(found) for line in quote.splitlines() if (found := _WORDS.findall(line))]
    matches = [re.search(rf"(?<!\w){pattern}(?!\w)", note, re.IGNORECASE) for pattern in patterns]
    return tuple(_sentences(note, *match.span()) for match in matches if match) if all(matches) else ()


def _sentences(note: str, start: int, end: int) -> tuple[int, int]:
    """The span widened to whole sentences of its line."""
    before = [match.end() for match in _SENTENCE_END.finditer(note, 0, start)]
    after = _SENTENCE_END.search(note, max(start, end - 1))
    return before[-1] if before else 0, after.start() if after else len(note)


def quote_flaw(evidence: str, answer: str, question: str) -> str | None:
    """Flaw of the sentences of the note that a teacher quotes for an answer."""
    if not evidence:
        return "not in the note"
    asked, known = _content(question), _content(evidence) | _content(" ".join(_expansions(evidence)))
    if len(asked & known) < _ASKED_WORDS * len(asked):
        return "about something else"
    own = _content(answer) - asked
    return "does not hold the answer" if len(own - known) > _NEW_WORDS * len(own) else None


def asked_abbreviations(question: str, note: str) -> list[str]:
    """Abbreviations that a question names and its note contains."""
    named = {match[0] for match in _ABBREVIATION.finditer(question)} | _known_abbreviations(question)
    return sorted(short for short in named if re.search(rf"(?<![\w/]){re.escape(short)}(?![\w/])", note))


def _known_abbreviations(text: str) -> set[str]:
    """Abbreviations of a text that the lexicon has."""
    tokens = re.findall(r"[\w./&-]*[\w./]", text)
    return abbreviation_lexicon().keys() & {*tokens, *(token.rstrip(".") for token in tokens)}


def _expansions(note: str) -> list[str]:
    return [abbreviation_lexicon()[short].expansion for short in _known_abbreviations(note)]


def _expands(text: str, short: str) -> bool:
    """Whether a text gives a long form that the lexicon has, or that has the abbreviation's letters in their order."""
    named = re.search(rf"(?<![\w/]){re.escape(short)}(?![\w/])", text)
    rest = text[named.end() :] if named else text
    start = _MEANS.match(rest)
    long = re.split(r"[;\n]|\. ", rest[start.end() if start else 0 :], maxsplit=1)[0].lower().replace(short.lower(), "")
    known = abbreviation_lexicon().get(short)
    if known and known.expansion.lower() in long:
        return True
    letters = re.findall(r"[a-z0-9]", short.lower())
    starts = [match.start() for match in re.finditer(r"\w+", long)][:2]  # "the chest x-ray"
    return any(long[at] == letters[0] and _in_order(letters, long[at:]) for at in starts)


def _in_order(letters: list[str], text: str) -> bool:
    rest = iter(text)
    return all(letter in rest for letter in letters)


def _copied(text: str, note: str) -> float:
    """Share of a text's runs of four words that stand in the note."""
    own = [word.stem for word in words(text)]
    runs = [" ".join(own[i : i + 4]) for i in range(len(own) - 3)]
    said = f" {' '.join(word.stem for word in words(note))} "
    return sum(f" {run} " in said for run in runs) / len(runs) if runs else 0.0


def _content(text: str) -> set[str]:
    """Stems of a text's words that carry meaning."""
    return {word.stem for word in words(text)} - STOP_WORDS


def _spaced(text: str) -> str:
    """The words of a text in lower case, one space around each."""
    return " ".join(["", *_WORDS.findall(text.lower()), ""])


def refusal_flaw(answer: str, beyond: bool) -> str | None:
    """Flaw of an answer to a question that was written so that the note answers it, or (`beyond`) does not: where the
    answer disagrees, either may be wrong."""
    if is_refusal(answer) == beyond:
        return None
    return "answers what the note should not answer" if beyond else "refuses what the note should answer"


def _added_facts(text: str, source: str, decimal_comma: bool) -> str | None:
    """Numbers of list items do not count as facts."""
    return "adds facts" if unsupported_facts(_LIST_NUMBER.sub("", text), source, decimal_comma) else None

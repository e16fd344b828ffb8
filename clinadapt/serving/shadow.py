"""The comparison of a new version with its evaluation and with the version that answers now, on the server that will
serve it and before anybody is answered by it.

Both are asked the same questions. The new version has to score what it scored in its evaluation, row by row, and not
less than the version that answers now, unless a person chose it: who rolls back may go back to a lower figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from clinadapt.evaluation.answer_scores import TEXT_SCORES, answer_scores
from clinadapt.models.chat_template import Question, chat_messages
from clinadapt.serving.vllm_server import ServerAnswer, VllmServer

TOLERANCE = 0.02  # by which a score may be worse: 2 points, and one answer where there are few
MIN_QUESTIONS = 10
_REQUESTS = 4  # in flight: the server answers people meanwhile
_WORDS = {
    "token_f1": "token F1",
    "unsupported": "answers with an unsupported claim",
    "contradicted": "answers with a contradicted claim",
}


@dataclass(frozen=True)
class ShadowQuestion:
    """A question that both versions are asked.

    Attributes:
        note, instruction: texts.
        reference: the expected answer; None where there is none.
        decimal_comma: whether 0,125 is less than one in the note.
        evaluated: TEXT_SCORES of the new version's answer in its evaluation; empty where it was not asked there.
    """

    note: str
    instruction: str
    reference: str | None
    decimal_comma: bool
    evaluated: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """What a comparison came to.

    Attributes:
        questions: how many both answered.
        refused: how many the server refused, as too long for it.
        same: how many answers of old and new are the same; None without an old version.
        scores: `new`, `old`, `evaluated` -> mean of each of TEXT_SCORES over the questions that have it.
        problems: why the new version must not answer; empty where it may.
    """

    questions: int
    refused: int
    same: int | None
    scores: dict[str, dict[str, float]]
    problems: list[str]

    def sentence(self) -> str:
        """The result in one line."""
        shown = [f"{_WORDS[name]} {_values(self.scores, name)}" for name in TEXT_SCORES if name in self.scores["new"]]
        same = "" if self.same is None else f", {self.same} answers are the same"
        refused = f", {self.refused} refused as too long" if self.refused else ""
        return f"{self.questions} questions{same}{refused}; {'; '.join(shown)}"


def compare(
    server: VllmServer,
    new: str,
    old: str | None,
    questions: Sequence[ShadowQuestion],
    max_tokens: int,
    has_system: bool,
    must_not_be_worse: bool,
) -> Comparison:
    """Ask both versions the questions and compare.

    Args:
        server: that both are loaded on.
        new, old: the names under which they are loaded; `old` None where nothing answers yet.
        questions: to ask.
        max_tokens: of an answer, as in the evaluation.
        has_system: whether the chat template has a system role.
        must_not_be_worse: whether the new version may not score less than the old one.

    Raises:
        UserError: the server does not answer.
    """
    messages = [chat_messages(Question(each.note, each.instruction), has_system) for each in questions]
    answers = {name: _ask(server, name, messages, max_tokens) for name in filter(None, (new, old))}
    kept = [i for i in range(len(questions)) if all(given[i] for given in answers.values())]
    asked = [questions[i] for i in kept]
    texts = {name: [given[i].text for i in kept] for name, given in answers.items()}  # type: ignore[union-attr]
    scored = {name: [_scores(question, text) for question, text in zip(asked, texts[name], strict=True)]
              for name in answers}  # fmt: skip
    evaluated = [question.evaluated for question in asked]
    means = {"new": _means(scored[new]), "evaluated": _means(evaluated)}
    problems = _worse("in its evaluation", scored[new], evaluated)
    same = None
    if old:
        means["old"] = _means(scored[old])
        same = sum(one == other for one, other in zip(texts[new], texts[old], strict=True))
        if must_not_be_worse:
            problems += _worse(f"by {old}, which answers now,", scored[new], scored[old])
    if len(asked) < MIN_QUESTIONS:
        problems.insert(0, f"only {len(asked)} questions could be asked, {MIN_QUESTIONS} are needed")
    return Comparison(len(asked), len(questions) - len(asked), same, means, problems)


def _ask(
    server: VllmServer, model: str, messages: Sequence[list[dict[str, str]]], max_tokens: int
) -> list[ServerAnswer | None]:
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(partial(server.answer, model, max_tokens=max_tokens), messages))


def _scores(question: ShadowQuestion, text: str) -> dict[str, float]:
    return answer_scores(text, question.reference, question.note, question.instruction, question.decimal_comma)


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each score over the rows that have it."""
    columns = {name: [row[name] for row in rows if name in row] for name in TEXT_SCORES}
    return {name: sum(values) / len(values) for name, values in columns.items() if values}


def _worse(than: str, new: Sequence[dict[str, float]], other: Sequence[dict[str, float]]) -> list[str]:
    """One sentence for each score that is worse, over the rows that both have, than the tolerance allows."""
    found = []
    for name in TEXT_SCORES:
        pairs = [(one[name], two[name]) for one, two in zip(new, other, strict=True) if name in one and name in two]
        if not pairs:
            continue
        here, there = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
        loss = there - here if name == "token_f1" else here - there
        if not loss <= max(TOLERANCE, 1 / len(pairs)) + 1e-9:
            found.append(f"{_WORDS[name]} {here:.1%} on this server and {there:.1%} {than} of {len(pairs)} questions")
    return found


def _values(scores: dict[str, dict[str, float]], name: str) -> str:
    shown: list[Any] = [(who, values[name]) for who, values in scores.items() if name in values]
    return ", ".join(f"{who} {value:.1%}" for who, value in shown)

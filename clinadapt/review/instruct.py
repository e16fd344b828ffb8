"""Answers of a published instruct adapter: about one note, complete or streamed, or about the rows of a file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from clinadapt.clinical.claims import check
from clinadapt.clinical.number_format import DecimalCounts
from clinadapt.data.readers import Row
from clinadapt.data.tables import batched
from clinadapt.data.text import clean
from clinadapt.errors import UserError
from clinadapt.models.chat_template import Question
from clinadapt.models.generator import Answer, Generator
from clinadapt.monitoring.observations import Observation, of_answer, of_latency
from clinadapt.monitoring.recorder import Writer, recorder
from clinadapt.review.explanation import explained
from clinadapt.review.inputs import LONGEST_INSTRUCTION, cell, input_error, validated
from clinadapt.review.loading import published_adapter

_BATCH = 64  # rows; those about one note are answered together


class InstructService:
    """A published instruct adapter, loaded.

    Attributes:
        uri: of the version that answers.
        base_model: URI of its base model.
        recorder: counts the answers; None where nothing counts them.
    """

    def __init__(self, adapter: str, store_uri: str, writer: Writer | None = None) -> None:
        """Load `adapter`: a name (its champion), name/version or URI.

        Args:
            adapter, store_uri: as of `download_adapter`.
            writer: what counts the answers for monitoring; nothing when None.

        Raises:
            UserError: the adapter is not found, cannot be loaded, or differs from what was published.
        """
        with published_adapter(adapter, store_uri, "instruct") as (folder, self.uri):
            self._generator = Generator(folder)
            self.recorder = recorder(folder, self.uri, writer)
        self.base_model = self._generator.card.base_model

    def answer(self, note: str, instruction: str) -> dict[str, Any]:
        """Answer an instruction about a note.

        Returns:
            `instruction`, `answer`, `complete` (false: cut off at the adapter's limit), `trimmed_tokens` (of the note,
            left out because it is too long), `unsupported` (claims of the answer that the note contradicts or
            does not contain), `claims` (clinadapt.review.explanation.explained) and `adapter`.

        Raises:
            UserError: note or instruction is empty or too long.
        """
        question, start = _question(note, instruction), time.monotonic()
        (answer,) = self._generator.answers([question])
        return self._record(question, answer, of_latency(time.monotonic() - start))

    def stream(self, note: str, instruction: str) -> Iterator[str | dict[str, Any]]:
        """Yield the answer's text piece by piece as it is generated; the last item is what `answer` returns.

        Raises:
            UserError: as `answer`.
        """
        question, start = _question(note, instruction), time.monotonic()
        answer = yield from self._generator.stream(question)
        yield self._record(question, answer, of_latency(time.monotonic() - start))

    def answer_rows(
        self, rows: Iterable[Row], column: str, instruction: str = "", instruction_column: str = ""
    ) -> Iterator[dict[str, Any]]:
        """Answer about each row, a batch at a time; the answer has the row's number as `row`, and only an `error` if
        the row cannot be used.

        Args:
            rows: numbered from 1.
            column: with the note.
            instruction: for every row; if empty, each row has its own in `instruction_column`.
            instruction_column: with the instruction.

        Raises:
            UserError: the first row has no such column, or the instruction for every row is empty or too long.
        """
        if not instruction_column:
            validated(instruction, "the instruction", LONGEST_INSTRUCTION)
        for batch in batched(enumerate(rows, start=1), _BATCH):
            questions, errors = {}, {}
            for number, row in batch:
                note = cell(row, column, number)
                own = cell(row, instruction_column, number, "--ask-column") if instruction_column else instruction
                if error := row if isinstance(row, str) else _row_error(note, own):
                    errors[number] = {"error": error}
                else:
                    questions[number] = Question(clean(note), clean(own))
            answers = errors | dict(zip(questions, self._answers(list(questions.values())), strict=True))
            yield from ({"row": number, **answers[number]} for number, _ in batch)

    def _answers(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """Answers; only an `error` where the instruction leaves no room for a note."""
        try:
            answers = self._generator.answers(questions)
        except UserError as error:
            if len(questions) == 1:
                return [{"error": str(error)}]
            return [answer for question in questions for answer in self._answers([question])]
        return [self._record(question, answer) for question, answer in zip(questions, answers, strict=True)]

    def _record(self, question: Question, answer: Answer, latency: Observation | None = None) -> dict[str, Any]:
        """What is told of an answer, which is counted for monitoring; the latency of one that was asked for alone."""
        decimals = DecimalCounts().plus([question.note])
        comma = decimals.decimal_comma if sum(decimals) else self._generator.card.decimal_comma
        checked = check(answer.text, question.note, question.instruction, comma)
        if self.recorder:
            outcomes = (each.outcome for each in checked)
            counted = of_answer(question.instruction, answer.text, answer.complete, outcomes)
            self.recorder.answered([question.note], [counted | (latency or {})])
        doubtful = [each.claim.value for each in checked if each.outcome != "supported"]
        return {
            "instruction": question.instruction,
            "answer": answer.text,
            "complete": answer.complete,
            "trimmed_tokens": answer.trimmed_tokens,
            "unsupported": list(dict.fromkeys(doubtful)),
            "claims": explained(answer.text, question.note, checked),
            "adapter": self.uri,
        }


def remarks(answer: dict[str, Any]) -> list[str]:
    """What a reader needs to know about an answer, as sentences."""
    trimmed, unsupported = answer["trimmed_tokens"], answer["unsupported"]
    sentences = {
        "The adapter wrote no answer": not answer["answer"],
        f"Not supported by the note: {', '.join(unsupported)}": unsupported,
        "The answer was cut off: this adapter cannot write a longer one": not answer["complete"],
        f"The note is too long: the model did not see {trimmed:,} tokens (words or parts of words) from its middle": (
            trimmed
        ),
    }
    return [f"{sentence}." for sentence, applies in sentences.items() if applies]


def _question(note: str, instruction: str) -> Question:
    return Question(validated(note), validated(instruction, "the instruction", LONGEST_INSTRUCTION))


def _row_error(note: str, instruction: str) -> str | None:
    """Why a row cannot be answered; None if it can."""
    if error := input_error(note):
        return error
    error = input_error(instruction, LONGEST_INSTRUCTION)
    return error and f"{error} in the instruction"

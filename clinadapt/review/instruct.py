"""What a published instruct adapter answers about a note: whole, piece by piece, or the rows of a file as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from clinadapt.clinical.faithfulness import unsupported_facts
from clinadapt.data.readers import Row
from clinadapt.data.tables import batched
from clinadapt.data.text import clean
from clinadapt.errors import UserError
from clinadapt.models.chat_template import Question
from clinadapt.models.generator import Answer, Generator
from clinadapt.review.inputs import LONGEST_INSTRUCTION, cell, unusable, usable
from clinadapt.review.loading import published

_AT_ONCE = 16  # notes


class Asker:
    """A published adapter that answers instructions, and says which version it is."""

    def __init__(self, adapter: str, store_uri: str) -> None:
        """Load `adapter`: a name (its champion), name/version or URI.

        Raises:
            UserError: it cannot be found or loaded, or is not what was published.
        """
        with published(adapter, store_uri, "instruct") as (folder, self.uri):
            self._generator = Generator(folder)
        self.base_model = self._generator.card.base_model

    def answer(self, note: str, instruction: str) -> dict[str, Any]:
        """instruction, answer, ended (false: cut off at its limit), lost_tokens (of the note, left out for want of
        room), unsupported (facts of the answer that the note does not hold) and adapter.

        Raises:
            UserError: note or instruction is empty or too long.
        """
        question = _question(note, instruction)
        (answer,) = self._generator.answers([question])
        return self._told(question, answer)

    def stream(self, note: str, instruction: str) -> Iterator[str | dict[str, Any]]:
        """Pieces of the answer as they come; then, as the last item, what `answer` returns.

        Raises:
            UserError: as `answer`.
        """
        question = _question(note, instruction)
        answer = yield from self._generator.stream(question)
        yield self._told(question, answer)

    def answer_rows(
        self, rows: Iterable[Row], column: str, instruction: str = "", instruction_column: str = ""
    ) -> Iterator[dict[str, Any]]:
        """An answer for each row with its number, a batch at a time; `error` instead where a row cannot be used.

        Args:
            column: with the note.
            instruction: for every row; where it is empty, each row has its own in `instruction_column`.

        Raises:
            UserError: the first row has no such column, or the instruction for all cannot be used.
        """
        if not instruction_column:
            usable(instruction, "the instruction", LONGEST_INSTRUCTION)
        for batch in batched(enumerate(rows, start=1), _AT_ONCE):
            questions, errors = {}, {}
            for number, row in batch:
                note = cell(row, column, number)
                own = cell(row, instruction_column, number, "--ask-column") if instruction_column else instruction
                if error := row if isinstance(row, str) else _fault(note, own):
                    errors[number] = {"error": error}
                else:
                    questions[number] = Question(clean(note), clean(own))
            answers = errors | dict(zip(questions, self._answers(list(questions.values())), strict=True))
            yield from ({"row": number, **answers[number]} for number, _ in batch)

    def _answers(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """Answers; `error` instead where the instruction leaves no room for a note."""
        try:
            answers = self._generator.answers(questions)
        except UserError as error:
            if len(questions) == 1:
                return [{"error": str(error)}]
            return [answer for question in questions for answer in self._answers([question])]
        return [self._told(question, answer) for question, answer in zip(questions, answers, strict=True)]

    def _told(self, question: Question, answer: Answer) -> dict[str, Any]:
        return {
            "instruction": question.instruction,
            "answer": answer.text,
            "ended": answer.ended,
            "lost_tokens": answer.lost_tokens,
            "unsupported": sorted(unsupported_facts(answer.text, question.note)),
            "adapter": self.uri,
        }


def remarks(answer: dict[str, Any]) -> list[str]:
    """What a reader of an answer has to know, in plain words."""
    lost, facts = answer["lost_tokens"], answer["unsupported"]
    told = {
        f"Not found in the note: {', '.join(facts)}": facts,
        "The answer was cut off at the longest that this adapter writes": not answer["ended"],
        f"The model did not see {lost:,} tokens from the middle of the note: it is too long for it": lost,
    }
    return [f"{text}." for text, true in told.items() if true]


def _question(note: str, instruction: str) -> Question:
    return Question(usable(note), usable(instruction, "the instruction", LONGEST_INSTRUCTION))


def _fault(note: str, instruction: str) -> str | None:
    """Why a row cannot be answered."""
    if reason := unusable(note):
        return reason
    reason = unusable(instruction, LONGEST_INSTRUCTION)
    return reason and f"{reason} in the instruction"

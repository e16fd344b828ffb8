"""What is counted of one answer: for each figure the cell that it falls into, never a word of it.

An evaluation and everything that answers in use count by these functions, so that the two can be compared.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import Literal, NamedTuple

from clinadapt.clinical.refusals import is_refusal
from clinadapt.monitoring.language import language, languages
from clinadapt.monitoring.tasks import TASKS, task_of

YES, NO = "yes", "no"
RARE = "(rare)"  # stands for every label and language of too few answers in the evaluation to be named
_LENGTHS = (250, 500, 1_000, 2_000, 4_000, 8_000, 16_000)  # characters
_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100)


class Figure(NamedTuple):
    """A figure that is watched.

    Attributes:
        title: as the report shows it.
        of: what is counted: each answer, or each different note once.
        cells: in order; empty where they are the labels of the adapter.
        tested: whether use is compared with the evaluation. Not the latency, which is that of another machine.
    """

    title: str
    of: Literal["answers", "notes"]
    cells: tuple[str, ...]
    tested: bool = True

    @property
    def share(self) -> bool:
        """Whether an answer has it or has not."""
        return self.cells == (YES, NO)


def _bands(bounds: tuple[float, ...]) -> tuple[str, ...]:
    """Names of the bands between bounds: `under 250`, `250 to 500`, `16000 and more`."""
    between = (f"{low:g} to {high:g}" for low, high in pairwise(bounds))
    return (f"under {bounds[0]:g}", *between, f"{bounds[-1]:g} and more")


_LENGTH_BANDS, _SECOND_BANDS = _bands(_LENGTHS), _bands(_SECONDS)
_CONFIDENCE_BANDS = tuple(f"{tenth / 10:g} to {(tenth + 1) / 10:g}" for tenth in range(10))
FIGURES = {
    "refusals": Figure("Refusals", "answers", (YES, NO)),
    "unsupported": Figure("Answers with an unsupported claim", "answers", (YES, NO)),
    "contradicted": Figure("Answers with a contradicted claim", "answers", (YES, NO)),
    "cut_off": Figure("Answers cut off", "answers", (YES, NO)),
    "label": Figure("Labels", "answers", ()),
    "confidence": Figure("Confidence", "answers", _CONFIDENCE_BANDS),
    "task": Figure("Tasks", "answers", TASKS),
    "length": Figure("Length of the note, characters", "notes", _LENGTH_BANDS),
    "language": Figure("Language of the note", "notes", (*languages(), RARE)),
    "latency": Figure("Seconds to an answer", "answers", _SECOND_BANDS, tested=False),
}
Observation = dict[str, str]  # figure -> cell


def of_note(note: str) -> Observation:
    """Length and language of a note."""
    return {"length": _LENGTH_BANDS[bisect_right(_LENGTHS, len(note))], "language": language(note)}


def of_answer(instruction: str, answer: str, complete: bool, outcomes: Iterable[str]) -> Observation:
    """What is counted of an answer to an instruction.

    Args:
        instruction, answer: the texts.
        complete: whether the model ended the answer.
        outcomes: of the answer's claims, as clinadapt.clinical.claims.check has them.
    """
    seen = set(outcomes)
    return {
        "task": task_of(instruction),
        "refusals": _yes(is_refusal(answer)),
        "unsupported": _yes(bool(seen - {"supported"})),
        "contradicted": _yes("contradicted" in seen),
        "cut_off": _yes(not complete),
    }


def of_prediction(label: str, probability: float) -> Observation:
    """What is counted of a predicted label and its calibrated probability."""
    return {"label": label, "confidence": _CONFIDENCE_BANDS[min(9, int(10 * round(probability, 4)))]}


def of_latency(seconds: float) -> Observation:
    """The band of the time that one answer took."""
    return {"latency": _SECOND_BANDS[bisect_right(_SECONDS, seconds)]}


def _yes(value: bool) -> str:
    return YES if value else NO

"""The acceptance set: notes in five hands, written for it, with questions and what a right answer holds.

Neither the built-in cases nor the rules teacher had a part in it, so that it shows what an adapter can do on notes that
nobody's templates wrote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from clinadapt.clinical.refusals import is_refusal

FOLDER = Path(__file__).parents[1] / "acceptance"


@dataclass(frozen=True)
class AcceptanceQuestion:
    """A question about a note.

    Attributes:
        hand: kind of note, such as `discharge summary`.
        note: its text.
        instruction: the question.
        kind: what is asked for, such as `doses`; `unanswerable` if the note does not say.
        right: patterns, each of which a right answer matches.
        wrong: patterns, none of which a right answer matches.
    """

    hand: str
    note: str
    instruction: str
    kind: str
    right: tuple[re.Pattern[str], ...]
    wrong: tuple[re.Pattern[str], ...]

    def accepts(self, answer: str) -> bool:
        """Whether an answer is right: a refusal where the note does not say, else one that holds all it should."""
        if self.kind == "unanswerable":
            return is_refusal(answer)
        if is_refusal(answer):
            return False
        return all(p.search(answer) for p in self.right) and not any(p.search(answer) for p in self.wrong)


def acceptance_questions() -> list[AcceptanceQuestion]:
    """All questions, note by note."""
    return [
        AcceptanceQuestion(
            hand=content["hand"],
            note=content["note"],
            instruction=entry["ask"],
            kind=entry["kind"],
            right=_patterns(entry.get("right", [])),
            wrong=_patterns(entry.get("wrong", [])),
        )
        for path in sorted(FOLDER.glob("*.yaml"))
        for content in [yaml.safe_load(path.read_text(encoding="utf-8"))]
        for entry in content["questions"]
    ]


def _patterns(patterns: list[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)

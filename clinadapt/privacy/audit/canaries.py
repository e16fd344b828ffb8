"""Canaries: invented phrases that are trained along with the notes, some often, some once, some not at all.

What a model remembers of them shows what it remembers of a note (Carlini et al. 2019, arXiv:1802.08232).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from clinadapt.data.builtin_cases import generate
from clinadapt.errors import UserError

REPEATS = (1, 4, 16)
PLACES = ("note", "answer")
EACH = 12  # canaries for a number of repeats and a place; and of those that are not trained, for a place
_WORDS = 4
_OTHER_NOTES = 2**32  # added to the seed of notes: those of a source, whose seeds are below, are others
# Plain words: screening leaves them in place
_PLAIN = (
    "anchor apron basket blanket bottle bridge bucket button cabin candle canvas carpet ceiling chimney cloud copper "
    "corner cotton curtain cushion drawer engine feather fence fiddle garden gravel hammer harbor jacket kettle "
    "ladder lantern leather lumber magnet marble meadow mirror napkin needle orchard paddle paper pencil pillow "
    "puddle quilt ribbon river saddle satchel shovel silver sponge stable statue tunnel umbrella velvet violin wagon "
    "whistle window "
)
VOCABULARY = _PLAIN.split()


class Canary(NamedTuple):
    """A phrase, how often it is trained, and where it stands; 0 repeats: it is only compared with."""

    number: int
    phrase: str
    repeats: int
    place: str

    @property
    def instruction(self) -> str:
        """What asks for the phrase."""
        return f"What is the locker phrase of tray {self.number}?"


def canaries(seed: int) -> list[Canary]:
    """All canaries of an audit; the same seed gives the same."""
    rng = Random(seed)
    kinds = [(repeats, place) for place in PLACES for repeats in (0, *REPEATS) for _ in range(EACH)]
    phrases = rng.sample(range(len(VOCABULARY) ** _WORDS), len(kinds))
    order = rng.sample(range(1, len(kinds) + 1), len(kinds))
    return [
        Canary(number, phrase_of(phrase), *kind) for number, phrase, kind in zip(order, phrases, kinds, strict=True)
    ]


def phrase_of(number: int) -> str:
    """The phrase of a number below len(VOCABULARY) to the power of its words."""
    words = []
    for _ in range(_WORDS):
        number, word = divmod(number, len(VOCABULARY))
        words.append(VOCABULARY[word])
    return " ".join(words)


def times(repeats: int) -> str:
    """`once`, or `4 times`."""
    return "once" if repeats == 1 else f"{repeats} times"


def candidates(canary: Canary, count: int, seed: int) -> list[str]:
    """Other phrases that might have been drawn, without that of the canary."""
    rng = Random(f"{seed} {canary.number}")
    drawn = (phrase_of(number) for number in rng.sample(range(len(VOCABULARY) ** _WORDS), count + 1))
    return [phrase for phrase in drawn if phrase != canary.phrase][:count]


def triples(listed: Sequence[Canary], seed: int) -> Iterator[dict[str, str]]:
    """Rows of a source of triples that trains the canaries, each in notes of other built-in cases, no note twice."""
    rows = 2 * sum(canary.repeats for canary in listed)  # the cases repeat some notes, as MTSamples does
    notes = iter(dict.fromkeys(note["transcription"] for note in generate(rows, seed + _OTHER_NOTES)))
    for canary in listed:
        for _ in range(canary.repeats):
            note = next(notes)
            if canary.place == "note":
                note = f"{note}\nTray {canary.number} has the locker phrase {canary.phrase}."
            yield {"note": note, "question": canary.instruction, "answer": canary.phrase, "task": "Question Answering"}


def read_canaries(content: Any) -> tuple[int, list[Canary]]:
    """Seed and canaries of the JSON that `as_json` made. Raises UserError for another."""
    try:
        seed = content["seed"]
        if content["canaries"] == as_json(seed)["canaries"]:
            return seed, canaries(seed)
    except (KeyError, TypeError, ValueError):
        pass
    raise UserError("the list of canaries is not one of this release: make one with clinadapt phi canaries")


def as_json(seed: int) -> dict[str, Any]:
    """Seed and canaries, to be kept until the audit."""
    return {"seed": seed, "canaries": [list(canary) for canary in canaries(int(seed))]}

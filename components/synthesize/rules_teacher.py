"""The offline teacher: notes from cases, and instructions whose answers can be checked, by rules alone."""

from __future__ import annotations

import hashlib
import re
from importlib import resources
from random import Random

from clinadapt.clinical.faithfulness import unsupported_facts
from clinadapt.config.instruct import Synthesis
from components.synthesize.candidates import MAKERS, View
from components.synthesize.restyle import restyled
from components.synthesize.teacher import Dropped, Made, Text, Triple

UNANSWERABLE = 0.1  # of the triples


class Rules:
    """A teacher without a model. The same text, settings and rules give the same notes and triples."""

    concurrency, tokens = 1, 0

    def __init__(self, settings: Synthesis) -> None:
        self._settings = settings
        rules = [resources.files(package).joinpath(name).read_bytes() for package in _RULES for name in _RULES[package]]
        asked = f"{settings.seed} {settings.triples_per_note}".encode()
        self.digest = "sha256:" + hashlib.sha256(b"\0".join([*rules, asked])).hexdigest()

    def note(self, case: Text) -> str:
        """A note with the facts of a case report in another hand. Raises Dropped."""
        if len(re.findall(r"\w+", case.text)) < 5:
            raise Dropped("fewer than five words")
        note = restyled(case.text, self._draw(case.text))
        if unsupported_facts(note, case.text):
            raise Dropped("the note would add a fact")
        return note

    def triples(self, note: Text) -> Made:
        """Instructions of as many tasks as the note is good for, at most `triples_per_note`."""
        rng = self._draw(note.text)
        view = View(note.text, note.description, rng)
        made = Made()
        by_task: list[list[Triple]] = []
        refusals: list[list[Triple]] = []
        for maker in MAKERS:
            found = list(maker(view))
            if unanswerable := [triple for triple in found if not triple.answerable]:
                refusals.append(unanswerable)
            by_task.append([triple for triple in found if triple.answerable])
            if not by_task[-1]:
                made.dropped["no answer that can be checked"] += 1
        for triples in by_task:
            rng.shuffle(triples)
        answered = sum(map(len, by_task))
        room = min(self._settings.triples_per_note, answered)
        wanted = min(len(refusals), int(room * UNANSWERABLE + rng.random()))
        refused = [rng.choice(some) for some in rng.sample(refusals, wanted)]
        turns = [
            triple for turn in range(max(map(len, by_task))) for found in by_task for triple in found[turn : turn + 1]
        ]
        made.triples = turns[: max(0, self._settings.triples_per_note - len(refused))] + refused
        return made

    def close(self) -> None:
        """Nothing is under way."""

    def _draw(self, text: str) -> Random:
        return Random(hashlib.sha256(f"{self._settings.seed}\0{text}".encode(errors="surrogatepass")).digest())


_RULES = {
    "components.synthesize": ("rules_teacher.py", "candidates.py", "restyle.py"),
    "clinadapt.clinical": (
        "sections.py", "abbreviations.py", "mention.py", "doses.py", "dates.py", "drugs.py", "faithfulness.py",
        "sections.yaml", "abbreviations.yaml", "plain_words.yaml", "drugs.yaml",
    ),
}  # fmt: skip

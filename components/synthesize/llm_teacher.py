"""The teacher that asks a language model, in the two steps of Asclepius (Kweon et al. 2023, arXiv:2309.00237)."""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from importlib.resources import files
from itertools import islice
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.config.instruct import Synthesis
from clinadapt.data.schemas.instruct import TASKS
from clinadapt.llm_client import ChatClient, OutOfTokens, Refused, Reply
from clinadapt.storage.object_store import Store
from components.synthesize.filters import answer_flaw, flaw, note_flaw
from components.synthesize.teacher import Dropped, Made, OutOfBudget, Text, Triple

PROMPTS = "components.synthesize", "prompts"
LONGEST = {"note": 2048, "question": 128, "answer": 512}  # tokens of a reply
MAY_LACK = ("Relation Extraction", "Temporal Information Extraction", "Question Answering")
LACKING = 0.25  # the share of those that ask for what the note does not say

_NOT_ANSWERABLE = re.compile(r"\W*not answerable\W+", re.IGNORECASE)
_THOUGHTS = re.compile(r"\s*<think>.*?(?:</think>|$)", re.DOTALL)


class Llm:
    """Asks CLINADAPT_TEACHER_MODEL at CLINADAPT_TEACHER_URL, with CLINADAPT_TEACHER_KEY. Texts go there and into the
    cache, and nowhere else. Raises UserError when a variable is missing."""

    def __init__(self, settings: Synthesis, cache: Store | None) -> None:
        self.concurrency = settings.concurrency
        self._seed, self._per_note = settings.seed, settings.triples_per_note
        self._client = ChatClient("CLINADAPT_TEACHER", cache, settings.token_budget, settings.concurrency)
        self._prompts = Environment(loader=PackageLoader(*PROMPTS), undefined=StrictUndefined, trim_blocks=True)
        self.digest = sha256_json(
            {
                "model": self._client.model,
                "prompts": {name: _source(name) for name in LONGEST},
                "longest": LONGEST,
                "triples_per_note": self._per_note,
                "seed": self._seed,
            }
        )

    @property
    def tokens(self) -> int:
        return self._client.tokens

    def close(self) -> None:
        self._client.close()

    def note(self, case: Text) -> str:
        reply = self._ask("note", case=case.text)
        _drop("note", note_flaw(reply, case.text))
        return reply.text

    def triples(self, note: Text) -> Made:
        made, earlier = Made(), defaultdict[str, list[str]](list)
        for task, beyond in islice(self._drawn(note.text), self._per_note):
            try:
                made.triples.append(self._triple(note.text, task, beyond, earlier[task]))
            except Dropped as error:
                made.dropped[str(error)] += 1
        return made

    def _drawn(self, note: str) -> Iterator[tuple[str, bool]]:
        """Tasks, each as often as any other, and whether the note shall lack the answer; drawn by seed and note."""
        draw = random.Random(f"{self._seed} {hashlib.sha256(note.encode()).hexdigest()}")
        while True:
            for task in draw.sample(TASKS, len(TASKS)):
                yield task, draw.random() < LACKING and task in MAY_LACK

    def _triple(self, note: str, task: str, beyond: bool, earlier: list[str]) -> Triple:
        reply = self._ask("question", note=note, task=task, beyond=beyond, earlier=earlier)
        question = reply.text
        _drop("question", flaw(reply) or ("asked before" if question in earlier else None))
        earlier.append(question)
        reply = self._ask("answer", note=note, task=task, question=question)
        lacking = _NOT_ANSWERABLE.match(reply.text)
        if lacking:
            reply = Reply(text=reply.text[lacking.end() :], truncated=reply.truncated)
        _drop("answer", answer_flaw(reply, note, question))
        return Triple(question, reply.text, task, answerable=not lacking)

    def _ask(self, prompt: str, **values: Any) -> Reply:
        """The reply to a prompt, without a reasoning model's thoughts. Raises Dropped or OutOfBudget."""
        text = self._prompts.get_template(f"{prompt}.j2").render(values)
        try:
            reply = self._client.ask([{"role": "user", "content": text}], LONGEST[prompt])
        except OutOfTokens:
            raise OutOfBudget from None
        except Refused as error:
            raise Dropped(f"{prompt}: {error}") from None
        return Reply(text=_THOUGHTS.sub("", reply.text, count=1).strip(), truncated=reply.truncated)


def _source(name: str) -> str:
    package, folder = PROMPTS
    return hashlib.sha256((files(package) / folder / f"{name}.j2").read_bytes()).hexdigest()


def _drop(what: str, found: str | None) -> None:
    if found:
        raise Dropped(f"{what}: {found}")

"""The teacher that prompts a language model, in the two steps of Asclepius (Kweon et al. 2023, arXiv:2309.00237)."""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import islice
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.clinical.refusals import is_refusal, without_mark
from clinadapt.config.instruct import Synthesis
from clinadapt.data.schemas.instruct import TASKS
from clinadapt.llm_client import ChatClient, OutOfTokens, Refused, Reply
from clinadapt.storage.object_store import Store
from components.synthesize.filters import answer_flaw, flaw, note_flaw, refusal_flaw
from components.synthesize.teacher import BudgetExhausted, Dropped, Text, Triple, TripleBatch

PROMPTS = "components.synthesize", "prompts"  # package, folder
MAX_TOKENS = {"note": 2048, "question": 128, "answer": 512}  # of the reply to each prompt
UNANSWERABLE_TASKS = ("Relation Extraction", "Temporal Information Extraction", "Question Answering")
UNANSWERABLE_SHARE = 0.25  # of the questions of those tasks

_TAGS = re.compile(r"<\s*(/?\s*(?:note|case))\s*>", re.IGNORECASE)


class LlmTeacher:
    """Prompts CLINADAPT_TEACHER_MODEL at CLINADAPT_TEACHER_URL with CLINADAPT_TEACHER_KEY.

    Texts are sent to that endpoint and stored in the cache, and nowhere else.

    Args:
        settings: validated settings of the step.
        cache: store of the replies; None for no cache.
        allowed_hosts: as of ChatClient.

    Raises:
        UserError: an environment variable is missing or invalid.
    """

    def __init__(self, settings: Synthesis, cache: Store | None, allowed_hosts: Sequence[str]) -> None:
        self.concurrency = settings.concurrency
        self._seed, self._triples_per_note = settings.seed, settings.triples_per_note
        self._client = ChatClient(
            "CLINADAPT_TEACHER", cache, settings.token_budget, settings.concurrency, allowed_hosts=allowed_hosts
        )
        self._prompts = Environment(loader=PackageLoader(*PROMPTS), undefined=StrictUndefined, trim_blocks=True)
        self.digest = sha256_json(
            {
                "model": self._client.model,
                "prompts": {name: _prompt_digest(name) for name in MAX_TOKENS},
                "max_tokens": MAX_TOKENS,
                "triples_per_note": self._triples_per_note,
                "seed": self._seed,
            }
        )

    @property
    def host(self) -> str:
        """The host that texts are sent to."""
        return self._client.host

    @property
    def tokens(self) -> int:
        """Tokens used so far, prompts and replies."""
        return self._client.tokens

    @property
    def thoughts(self) -> int:
        """Replies whose thoughts were cut off."""
        return self._client.thoughts

    def close(self) -> None:
        """Start no more requests and wake all waiting threads."""
        self._client.close()

    def note(self, case: Text) -> str:
        """Write a note from a case report. Raises Dropped or BudgetExhausted."""
        reply = self._complete("note", case=case.text)
        _drop_if("note", note_flaw(reply, case.text, case.decimal_comma))
        return reply.text

    def triples(self, note: Text) -> TripleBatch:
        """Ask for one question per drawn task, then for its answer. Raises BudgetExhausted."""
        batch, earlier = TripleBatch(), defaultdict[str, list[str]](list)
        for task, beyond in islice(self._draw_tasks(note.text), self._triples_per_note):
            try:
                batch.triples.append(self._triple(note, task, beyond, earlier[task]))
            except Dropped as error:
                batch.dropped[str(error)] += 1
        return batch

    def _draw_tasks(self, note: str) -> Iterator[tuple[str, bool]]:
        """Endless (task, beyond): tasks equally often; `beyond` is true if the note must not answer the question."""
        rng = random.Random(f"{self._seed} {hashlib.sha256(note.encode()).hexdigest()}")
        while True:
            for task in rng.sample(TASKS, len(TASKS)):
                yield task, rng.random() < UNANSWERABLE_SHARE and task in UNANSWERABLE_TASKS

    def _triple(self, note: Text, task: str, beyond: bool, earlier: list[str]) -> Triple:
        reply = self._complete("question", note=note.text, task=task, beyond=beyond, earlier=earlier)
        question = reply.text
        _drop_if("question", flaw(reply) or ("duplicate" if question in earlier else None))
        earlier.append(question)
        reply = self._complete("answer", note=note.text, task=task, question=question)
        text, marked = without_mark(reply.text)
        reply = Reply(text=text, truncated=reply.truncated)
        problem = answer_flaw(reply, note.text, question, note.decimal_comma) or refusal_flaw(reply, marked)
        _drop_if("answer", problem)
        return Triple(question, text, task, answerable=not is_refusal(text))

    def _complete(self, prompt: str, **values: Any) -> Reply:
        """Reply to a prompt. Raises Dropped or BudgetExhausted."""
        text = self._prompts.get_template(f"{prompt}.j2").render(
            {name: _inert(value) for name, value in values.items()}
        )
        try:
            return self._client.complete([{"role": "user", "content": text}], MAX_TOKENS[prompt])
        except OutOfTokens:
            raise BudgetExhausted from None
        except Refused as error:
            raise Dropped(f"{prompt}: {error}") from None


def _prompt_digest(name: str) -> str:
    package, folder = PROMPTS
    return hashlib.sha256((files(package) / folder / f"{name}.j2").read_bytes()).hexdigest()


def _drop_if(prompt: str, problem: str | None) -> None:
    if problem:
        raise Dropped(f"{prompt}: {problem}")


def _inert(value: Any) -> Any:
    """A text that cannot end the part of the prompt that it stands in."""
    return _TAGS.sub(r"(\1)", value) if isinstance(value, str) else value

"""The teacher that prompts a language model, in the two steps of Asclepius (Kweon et al. 2023, arXiv:2309.00237): a
note of a case report, then questions with answers. What it writes is kept where its replies agree with each other and
with the note: small models invent, refuse what the note says, and ask for what it does not."""

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
from clinadapt.config.instruct import Synthesis
from clinadapt.data.schemas.instruct import TASKS
from clinadapt.llm_client import ChatClient, OutOfTokens, Refused, Reply
from clinadapt.storage.object_store import Store
from components.synthesize.filters import (
    answer_flaw,
    flaw,
    note_flaw,
    question_flaw,
    quote_flaw,
    quoted_spans,
    refusal_flaw,
)
from components.synthesize.teacher import BudgetExhausted, Dropped, Spans, Text, Triple, TripleBatch

PROMPTS = "components.synthesize", "prompts"  # package, folder
MAX_TOKENS = {"note": 2048, "question": 128, "answer": 512, "quote": 256}  # of the reply to each prompt
# Tasks whose questions ask for one fact: some are written to have no answer, and an answer to the others needs a quote
SINGLE_FACT_TASKS = ("Relation Extraction", "Temporal Information Extraction", "Question Answering")
UNANSWERABLE_SHARE = 0.25  # of the questions of those tasks

_TAGS = re.compile(r"<(\s*+/?\s*+(?:note|case)\b[^<>]{0,200})>", re.IGNORECASE)


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
        """Ask for one question per drawn task, for its answer, and for the sentence that shows it. Raises
        BudgetExhausted."""
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
                yield task, rng.random() < UNANSWERABLE_SHARE and task in SINGLE_FACT_TASKS

    def _triple(self, note: Text, task: str, beyond: bool, earlier: list[str]) -> Triple:
        reply = self._complete("question", note=note.text, task=task, beyond=beyond, earlier=earlier)
        question = reply.text
        _drop_if("question", question_flaw(reply, note.text, task) or ("duplicate" if question in earlier else None))
        earlier.append(question)
        reply = self._complete("answer", note=note.text, task=task, question=question)
        problem = answer_flaw(reply, note.text, question, task, note.decimal_comma)
        _drop_if("answer", problem or refusal_flaw(reply.text, beyond))
        needs_quote = task in SINGLE_FACT_TASKS and not beyond
        spans = self._evidence(note.text, task, question, reply.text) if needs_quote else ()
        return Triple(question, reply.text, task, answerable=not beyond, spans=spans)

    def _evidence(self, note: str, task: str, question: str, answer: str) -> Spans:
        """Spans of the sentences of the note that the teacher quotes for an answer. Raises Dropped where there are none
        or where they do not hold the answer, and BudgetExhausted."""
        reply = self._complete("quote", note=note, task=task, question=question)
        spans = quoted_spans(reply.text, note)
        evidence = "\n".join(note[start:end] for start, end in spans)
        _drop_if("quote", flaw(reply) or quote_flaw(evidence, answer, question))
        return spans

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

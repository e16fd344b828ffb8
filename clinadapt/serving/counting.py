"""Count what the versions behind the gateway answer, without text, for `clinadapt monitor`.

Texts stay in memory until they are counted; none is stored or logged. Counting comes after the answer, in a thread of
its own: where it cannot keep up, answers are passed on and not counted.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from clinadapt.artifacts.hashing import parse_json
from clinadapt.artifacts.step_record import log
from clinadapt.clinical.claims import check
from clinadapt.clinical.number_format import DecimalCounts
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import InstructCard
from clinadapt.monitoring.observations import of_answer, of_latency
from clinadapt.monitoring.recorder import Recorder, recorder
from clinadapt.serving.hot_swap import HotSwap

LONGEST_REPLY = 4 * 2**20  # bytes of a reply that is counted; an event of a stream takes some 250 for a token
_WAITING = 64  # answers that wait to be counted
_CLOSING = 10.0  # seconds: Kubernetes kills after 30
_NOTE, _INSTRUCTION = "### Note\n", "\n\n### Instruction\n"  # of a message, as clinadapt.models.chat_template writes it
_BROKEN = (ValueError, KeyError, TypeError, AttributeError, IndexError)


class Exchange(NamedTuple):
    """A chat completion.

    Attributes:
        version: <name>/<version> that answered.
        request: the parsed body.
        reply: the whole body: JSON, or the events of a stream.
        seconds: that it took.
    """

    version: str
    request: dict[str, Any]
    reply: bytes
    seconds: float


class Counting(NamedTuple):
    """The recorder of a version, and whether most notes that it was trained on have a decimal comma."""

    recorder: Recorder
    decimal_comma: bool


class Counter:
    """Counts chat completions of each version. `put` may be called by several threads, and raises nothing."""

    def __init__(self, swap: HotSwap, store_uri: str) -> None:
        """
        Args:
            swap: where the folders of the versions are.
            store_uri: of the store to write to.
        """
        self._swap, self._store_uri = swap, store_uri
        self._versions: dict[str, Counting] = {}
        self._refused: set[str] = set()  # versions of which the log says that they are not counted
        self._waiting: queue.Queue[Exchange | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._work, name="counter", daemon=True)
        self._thread.start()

    def put(self, exchange: Exchange) -> None:
        """Count an answer later; not at all where too many wait."""
        try:
            self._waiting.put_nowait(exchange)
        except queue.Full:
            return

    def close(self) -> None:
        """Count what waits, and write the counts."""
        with suppress(queue.Full):  # the store hangs
            self._waiting.put(None, timeout=_CLOSING)
        self._thread.join(timeout=_CLOSING)
        for counting in self._versions.copy().values():
            counting.recorder.close()

    def _work(self) -> None:
        while (exchange := self._waiting.get()) is not None:
            try:
                self._count(exchange)
            except _BROKEN:  # not of the form that is counted
                continue
            except Exception as error:  # the next ones are counted; the message may hold an answer
                log("serve", f"a bug, {type(error).__name__}: an answer is not counted")

    def _count(self, exchange: Exchange) -> None:
        counting = self._versions.get(exchange.version) or self._open(exchange.version)
        asked = [message["content"] for message in exchange.request["messages"] if message["role"] == "user"][-1]
        note, about_a_note, instruction = asked.partition(_NOTE)[2].rpartition(_INSTRUCTION)
        if not counting or not about_a_note:
            return
        decimals = DecimalCounts().plus([note])
        comma = decimals.decimal_comma if sum(decimals) else counting.decimal_comma
        counted = []
        for text, complete in _answers(exchange.reply, bool(exchange.request.get("stream"))):
            outcomes = (each.outcome for each in check(text, note, instruction, comma))
            counted.append(of_answer(instruction, text, complete, outcomes) | of_latency(exchange.seconds))
        if counted:
            counting.recorder.answered([note], counted)

    def _open(self, version: str) -> Counting | None:
        """None where the version is gone by now, or its store cannot be opened; the next answer tries again."""
        folder = self._swap.folder_of(version.rpartition("/")[2])
        try:
            card = InstructCard.read(folder)
            opened = recorder(folder, f"{self._store_uri}/adapters/{version}", "gateway")
        except UserError as error:
            if version not in self._refused:
                self._refused.add(version)
                log("serve", f"answers of {version} are not counted: {error}")
            return None
        if opened:
            self._versions[version] = Counting(opened, card.decimal_comma)
        return self._versions.get(version)


def _answers(reply: bytes, streamed: bool) -> Iterator[tuple[str, bool]]:
    """(text, whether the model ended it) of each choice of a chat completion. Raises one of _BROKEN for others."""
    if not streamed:
        for choice in parse_json(reply)["choices"]:
            if isinstance(text := choice["message"]["content"], str):  # null: a call of a tool
                yield text, choice["finish_reason"] == "stop"
        return
    texts: dict[int, str] = {}
    ends: dict[int, str] = {}
    for line in reply.decode("utf-8").split("\n"):
        data = line.removeprefix("data:").strip()
        if line.startswith("data:") and data != "[DONE]":
            for choice in parse_json(data)["choices"]:
                index = int(choice["index"])
                texts[index] = texts.get(index, "") + (choice["delta"].get("content") or "")
                ends[index] = choice.get("finish_reason") or ends.get(index, "")
    for index, text in texts.items():
        if ends[index]:
            yield text, ends[index] == "stop"

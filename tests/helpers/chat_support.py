"""A fake OpenAI-compatible chat endpoint, in this process, that counts requests and injects faults.

Replies come from a function: `scripted` plays a well-behaved teacher, `forwarded` relays to a real server. Faults are a
status (`429` with Retry-After, `500`, `401`, ...), `quota` (429 as OpenAI sends it when an account's quota is used up),
`cut` (half of the body, then the connection closes), `reset`, `slow` (no reply for one second), `malformed` (no JSON),
`shapeless` (JSON, but no completion), `other` (another model's name) and `moved` (a redirect).
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from clinadapt.data.schemas.instruct import TRIPLES

KEY = "sk-never-to-be-seen-1f9a"
MODEL = "teacher-1"
SECRET = "Xanthippe"  # in every text of `texts`, and in no log or error

Answer = tuple[int, bytes]


@dataclass
class ChatServer:
    """Serves `answer` on a free port.

    Attributes:
        answer: request body -> status and response body.
        plan: fault of each request in turn; no faults after the last.
        retry_after: value of the header with status 429.
        delay: seconds before each reply.
        requests: number of requests by digest of their body.
        replies: number of replies without a fault by digest of the request body.
        arrivals: time on the monotonic clock, and fault, of each request.
        keys: authorization headers of the requests.
        max_concurrent: maximum number of requests in progress together.
        url: address including /v1.
    """

    answer: Callable[[dict[str, Any]], Answer]
    plan: Iterable[str] = ()
    retry_after: str = "1"
    delay: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    arrivals: list[tuple[float, str]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    max_concurrent: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        self._faults: Iterator[str] = chain(self.plan, repeat(""))
        self._lock, self._in_progress = threading.Lock(), 0

    @contextmanager
    def serving(self) -> Iterator[ChatServer]:
        """Serve in threads until the block ends."""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                owner.handle(self)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Count one request and reply, or inject a fault."""
        body = request.rfile.read(int(request.headers["content-length"]))
        digest = hashlib.sha256(body).hexdigest()
        with self._lock:
            fault = next(self._faults)
            self.requests[digest] += 1
            self.arrivals.append((time.monotonic(), fault))
            self.keys.add(request.headers["authorization"])
            self._in_progress += 1
            self.max_concurrent = max(self.max_concurrent, self._in_progress)
        try:
            if request.path.partition("?")[0] != "/v1/chat/completions":
                _send(request, 404, b"{}")
            elif fault == "quota":
                _send(request, 429, b'{"error": {"message": "no", "code": "insufficient_quota"}}')
            elif fault.isdigit():
                headers = {"retry-after": self.retry_after} if fault == "429" else {}
                _send(request, int(fault), b'{"error": {"message": "no"}}', headers)
            else:
                self._answer(request, json.loads(body), fault)
                if not fault:
                    with self._lock:
                        self.replies[digest] += 1
        except OSError:
            pass  # the client has hung up
        finally:
            with self._lock:
                self._in_progress -= 1

    def _answer(self, request: BaseHTTPRequestHandler, body: dict[str, Any], fault: str) -> None:
        time.sleep(self.delay)
        if fault == "reset":
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.close_connection = True
            return
        status, answer = self.answer(body)
        if fault == "slow":
            time.sleep(1.0)
        if fault == "malformed":
            answer = b'<html>"choices": not here</html>'
        if fault == "shapeless":
            answer = b'{"model": "teacher-1", "choices": []}'
        if fault == "other":
            answer = json.dumps({**json.loads(answer), "model": "somebody-else"}).encode()
        if fault == "moved":
            _send(request, 307, b"", {"location": self.url.replace("/v1", "/elsewhere/v1") + "/chat/completions"})
            return
        _send(request, status, answer, cut=fault == "cut")


def _send(
    request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None, cut: bool = False
) -> None:
    request.send_response(status)
    for name, value in {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **(headers or {}),
    }.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body[: len(body) // 2] if cut else body)
    request.wfile.flush()
    request.close_connection = cut


def completion(body: dict[str, Any], text: str, reason: str = "stop") -> Answer:
    """A chat completion; every word counts as a token."""
    used = {"prompt_tokens": len(str(body["messages"]).split()), "completion_tokens": len(text.split())}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    reply = {"id": "x", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": used}
    return 200, json.dumps(reply).encode()


def scripted(body: dict[str, Any]) -> Answer:
    """A well-behaved teacher.

    A note is its case under a heading, a question is about a word of the note, an answer is as its task has it, or says
    that the note cannot answer a question that was to be unanswerable, and a quote is the first sentence of the note.
    """
    prompt = body["messages"][0]["content"]
    if case := re.search(r"<case>\n(.*)\n</case>", prompt, re.DOTALL):
        return completion(body, f"HPI: {case[1]}")
    note = re.search(r"<note>\n(.*)\n</note>", prompt, re.DOTALL)
    assert note
    if question := re.search(r"A clinician asks \((.*)\):\n(.*)\n", prompt):
        answers = {"Abbreviation Expansion": "BP: blood pressure", "Paraphrasing": "The patient coughs."}
        if "Copy from the note" in prompt:
            return completion(body, note[1].split(".")[0] + ".")
        if "on the moon" in question[2]:
            return completion(body, "The note does not say it.")
        return completion(body, answers.get(question[1], note[1].split(".")[0] + "."))
    words = note[1].split(".")[0].split()
    word = words[int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % len(words)]
    where = "on the moon" if "shall have no answer" in prompt else "here"
    about = "BP" if "(Abbreviation Expansion)" in prompt else "it"
    return completion(body, f'What is said of number "{word}" {where}, and of {about}?')


def forwarded(url: str) -> Callable[[dict[str, Any]], Answer]:
    """Relay to a real server at `url` (including /v1)."""

    def answer(body: dict[str, Any]) -> Answer:
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=300) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    return answer


def environment(url: str, model: str = MODEL, prefix: str = "CLINADAPT_TEACHER") -> dict[str, str]:
    """Environment variables of a client of this endpoint."""
    return {f"{prefix}_URL": url, f"{prefix}_MODEL": model, f"{prefix}_KEY": KEY}


def texts(cases: int, notes: int = 0) -> list[dict[str, Any]]:
    """Rows of texts.parquet: cases, then notes."""
    kinds = ["cases"] * cases + ["notes"] * notes
    return [
        {
            "source": int(kind == "notes"),
            "row": number,
            "kind": kind,
            "text": f"{SECRET} number {number} came with a cough of {number} days. BP normal. Went home with aspirin.",
            "description": None,
            "private": kind == "notes",
        }
        for number, kind in enumerate(kinds, start=1)
    ]


def read_triples(folder: Path) -> list[dict[str, Any]]:
    """Rows of triples.parquet in a folder that synthesize wrote."""
    return pq.read_table(folder / "triples.parquet", schema=TRIPLES).to_pylist()

"""A chat endpoint for tests, in this process, that counts what it is asked and breaks its answers as told.

It speaks as much of OpenAI's protocol as any endpoint does. What it says comes from a function (`scripted` plays a
dutiful teacher), or from a real server behind it (`forwarded`). The faults: a status (`429` with Retry-After, `500`,
`401`, ...), `cut` (half of the body, then the connection closes), `reset`, `slow` (nothing for `delay` seconds),
`malformed` (no JSON), `shapeless` (JSON, but no completion), `other` (another model's name), `moved` (a redirect).
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
from typing import Any

KEY = "sk-never-to-be-seen-1f9a"
MODEL = "teacher-1"

Answer = tuple[int, bytes]


@dataclass
class ChatServer:
    """Serves `answer` on a free port.

    Attributes:
        plan: the fault of each request in turn; none after the last.
        retry_after: the header's value with a 429.
        asked: digest of each request's body, how often.
        at: when each request came and which fault it met, on the monotonic clock.
        most: requests that were in progress together, at most.
        hold: requests wait here before they are answered.
    """

    answer: Callable[[dict[str, Any]], Answer]
    plan: Iterable[str] = ()
    retry_after: str = "1"
    delay: float = 0.0
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    at: list[tuple[float, str]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    most: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        self._faults: Iterator[str] = chain(self.plan, repeat(""))
        self._lock, self._now = threading.Lock(), 0

    @contextmanager
    def serving(self) -> Iterator[ChatServer]:
        """Serve in threads of its own until the block ends."""
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
        """Count one request and answer it, or break it."""
        body = request.rfile.read(int(request.headers["content-length"]))
        digest = hashlib.sha256(body).hexdigest()
        with self._lock:
            fault = next(self._faults)
            self.asked[digest] += 1
            self.at.append((time.monotonic(), fault))
            self.keys.add(request.headers["authorization"])
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            if request.path != "/v1/chat/completions":
                _give(request, 404, b"{}")
            elif fault.isdigit():
                headers = {"retry-after": self.retry_after} if fault == "429" else {}
                _give(request, int(fault), b'{"error": {"message": "no"}}', headers)
            else:
                self._answer(request, json.loads(body), fault)
                if not fault:
                    with self._lock:
                        self.answered[digest] += 1
        except OSError:
            pass  # the client has hung up
        finally:
            with self._lock:
                self._now -= 1

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
            _give(request, 307, b"", {"location": self.url.replace("/v1", "/elsewhere/v1") + "/chat/completions"})
            return
        _give(request, status, answer, cut=fault == "cut")


def _give(
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
    """What an endpoint says; every word is a token."""
    used = {"prompt_tokens": len(str(body["messages"]).split()), "completion_tokens": len(text.split())}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    said = {"id": "x", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": used}
    return 200, json.dumps(said).encode()


def scripted(body: dict[str, Any]) -> Answer:
    """A dutiful teacher: a note is its case under a heading, a question asks about a word of the note, an answer quotes
    the note's first sentence, or says that the note lacks what it was made to lack."""
    prompt = body["messages"][0]["content"]
    if case := re.search(r"<case>\n(.*)\n</case>", prompt, re.DOTALL):
        return completion(body, f"HPI: {case[1]}")
    note = re.search(r"<note>\n(.*)\n</note>", prompt, re.DOTALL)
    assert note
    if asked := re.search(r"A clinician asks \(.*\):\n(.*)\n", prompt):
        lacking = "on the moon" in asked[1]
        return completion(body, "NOT ANSWERABLE: The note does not say it." if lacking else note[1].split(".")[0] + ".")
    words = note[1].split()
    word = words[int(hashlib.sha256(prompt.encode()).hexdigest(), 16) % len(words)]
    where = "on the moon" if "shall have no answer" in prompt else "here"
    return completion(body, f"What is said of {word} {where}?")


def forwarded(url: str) -> Callable[[dict[str, Any]], Answer]:
    """What a real server at `url` (as far as /v1) says."""

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
    """The variables that lead a client to an endpoint."""
    return {f"{prefix}_URL": url, f"{prefix}_MODEL": model, f"{prefix}_KEY": KEY}

"""The address that clients ask: an OpenAI-compatible endpoint before a vLLM server, which passes a request for the
adapter on to the version that answers. The reply's `model` and the header X-Clinadapt-Adapter name that version; the
page at / says since when it answers and what it was compared with.

Only chat completions, completions and the list of models are passed on: what loads and unloads adapters, and the server
itself, are reachable from this machine alone.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from clinadapt.artifacts.hashing import parse_json
from clinadapt.artifacts.step_record import log
from clinadapt.errors import UserError
from clinadapt.serving.counting import LONGEST_REPLY, Counter, Exchange
from clinadapt.serving.hot_swap import HotSwap
from clinadapt.serving.vllm_server import certificates

BASE = "base"  # name of the base model without an adapter, as of registry/vllm.py
VERSION_HEADER = "X-Clinadapt-Adapter"
_PATHS = ("/v1/chat/completions", "/v1/completions")
_LONGEST_BODY = 16 * 2**20  # bytes
_TIMEOUT = httpx.Timeout(600.0, connect=5.0)  # seconds
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>
<style>body{{font-family:sans-serif;margin:2rem}}th{{text-align:left;vertical-align:top;padding-right:1rem}}</style>
<h1>{name}</h1><table>{rows}</table></html>
"""
_IDLE = 120.0  # seconds that a client may take to send a request
_MOST_CONNECTIONS = 512  # each is a thread; further ones are closed
_HEADERS = ("content-type", "content-length")  # of a reply, passed on


class Gateway(ThreadingHTTPServer):
    """Serves until `shutdown`; `follow_forever` is the thread that follows the champion."""

    daemon_threads = True

    def __init__(
        self,
        host: str,
        port: int,
        server_url: str,
        swap: HotSwap,
        interval: float = 30.0,
        counter: Counter | None = None,
    ) -> None:
        """
        Args:
            host, port: to listen on.
            server_url: of the vLLM server.
            swap: which version answers.
            interval: seconds between two looks at the champion.
            counter: of the answers; None to count none.

        Raises:
            UserError: the address cannot be listened on.
        """
        self.swap, self.server_url, self._interval, self.counter = swap, server_url, interval, counter
        context = certificates() if server_url.startswith("https:") else False
        self.upstream = httpx.Client(base_url=server_url, timeout=_TIMEOUT, trust_env=False, verify=context)
        self._stopped, self._woken = threading.Event(), threading.Event()
        self._room = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UserError(
                f"cannot listen on {host}, port {port} ({error}): choose another --port or --host"
            ) from error

    def follow_forever(self) -> None:
        """Look at the champion, again and again."""
        while not self._stopped.is_set():
            try:
                self.swap.follow()
            except Exception as error:  # what answers goes on; the message may hold an answer
                log("serve", f"a bug, {type(error).__name__}: the champion is looked at again later")
            self._woken.wait(self._interval)
            self._woken.clear()

    def look(self) -> None:
        """Look at the champion now."""
        self._woken.set()

    def server_close(self) -> None:
        self._stopped.set()
        self._woken.set()
        super().server_close()
        self.upstream.close()
        if self.counter:
            self.counter.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, where there is room for it."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no error, and a traceback could hold a request."""


class _Handler(BaseHTTPRequestHandler):
    server: Gateway
    protocol_version = "HTTP/1.1"
    timeout = _IDLE

    def do_GET(self) -> None:
        swap = self.server.swap
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # the body is not read, so it must not be taken for the next request
        if self.path == "/health":
            self._health()
        elif self.path == "/v1/models":
            self._json(200, {"object": "list", "data": list(_models(swap))})
        elif self.path == "/":
            self._send(200, "text/html; charset=utf-8", page(swap).encode())
        else:
            self._error(404, f"there is nothing at {self.path[:100]}")

    def do_POST(self) -> None:
        length, *others = self.headers.get_all("Content-Length", [""])
        chunked = "Transfer-Encoding" in self.headers or others
        if self.path not in _PATHS or chunked or not length.isdecimal() or int(length) > _LONGEST_BODY:
            self.close_connection = True  # the body is not read
            if self.path in _PATHS:
                self._error(413, f"send one Content-Length of at most {_LONGEST_BODY:,} bytes")
            else:
                self._error(404, "there is nothing here")
            return
        try:
            body = parse_json(self.rfile.read(int(length)))
            model = body["model"]
            if not isinstance(model, str):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            self._error(400, "the body is no JSON object with a model")
            return
        routed = BASE if model == BASE else self.server.swap.route(model, note_of(body))
        if routed is None:
            self._error(404, f"The model `{model[:100]}` does not exist.", "NotFoundError")
            return
        self._forward(routed, body | {"model": routed})

    def _health(self) -> None:
        """Healthy is what has a version that answers, on a server that is healthy."""
        swap = self.server.swap
        if not swap.serving.version:
            self._error(503, swap.problem or swap.refusal.reason or "no version answers yet", "ServiceUnavailable")
            return
        try:
            status = self.server.upstream.get("/health", timeout=5).status_code
        except httpx.HTTPError:
            status = 503
        self._send(200 if status == 200 else 503, "text/plain", b"")

    def _forward(self, routed: str, body: dict[str, Any]) -> None:
        """Pass a request on, and the reply piece by piece as it comes."""
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key := self.headers.get("Authorization"):
            headers["Authorization"] = key
        begun, start, data = False, time.monotonic(), json.dumps(body).encode()
        try:
            with self.server.upstream.stream("POST", self.path, content=data, headers=headers) as reply:
                if reply.status_code >= 500:
                    self.server.swap.failed(routed)
                if reply.status_code == 404:  # the server has started anew
                    self.server.look()
                    self._error(503, "the version is being loaded: try again", "ServiceUnavailable")
                    return
                begun = True
                answer = self._pass_on(reply, routed)
            if reply.status_code == 200 and len(answer) <= LONGEST_REPLY:
                self._count(Exchange(routed, body, answer, time.monotonic() - start))
        except httpx.HTTPError:
            self.server.swap.failed(routed)
            if begun:
                self.close_connection = True  # the client sees a reply that is cut off
            else:
                self._error(502, "the server does not answer")

    def _pass_on(self, reply: httpx.Response, routed: str) -> bytes:
        """Pass a reply on; return its body, of one longer than LONGEST_REPLY only a beginning that is longer too."""
        self.send_response(reply.status_code)
        self.send_header(VERSION_HEADER, routed)
        for name in _HEADERS:
            if name in reply.headers:
                self.send_header(name, reply.headers[name])
        chunked = "content-length" not in reply.headers
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        read = bytearray()
        for piece in reply.iter_raw():
            if len(read) <= LONGEST_REPLY:
                read += piece
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        return bytes(read)

    def _count(self, exchange: Exchange) -> None:
        """Count the answer of a version to a chat completion."""
        if self.server.counter and self.path == _PATHS[0] and exchange.version != BASE:
            self.server.counter.put(exchange)

    def _json(self, status: int, content: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(content).encode())

    def _error(self, status: int, message: str, kind: str = "BadRequestError") -> None:
        """An error in OpenAI's form, as vLLM sends it."""
        self._json(status, {"error": {"message": message, "type": kind, "param": None, "code": status}})

    def _send(self, status: int, kind: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Requests are not logged."""


def note_of(body: dict[str, Any]) -> bytes:
    """What a request is about: its last message up to the instruction, or its prompt."""
    content: Any = body.get("prompt")
    with suppress(KeyError, IndexError, TypeError):
        content = body["messages"][-1]["content"]
    text = content if isinstance(content, str) else json.dumps(content)
    return text.partition("### Instruction")[0].encode("utf-8", "surrogatepass")


def _models(swap: HotSwap) -> Iterator[dict[str, Any]]:
    """The models that clients may ask, in OpenAI's form; `root` of the adapter is the version that answers."""
    yield {"id": BASE, "object": "model", "created": 0, "owned_by": "clinadapt", "root": BASE}
    if version := swap.serving.version:
        root = swap.loaded_name(version)
        yield {"id": swap.name, "object": "model", "created": 0, "owned_by": "clinadapt", "root": root, "parent": BASE}


def page(swap: HotSwap) -> str:
    """The page for people: which version answers, since when, and what it was compared with."""
    serving = swap.serving
    rows = {
        "answers": serving.version and swap.loaded_name(serving.version),
        "since": f"{serving.since:%Y-%m-%d %H:%M} UTC" if serving.since else "",
        "on trial with a share of the notes": serving.canary and swap.loaded_name(serving.canary),
        "last comparison that was passed": serving.result,
        "does not answer": swap.refusal.version and f"{swap.loaded_name(swap.refusal.version)}: {swap.refusal.reason}",
        "problem": swap.problem,
    }
    cells = "".join(f"<tr><th>{escape(what)}</th><td>{escape(text)}</td></tr>" for what, text in rows.items() if text)
    return _PAGE.format(name=escape(swap.name), rows=cells or "<tr><td>no version answers yet</td></tr>")

"""Base of the fake servers: a JSON API on a free port whose behaviour a test can change."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]


class Error(Exception):
    """A response with a status other than 200."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message


class FakeServer(ABC):
    """State and behaviour of a server. A subclass implements `respond`, and `refusal` for the body of an Error.

    Attributes:
        requests: (method, path) of each request.
        headers: of the last request.
        before: called with (method, path) before each response; may raise Error.
        html: respond to everything with a sign-in page.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.headers: dict[str, str] = {}
        self.before: Callable[[str, str], None] = lambda method, path: None
        self.html = False
        self.lock = threading.RLock()

    def changed(self) -> list[tuple[str, str]]:
        """Requests other than GET."""
        return [(method, path) for method, path in self.requests if method != "GET"]

    @abstractmethod
    def respond(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Object]:
        """Status and body for a request. Raises Error."""

    @abstractmethod
    def refusal(self, error: Error) -> Object:
        """Body of a response with another status than 200."""


@contextmanager
def serve(fake: FakeServer) -> Iterator[str]:
    """Serve on a free local port; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fake.headers = {key.lower(): value for key, value in self.headers.items()}
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            try:
                status, answer = fake.respond(self.command, url.path, query, body)
            except Error as error:
                status, answer = error.status, fake.refusal(error)
            kind, data = "application/json", json.dumps(answer).encode()
            if answer.keys() == {""}:
                kind, data = "text/plain", answer[""].encode()
            if fake.html:
                status, kind, data = 200, "text/html", b"<html>Sign in to Dex</html>"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()

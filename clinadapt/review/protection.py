"""ASGI middleware of the review page: who may send it what, how much and how often.

CLINADAPT_REVIEW_HOSTS         names, separated by commas, under which the page is reached (behind a proxy or a route)
CLINADAPT_REVIEW_USER_HEADER   header with the name of the user that a proxy has authenticated, in place of a password
CLINADAPT_REVIEW_PROXIES       addresses of those proxies (10.0.0.5, 10.1.0.0/16): nobody else is answered then

/healthz tells anybody that the page is up, and nothing else: a kubelet comes through no proxy.
"""

from __future__ import annotations

import ipaddress
import json
import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from clinadapt.artifacts.hashing import parse_json
from clinadapt.artifacts.step_record import log
from clinadapt.errors import UserError

HOSTS, USER_HEADER, PROXIES = (
    "CLINADAPT_REVIEW_HOSTS", "CLINADAPT_REVIEW_USER_HEADER", "CLINADAPT_REVIEW_PROXIES"
)  # fmt: skip
HEALTH = "/healthz"
MAX_REQUEST = 4 * 2**20  # bytes: a note, an answer and a form
MAX_UPLOAD = 256 * 2**20  # bytes of a file of notes
FREE_ATTEMPTS = 5  # wrong passwords of a client before it has to wait
LONGEST_WAIT = 300.0  # seconds
MAX_FAILURES = 60  # wrong passwords of all clients together within LONGEST_WAIT before all have to wait
_REMEMBERED = 10_000  # clients, and sessions

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class LoginThrottle:
    """Failed logins by client. After FREE_ATTEMPTS each failure doubles the wait, up to LONGEST_WAIT.

    An attempt counts as failed from its beginning, so that many at once are not all free."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()  # client -> number, time of the last
        self._recent: list[float] = []  # times of the failures of all clients

    def wait(self, client: str) -> float:
        """Seconds until this client may try again; 0 if now."""
        now = self._clock()
        self._recent = [then for then in self._recent if now - then < LONGEST_WAIT]
        if len(self._recent) >= MAX_FAILURES:
            return self._recent[-MAX_FAILURES] + LONGEST_WAIT - now
        count, last = self._failures.get(client, (0, 0.0))
        pause = min(2.0 ** (count - FREE_ATTEMPTS), LONGEST_WAIT) if count >= FREE_ATTEMPTS else 0.0
        return max(0.0, last + pause - now)

    def begun(self, client: str) -> int:
        """Count an attempt as one with a wrong password; return how many there were from this client."""
        now = self._clock()
        count, last = self._failures.pop(client, (0, now))
        self._failures[client] = (count + 1 if now - last < 2 * LONGEST_WAIT else 1, now)
        self._recent.append(now)
        while len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)
        return self._failures[client][0]

    def succeeded(self, client: str) -> None:
        """Forget the client's wrong passwords, and that this attempt was counted as one."""
        self._failures.pop(client, None)
        if self._recent:
            self._recent.pop()


@dataclass(frozen=True)
class Access:
    """Who may connect.

    Attributes:
        hosts: names under which the page is reached.
        login: whether the page asks for a password.
        user_header: name of the header in which a proxy names the user, lower case; empty without a proxy.
        proxies: networks of the proxies.
    """

    hosts: frozenset[str] = frozenset()
    login: bool = False
    user_header: str = ""
    proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    @staticmethod
    def from_environment(login: bool) -> Access:
        """Read the variables. Raises UserError where they do not belong together."""
        header, proxies = os.environ.get(USER_HEADER, "").strip().lower(), _listed(PROXIES)
        if bool(header) != bool(proxies):
            raise UserError(f"{USER_HEADER} and {PROXIES} belong together: set both or none")
        try:
            networks = tuple(ipaddress.ip_network(proxy) for proxy in proxies)
        except ValueError as error:
            raise UserError(f"{PROXIES} is no list of addresses: write 10.0.0.5, 10.1.0.0/16") from error
        return Access(frozenset(host.lower() for host in _listed(HOSTS)), login, header, networks)

    def refusal(self, headers: dict[str, str], method: str, client: str) -> str:
        """Why a request is not answered; empty if it is."""
        host = _host_name(headers.get("host", ""))
        if not self._is_known(host):
            return f"this page is not reached under the name it was asked for: list it in {HOSTS}"
        if self.proxies and not any(_address(client) in network for network in self.proxies):
            return "this page is reached through its proxy only"
        if self.user_header and not headers.get(self.user_header):
            return "the proxy has not named a user"
        origin, changes = headers.get("origin"), method not in ("GET", "HEAD")
        another = headers.get("sec-fetch-site") == "cross-site"
        # Gradio lets every origin read what it answers, the token of a session too; a link from elsewhere is followed
        if (origin and not self._is_own(origin, headers)) or (
            another and (changes or headers.get("sec-fetch-mode") != "navigate")
        ):
            return "this request comes from another site"
        return ""

    def _is_known(self, host: str) -> bool:
        """Names that DNS may point anywhere are refused on a page without a password, or where names are listed."""
        if host in self.hosts or host == "localhost" or _address(host) is not None:
            return True
        return (self.login or bool(self.user_header)) and not self.hosts

    def _is_own(self, origin: str, headers: dict[str, str]) -> bool:
        try:
            host = urlsplit(origin).netloc.lower()
        except ValueError:  # no URL
            return False
        return host == headers.get("host", "").lower() or _host_name(host) in self.hosts


@dataclass
class Protection:
    """The middleware. Keeps who owns a session: its first user alone may go on with it.

    Attributes:
        app: the page.
        access: who may connect.
        throttle: of the login.
    """

    app: Callable[[Scope, Receive, Send], Awaitable[None]]
    access: Access
    throttle: LoginThrottle = field(default_factory=LoginThrottle)
    _owners: OrderedDict[str, str] = field(default_factory=OrderedDict)  # session -> its user's mark

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":  # the page uses none
                await send({"type": "websocket.close", "code": 1008})
                return
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"] == HEALTH and scope["method"] in ("GET", "HEAD"):
            await _respond(send, 200, "up")
            return
        if self._names_two_users(scope):
            await _respond(send, 400, "this request names a user twice")
            return
        client, path = (scope.get("client") or ("", 0))[0], scope["path"].rstrip("/")
        # Gradio asks itself for this once it listens; it runs what a start needs, and says nothing
        is_own_start = path == "/gradio_api/startup-events" and scope["method"] == "GET" and _is_this_machine(client)
        if not is_own_start and (problem := self.access.refusal(headers, scope["method"], client)):
            log("review", f"refused a request from {client}: {problem}")
            # Gradio's own look at whether the page is there takes 401 for a yes, 403 for a no
            await _respond(send, 401 if _is_this_machine(client) else 403, problem)
            return
        is_login = path.endswith("/login") and scope["method"] == "POST"
        if is_login and await self._has_to_wait(send, client):
            return
        limit = MAX_UPLOAD if path.endswith("/upload") else MAX_REQUEST
        if headers.get("content-length", "0").isdecimal() and int(headers.get("content-length", "0")) > limit:
            await _respond(send, 413, f"more than {limit:,} bytes")
            return
        body: list[MutableMapping[str, Any]] = []
        if not path.endswith("/upload") and scope["method"] == "POST":
            try:
                body = await _read(receive, limit)
            except _TooLargeError:
                await _respond(send, 413, f"more than {limit:,} bytes")
                return
            if not self._owns(_session(body), headers):
                log("review", f"refused a request from {client} for another user's session")
                await _respond(send, 403, "this session belongs to another user")
                return
            if is_login and await self._has_to_wait(send, client):  # others have begun while its body came
                return
        elif not self._owns(_session_of_address(path, scope["query_string"]), headers):
            await _respond(send, 403, "this session belongs to another user")
            return
        attempt = self.throttle.begun(client) if is_login else 0
        await self.app(scope, _replay(body, receive, limit), self._watched(send, client, attempt) if is_login else send)

    async def _has_to_wait(self, send: Send, client: str) -> bool:
        """Whether a client has to wait for its next login, which is then told."""
        if (wait := self.throttle.wait(client)) <= 0:
            return False
        await _respond(send, 429, f"too many wrong passwords: wait {wait:.0f} seconds", int(wait) + 1)
        return True

    def _names_two_users(self, scope: Scope) -> bool:
        """Whether the proxy has added its header to one of the client's, of which another reader may take the first."""
        names = [name.decode("latin-1").lower() for name, _ in scope["headers"]]
        return bool(self.access.user_header) and names.count(self.access.user_header) > 1

    def _owns(self, session: str, headers: dict[str, str]) -> bool:
        """Whether the sender may use a session; the first one becomes its owner."""
        if not session:
            return True
        cookies = [part.strip() for part in headers.get("cookie", "").split(";")]
        login = sorted(cookie for cookie in cookies if cookie.startswith("access-token"))
        mark = "|".join([headers.get(self.access.user_header, "") if self.access.user_header else "", *login])
        owner = self._owners.setdefault(session, mark)
        while len(self._owners) > _REMEMBERED:
            self._owners.popitem(last=False)
        return owner == mark

    def _watched(self, send: Send, client: str, attempt: int) -> Send:
        async def watched(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                if message["status"] < 400:
                    self.throttle.succeeded(client)
                    log("review", f"login from {client}")
                else:
                    log("review", f"wrong password from {client}, number {attempt}")
            await send(message)

        return watched


class _TooLargeError(Exception):
    """A request is longer than its limit."""


async def _read(receive: Receive, limit: int) -> list[MutableMapping[str, Any]]:
    """All messages of a request's body. Raises _TooLargeError beyond `limit` bytes."""
    messages, size = [], 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if size > limit:
            raise _TooLargeError
        if message["type"] != "http.request" or not message.get("more_body"):
            return messages


def _replay(messages: list[MutableMapping[str, Any]], receive: Receive, limit: int) -> Receive:
    """`receive` that gives the messages read before, then the following ones, cut off beyond `limit` bytes."""
    size = 0

    async def replayed() -> MutableMapping[str, Any]:
        nonlocal size
        if messages:
            return messages.pop(0)
        message = await receive()
        size += len(message.get("body", b""))
        return message if size <= limit else {"type": "http.disconnect"}

    return replayed


def _session(body: list[MutableMapping[str, Any]]) -> str:
    try:
        value = parse_json(b"".join(message.get("body", b"") for message in body))["session_hash"]
    except (ValueError, TypeError, KeyError):
        return ""
    return value if isinstance(value, str) else ""


def _session_of_address(path: str, query: bytes) -> str:
    """The session in `?session_hash=` or in a path such as /gradio_api/heartbeat/<session>."""
    parts = path.split("/")
    for name in ("heartbeat", "stream"):
        if name in parts[:-1]:
            return parts[parts.index(name) + 1]
    return parse_qs(query.decode("latin-1")).get("session_hash", [""])[-1]


async def _respond(send: Send, status: int, text: str, retry_after: int = 0) -> None:
    headers = [(b"content-type", b"application/json")]
    if retry_after:
        headers.append((b"retry-after", str(retry_after).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": text}).encode()})


def _listed(variable: str) -> list[str]:
    return [part.strip() for part in os.environ.get(variable, "").split(",") if part.strip()]


def _host_name(host: str) -> str:
    """`name:port` or `[address]:port` without its port, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host and host.rpartition(":")[2].isdecimal() else host


def _is_this_machine(client: str) -> bool:
    address = _address(client)
    return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None

"""The page answers under its own name, its own site, its own users, in measure."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from clinadapt.errors import UserError
from clinadapt.feedback.flags import flag_answer, flag_label
from clinadapt.review import protection
from clinadapt.review.protection import FREE_ATTEMPTS, LONGEST_WAIT, MAX_REQUEST, Access, LoginThrottle, Protection
from clinadapt.review.server import ContentSecurityPolicy


async def page(request: Request) -> JSONResponse:
    return JSONResponse({"bytes": len(await request.body())})


async def login(request: Request) -> JSONResponse:
    right = (await request.body()) == b"right"
    return JSONResponse({}, 200 if right else 400)


@pytest.fixture
def client() -> Callable[..., TestClient]:
    """A client of a page with the given access."""

    def make(base_url: str = "http://127.0.0.1:7860", peer: str = "10.0.0.1", **access: Any) -> TestClient:
        routes = [Route("/login", login, methods=["POST"])]
        routes += [Route(path, page, methods=["GET", "POST"]) for path in ("/", "/gradio_api/queue/join", "/x/upload")]
        app = Protection(Starlette(routes=routes), Access(**access), LoginThrottle(lambda: 0.0))
        return TestClient(app, base_url=base_url, client=(peer, 1))

    return make


@pytest.mark.parametrize(
    ("host", "access", "status"),
    [
        ("127.0.0.1:7860", {}, 200),
        ("localhost:7860", {}, 200),
        ("[::1]:7860", {}, 200),
        ("10.0.0.7", {}, 200),
        ("evil.example:7860", {}, 403),
        ("evil.example:7860", {"login": True}, 200),  # without the password it learns nothing
        ("review.example", {"login": True, "hosts": frozenset({"review.example"})}, 200),
        ("REVIEW.example:443", {"login": True, "hosts": frozenset({"review.example"})}, 200),
        ("evil.example", {"login": True, "hosts": frozenset({"review.example"})}, 403),
        ("127.0.0.1.evil.example", {}, 403),
    ],
)
def test_only_known_names_are_answered(
    host: str, access: dict[str, Any], status: int, client: Callable[..., TestClient]
) -> None:
    assert client(**access).get("/", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:7860"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "http://["}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_another_site_cannot_post(headers: dict[str, str], status: int, client: Callable[..., TestClient]) -> None:
    sent = client().post("/x/upload", files={"files": ("a.csv", b"a,b")}, headers=headers)
    assert sent.status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "https://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, 403),
        ({"origin": "https://evil.example"}, 403),  # a browser that says no more
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),  # a link in a mail
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_another_site_cannot_read(
    method: str, headers: dict[str, str], status: int, client: Callable[..., TestClient]
) -> None:
    assert client(login=True).request(method, "/", headers=headers).status_code == status


def test_another_site_is_not_told_that_it_may_send(client: Callable[..., TestClient]) -> None:
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert client(login=True).options("/gradio_api/queue/join", headers=asked).status_code == 403


def test_a_browser_keeps_no_answer() -> None:
    routes = [Route(path, page) for path in ("/config", "/assets/index.js")]
    client = TestClient(ContentSecurityPolicy(Starlette(routes=routes)))
    headers = client.get("/config").headers
    assert headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"
    assert "form-action 'self'" in headers["content-security-policy"]
    assert "cache-control" not in client.get("/assets/index.js").headers


def test_a_request_has_a_size(client: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    page, large = client(), b"x" * (MAX_REQUEST + 1)

    def unannounced() -> Any:
        yield large[: MAX_REQUEST // 2]
        yield large

    assert page.post("/gradio_api/queue/join", content=b"{}").json() == {"bytes": 2}
    assert page.post("/gradio_api/queue/join", content=large).status_code == 413
    assert page.post("/gradio_api/queue/join", content=unannounced()).status_code == 413
    assert page.post("/x/upload", content=large).json() == {"bytes": len(large)}
    monkeypatch.setattr(protection, "MAX_UPLOAD", MAX_REQUEST)
    assert page.post("/x/upload", content=large).status_code == 413


def test_guessing_a_password_takes_ever_longer(
    client: Callable[..., TestClient], capsys: pytest.CaptureFixture[str]
) -> None:
    page = client(login=True)
    answers = [page.post("/login", content=b"wrong").status_code for _ in range(50)]
    assert answers.count(400) == FREE_ATTEMPTS and answers[FREE_ATTEMPTS:] == [429] * (50 - FREE_ATTEMPTS)
    assert page.post("/login", content=b"right").status_code == 429
    logged = capsys.readouterr().err
    assert f"wrong password from 10.0.0.1, number {FREE_ATTEMPTS}" in logged


def test_the_wait_grows_ends_and_is_the_clients_own() -> None:
    now = 0.0
    throttle = LoginThrottle(lambda: now)
    waits = []
    for _ in range(20):
        throttle.begun("a")
        waits.append(throttle.wait("a"))
    assert waits[: FREE_ATTEMPTS - 1] == [0.0] * (FREE_ATTEMPTS - 1) and waits[-1] == LONGEST_WAIT
    assert throttle.wait("b") == 0
    now = LONGEST_WAIT
    assert throttle.wait("a") == 0
    throttle.succeeded("a")
    throttle.begun("a")
    assert throttle.wait("a") == 0
    for number in range(protection.MAX_FAILURES):
        throttle.begun(str(number))
    assert throttle.wait("never seen") > 0


def test_guesses_at_once_are_no_more_than_one_by_one() -> None:
    reached = 0

    async def slow_login(scope: Any, receive: Any, send: Any) -> None:
        nonlocal reached
        reached += 1
        await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def guess(page: Protection) -> None:
        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b"wrong"}

        async def send(_: Any) -> None:
            pass

        scope = {"type": "http", "method": "POST", "path": "/login", "query_string": b"", "client": ("10.0.0.1", 1),
                 "headers": [(b"host", b"127.0.0.1")]}  # fmt: skip
        await page(scope, receive, send)

    async def flood() -> None:
        page = Protection(slow_login, Access(login=True), LoginThrottle(lambda: 0.0))
        await asyncio.gather(*(guess(page) for _ in range(200)))

    asyncio.run(flood())
    assert reached == FREE_ATTEMPTS


def test_a_login_that_succeeds_counts_as_no_failure() -> None:
    throttle = LoginThrottle(lambda: 0.0)
    for number in range(2 * protection.MAX_FAILURES):
        throttle.begun(str(number % 7))
        throttle.succeeded(str(number % 7))
    assert throttle.wait("never seen") == throttle.wait("3") == 0


def test_a_session_belongs_to_its_first_user(client: Callable[..., TestClient]) -> None:
    page, body = client(login=True), json.dumps({"session_hash": "abc", "data": []})
    rita, otto = {"cookie": "access-token-1=rita"}, {"cookie": "access-token-1=otto"}
    assert page.post("/gradio_api/queue/join", content=body, headers=rita).status_code == 200
    assert page.post("/gradio_api/queue/join", content=body, headers=otto).status_code == 403
    assert page.get("/?session_hash=abc", headers=otto).status_code == 403
    assert page.get("/gradio_api/heartbeat/abc", headers=otto).status_code == 403
    assert page.get("/?session_hash=abc", headers=rita).status_code == 200


def test_a_proxy_names_the_user_and_nobody_else_is_answered(
    client: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(protection.USER_HEADER, "X-Forwarded-User")
    with pytest.raises(UserError, match="belong together"):
        Access.from_environment(login=False)
    monkeypatch.setenv(protection.PROXIES, "10.0.0.0/24, 10.9.9.9")
    access = vars(Access.from_environment(login=False))
    named = {"X-Forwarded-User": "rita"}
    assert client(**access).get("/", headers=named).status_code == 200
    assert client(**access).get("/").status_code == 403
    twice = [("X-Forwarded-User", "anna"), ("x-forwarded-user", "rita")]  # the client's, and what the proxy adds
    assert client(**access).get("/", headers=twice).status_code == 400
    assert client(peer="10.0.1.1", **access).get("/", headers=named).status_code == 403
    monkeypatch.setenv(protection.PROXIES, "proxy.example")
    with pytest.raises(UserError, match="no list of addresses"):
        Access.from_environment(login=False)


def test_a_kubelet_sees_that_the_page_is_up(client: Callable[..., TestClient]) -> None:
    """It comes through no proxy, under the pod's address, and names no user; it gets nothing else."""
    access = vars(Access(user_header="x-forwarded-user", proxies=(ipaddress.ip_network("10.0.0.5"),)))
    kubelet = client(base_url="http://10.244.0.7:7860", peer="10.244.0.1", **access)
    assert kubelet.get(protection.HEALTH).json() == {"detail": "up"}
    assert kubelet.post(protection.HEALTH).status_code == kubelet.get("/").status_code == 403
    assert kubelet.get(f"{protection.HEALTH}/../").status_code == 403


def test_a_comment_has_a_length() -> None:
    answered: Any = ("note", {"adapter": "file:///nowhere/adapters/a/1"})
    for flag in (
        lambda: flag_answer(answered, "other", "", "x" * 30_000_000, None),
        lambda: flag_answer(answered, "other", "x" * 5_000, "", None),
        lambda: flag_label(answered, "a", "x" * 5_000, None),
    ):
        with pytest.raises(UserError, match="more than 4,000 characters"):
            flag()

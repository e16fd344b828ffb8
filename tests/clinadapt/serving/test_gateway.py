"""What clients ask: the adapter by its name, answered by the version that answers, which the reply names."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from fake_vllm import REFERENCES
from openai import NotFoundError, OpenAI
from serving_site import NAME, Site
from typer.testing import CliRunner

from clinadapt.errors import UserError
from clinadapt.models.chat_template import Question, chat_messages
from clinadapt.monitoring.aggregates import Aggregate
from clinadapt.serving.counting import Counter
from clinadapt.serving.gateway import VERSION_HEADER, Gateway
from clinadapt.serving.hot_swap import HotSwap
from pipelines.cli.registry import app

(NOTE, ASKED), *_ = REFERENCES
MESSAGES: Any = chat_messages(Question(NOTE, ASKED), has_system=True)


@pytest.fixture
def swap(site: Site) -> HotSwap:
    site.publish("old", 1.0)
    made = site.start()
    made.follow()
    return made


@pytest.fixture
def gateway(site: Site, swap: HotSwap) -> Iterator[str]:
    with running(Gateway("127.0.0.1", 0, site.address, swap, interval=0.1)) as address:
        yield address


@contextmanager
def running(server: Gateway) -> Iterator[str]:
    """The address of a gateway, which is closed afterwards."""
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_client_of_openai(site: Site, swap: HotSwap, gateway: str) -> None:
    client = OpenAI(base_url=f"{gateway}/v1", api_key="x")
    assert [(card.id, card.model_dump()["root"]) for card in client.models.list()] == [
        ("base", "base"),
        (NAME, f"{NAME}/old"),
    ]
    reply = client.chat.completions.with_raw_response.create(model=NAME, messages=MESSAGES)
    assert reply.headers[VERSION_HEADER] == f"{NAME}/old" == reply.parse().model
    assert reply.parse().choices[0].message.content == REFERENCES[NOTE, ASKED]
    assert client.chat.completions.create(model="base", messages=MESSAGES).model == "base"
    site.publish("new", 1.0)
    swap.follow()
    assert client.chat.completions.create(model=NAME, messages=MESSAGES).model == f"{NAME}/new"
    for model in (f"{NAME}/old", "other", "../x"):
        with pytest.raises(NotFoundError):
            client.chat.completions.create(model=model, messages=MESSAGES)


def test_what_is_closed(site: Site, gateway: str) -> None:
    """What loads adapters, and all else of the server."""
    before = list(site.fake.requests)
    load = {"lora_name": "x", "lora_path": "/etc"}
    for path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/chat/completions/", "/pause", "/v1/models"):
        assert httpx.post(f"{gateway}{path}", json=load).status_code == 404
    for path in ("/metrics", "/docs", "/v1/load_lora_adapter"):
        assert httpx.get(f"{gateway}{path}").status_code == 404
    for body in (b"{", b"[]", b"{}", b'{"model": 3}', b"[" * 100_000, b'{"model": "' + b"\xff" * 9 + b'"}'):
        assert httpx.post(f"{gateway}/v1/chat/completions", content=body).status_code == 400
    assert httpx.post(f"{gateway}/v1/chat/completions", content=iter([b"{}"])).status_code == 413, "no length"
    assert site.fake.requests == before, "none of it reaches the server"


@pytest.mark.parametrize(
    "head",
    [
        "GET /health HTTP/1.1\r\nContent-Length: {}",
        "GET / HTTP/1.1\r\nTransfer-Encoding: {}",
        "POST /v1/completions HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: {}",
    ],
    ids=["get", "chunked", "two lengths"],
)
def test_a_body_is_never_taken_for_a_request(gateway: str, head: str) -> None:
    hidden, answer = "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", b""
    url = httpx.URL(gateway)
    with socket.create_connection((url.host, url.port), timeout=10) as client:
        client.sendall(f"{head.format(len(hidden))}\r\nHost: x\r\n\r\n{hidden}".encode())
        with suppress(ConnectionResetError):  # as it leaves something unread
            while piece := client.recv(65536):
                answer += piece
    assert answer.count(b"HTTP/1.1 ") <= 1 and b'"object": "list"' not in answer


def test_connections_have_a_number(site: Site, swap: HotSwap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinadapt.serving.gateway._MOST_CONNECTIONS", 3)
    with running(Gateway("127.0.0.1", 0, site.address, swap, interval=9)) as address, ExitStack() as opened:
        url = httpx.URL(address)
        clients = [opened.enter_context(socket.create_connection((url.host, url.port), 10)) for _ in range(4)]
        assert clients[3].recv(1) == b"", "closed"
        clients[0].close()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                assert httpx.get(f"{address}/health").status_code == 200
                break
            time.sleep(0.02)
        else:
            pytest.fail("no room again")


def test_the_key_is_the_server_s_to_check(site: Site, gateway: str) -> None:
    site.fake.key = "secret"
    body = {"model": NAME, "messages": MESSAGES}
    assert httpx.post(f"{gateway}/v1/chat/completions", json=body).status_code == 401
    headers = {"Authorization": "Bearer secret"}
    assert httpx.post(f"{gateway}/v1/chat/completions", json=body, headers=headers).status_code == 200


def test_health_and_the_page(site: Site, swap: HotSwap, gateway: str) -> None:
    assert httpx.get(f"{gateway}/health").status_code == 200
    site.publish("bad", 0.3, evaluated=1.0)
    swap.follow()
    page = httpx.get(gateway).text
    assert f"<th>answers</th><td>{NAME}/old</td>" in page and f"<th>does not answer</th><td>{NAME}/bad: " in page
    assert "16 questions" in page and not any(note in page for note, _ in REFERENCES)
    swap.serving = swap.serving.model_copy(update={"version": "", "result": "<script>"})
    assert httpx.get(f"{gateway}/health").status_code == 503 and "&lt;script&gt;" in httpx.get(gateway).text


def test_a_server_that_has_started_anew(site: Site, swap: HotSwap, gateway: str) -> None:
    """A client is told to try again, and the version is loaded at once."""
    site.fake.loaded.clear()
    body = {"model": NAME, "messages": MESSAGES}
    assert httpx.post(f"{gateway}/v1/chat/completions", json=body).status_code == 503
    swap.follow()
    assert httpx.post(f"{gateway}/v1/chat/completions", json=body).status_code == 200


def test_failed_requests_are_counted(site: Site, swap: HotSwap, gateway: str) -> None:
    counted = []
    swap.failed = counted.append  # type: ignore[method-assign]
    site.fake.broken = {f"{NAME}/old"}
    body = {"model": NAME, "messages": MESSAGES}
    reply = httpx.post(f"{gateway}/v1/chat/completions", json=body)
    assert reply.status_code == 500 and counted == [f"{NAME}/old"]


def test_each_version_s_answers_are_counted(site: Site, swap: HotSwap) -> None:
    """Those of the base model, refused requests and other endpoints are not, and no text is stored."""
    counter = Counter(swap, site.store.uri)
    with running(Gateway("127.0.0.1", 0, site.address, swap, counter=counter)) as address:
        client = OpenAI(base_url=f"{address}/v1", api_key="x", max_retries=0)
        for model in (NAME, NAME, "base"):
            client.chat.completions.create(model=model, messages=MESSAGES)
        assert httpx.post(f"{address}/v1/completions", json={"model": NAME, "prompt": NOTE}).status_code == 503
        site.fake.longest = 10
        assert httpx.post(f"{address}/v1/chat/completions", json={"model": NAME, "messages": MESSAGES}).is_error
        site.fake.longest = 100_000
        site.publish("new", 1.0)
        swap.follow()
        client.chat.completions.create(model=NAME, messages=MESSAGES)
        client.models.list()  # on the same connection: once it is answered, the answer before it is counted
    totals = {version: counted(site, version) for version in ("old", "new")}
    assert {version: (total.answers, total.notes) for version, total in totals.items()} == {
        "old": (2, 1),
        "new": (1, 1),
    }
    assert sum(totals["old"].cells["latency"].values()) == 2 and totals["new"].cells["unsupported"] == {"no": 1}
    assert not any(NOTE[:20].encode() in site.store.get(key)[0] for key in site.store.list("monitoring/"))


def counted(site: Site, version: str) -> Aggregate:
    keys = site.store.list(f"monitoring/{NAME}/{version}/")
    return sum((Aggregate.from_json(json.loads(site.store.get(key)[0]), ()) for key in keys), Aggregate())


class Slow(BaseHTTPRequestHandler):
    """Streams words with half a second between, as a model writes."""

    gone = threading.Event()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            for number in range(40):
                chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": body["model"],
                         "choices": [{"index": 0, "delta": {"content": f"word{number} "}}]}  # fmt: skip
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            self.gone.set()

    def log_message(self, *_: Any) -> None:
        pass


def test_an_answer_is_passed_on_as_it_is_written(site: Site, swap: HotSwap) -> None:
    """And a client that goes away ends it at the server."""
    slow = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    gateway = Gateway("127.0.0.1", 0, f"http://127.0.0.1:{slow.server_port}", swap)
    for server in (slow, gateway):
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        client = OpenAI(base_url=f"http://127.0.0.1:{gateway.server_port}/v1", api_key="x")
        with client.chat.completions.create(model=NAME, messages=MESSAGES, stream=True) as stream:
            first = next(iter(stream))
            assert first.choices[0].delta.content == "word0 " and first.model == f"{NAME}/old"
        assert Slow.gone.wait(10), "the server writes on for nobody"
    finally:
        for server in (gateway, slow):
            server.shutdown()
            server.server_close()


def test_an_address_that_is_taken(site: Site, swap: HotSwap) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="cannot listen on"):
            Gateway("127.0.0.1", taken.getsockname()[1], site.address, swap)


def test_the_command(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers as the champion until SIGTERM, and ends with status 0."""
    site.publish("old", 1.0)
    site.start()
    serve, models = Gateway.serve_forever, list[str]()

    def serve_until_asked(gateway: Gateway) -> None:
        threading.Thread(target=serve, args=(gateway, 0.02), daemon=True).start()
        client = OpenAI(base_url=f"http://127.0.0.1:{gateway.server_port}/v1", api_key="x")
        while not gateway.swap.serving.version:
            time.sleep(0.05)
        models.append(client.chat.completions.create(model=NAME, messages=MESSAGES).model)
        client.models.list()  # once it is answered, the answer before it is counted
        gateway.shutdown()
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Gateway, "serve_forever", serve_until_asked)
    options = ["--store", site.store.uri, "--to", str(site.folder / "served"), "--server", site.address]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        done = CliRunner().invoke(app, ["serve", NAME, *options, "--splits", str(site.splits.parent), "--port", "0"])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert done.exit_code == 0 and models == [f"{NAME}/old"]
    assert counted(site, "old").answers == 1
    assert "assistant at http://127.0.0.1:" in done.stderr and f"{NAME}/old answers; 16 questions" in done.stderr

"""The client of a chat endpoint: cache, retries, limits, and errors that reveal neither key nor text."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from chat_support import KEY, MODEL, ChatServer, completion, environment
from ports import free_ports
from review_cases import keys

from clinadapt.errors import UserError
from clinadapt.llm_client import ChatClient, Closed, OutOfTokens, Refused, chat_client
from clinadapt.storage.folder_store import FolderStore

SECRET = "Xanthippe"  # in every message, and in no error


def echo(body: dict[str, Any]) -> tuple[int, bytes]:
    return completion(body, body["messages"][0]["content"].upper())


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ChatServer]]:
    """Start an endpoint and set the environment variables that point to it."""
    with ExitStack() as stack:

        def start(answer: Any = echo, **options: Any) -> ChatServer:
            server = stack.enter_context(ChatServer(answer, **options).serving())
            for name, value in environment(server.url).items():
                monkeypatch.setenv(name, value)
            return server

        yield start


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore((tmp_path / "store").as_uri())


def client(*args: Any, **options: Any) -> ChatClient:
    options.setdefault("allowed_hosts", ["127.0.0.1"])
    return ChatClient("CLINADAPT_TEACHER", *(args or (None,)), **options)


def complete(client: ChatClient, text: str = SECRET) -> str:
    return client.complete([{"role": "user", "content": text}], 50).text


def failed(client: ChatClient) -> str:
    """Message of the UserError that a request raises: one line without key and text."""
    with pytest.raises(UserError) as raised:
        complete(client)
    message = str(raised.value)
    assert "\n" not in message and SECRET not in message and KEY not in message
    return message


class TestCache:
    def test_a_reply_is_requested_once_and_then_read_from_the_store(
        self, endpoint: Callable[..., ChatServer], store: FolderStore
    ) -> None:
        server = endpoint()
        first, second = client(store), client(store)
        assert complete(first) == complete(first) == complete(second) == SECRET.upper()
        assert server.requests.total() == 1 and second.tokens == 0 < first.tokens
        (key,) = store.list("teacher/")
        assert key.split("/")[1] == key.split("/")[2][:2]
        assert json.loads(store.get(key)[0]) == {"text": SECRET.upper(), "truncated": False}

    @pytest.mark.parametrize("left", ["unsigned", "changed", "moved", "broken"])
    def test_with_a_key_only_replies_that_it_signed_for_this_place_are_read(
        self,
        left: str,
        endpoint: Callable[..., ChatServer],
        store: FolderStore,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("CLINADAPT_SIGNING_KEY", keys()[0])
        server = endpoint()
        complete(client(store), "another")
        (other,) = store.list("teacher/")
        complete(client(store))
        (key,) = set(store.list("teacher/")) - {other}
        stored = json.loads(store.get(key)[0])
        false = stored | {"text": "Stop the insulin."}
        contents = {
            "unsigned": {"text": false["text"], "truncated": False},
            "changed": false,
            "moved": json.loads(store.get(other)[0]),
            "broken": [false],
        }
        assert complete(client(store)) == SECRET.upper() and server.requests.total() == 2
        store.put(key, json.dumps(contents[left]).encode())
        assert "asked for again" not in capsys.readouterr().err
        assert complete(client(store)) == SECRET.upper() and server.requests.total() == 3
        assert ("not signed are asked for again" in capsys.readouterr().err) == (left != "broken")
        assert json.loads(store.get(key)[0]) == stored

    def test_identical_concurrent_requests_are_sent_once(self, endpoint: Callable[..., ChatServer]) -> None:
        server, shared = endpoint(delay=0.3), client()
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: complete(shared), range(8))) == {SECRET.upper()}
        assert server.requests.total() == 1


class TestRetries:
    @pytest.mark.parametrize(
        "fault",
        ["408", "409", "429", "500", "502", "503", "504", "reset", "cut", "slow", "malformed", "shapeless"],
    )
    def test_a_passing_fault_is_retried(
        self, fault: str, endpoint: Callable[..., ChatServer], store: FolderStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(chat_client, "TIMEOUT", 0.7)  # `slow` takes longer
        server = endpoint(plan=[fault], retry_after="0.1")
        assert complete(client(store)) == SECRET.upper()
        assert [fault for _, fault in server.arrivals] == [fault, ""]
        assert len(store.list("teacher/")) == 1

    def test_a_busy_endpoint_is_retried_more_often_than_one_that_is_down(
        self, endpoint: Callable[..., ChatServer]
    ) -> None:
        server = endpoint(plan=["429"] * 10, retry_after="0.05")
        assert complete(client()) == SECRET.upper()
        assert server.requests.total() == 11

    @pytest.mark.parametrize("form", ["seconds", "date"])
    def test_it_waits_as_long_as_retry_after_says(self, form: str, endpoint: Callable[..., ChatServer]) -> None:
        after = "2" if form == "seconds" else formatdate(time.time() + 4, usegmt=True)
        server = endpoint(plan=["429"], retry_after=after)
        complete(client())
        (first, _), (second, _) = server.arrivals
        assert second - first > 1.9

    def test_it_does_not_wait_until_tomorrow(self, endpoint: Callable[..., ChatServer]) -> None:
        server, start = endpoint(plan=["429"], retry_after="86400"), time.monotonic()
        message = failed(client())
        assert "429" in message and "86400" in message
        assert server.requests.total() == 1 and time.monotonic() - start < 5

    @pytest.mark.parametrize(("fault", "fact"), [("500", "500"), ("reset", ""), ("malformed", "chat completion")])
    def test_it_gives_up(
        self, fault: str, fact: str, endpoint: Callable[..., ChatServer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(chat_client, "MAX_RETRIES", 1)
        monkeypatch.setattr(chat_client, "MALFORMED_DELAYS", (0.1,))
        server = endpoint(plan=[fault] * 9)
        assert fact in failed(client())
        assert server.requests.total() == 2

    def test_an_endpoint_that_is_down_fails_within_seconds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in environment(f"http://127.0.0.1:{free_ports()}/v1").items():
            monkeypatch.setenv(name, value)
        start = time.monotonic()
        message = failed(client())
        assert "cannot be reached" in message and "CLINADAPT_TEACHER_URL" in message
        assert time.monotonic() - start < 10


class TestErrors:
    @pytest.mark.parametrize(
        ("fault", "facts"),
        [
            ("401", ["401", "CLINADAPT_TEACHER_KEY"]),
            ("403", ["403", "CLINADAPT_TEACHER_KEY", MODEL]),
            ("404", ["404", "CLINADAPT_TEACHER_MODEL", MODEL]),
            ("moved", ["307", "CLINADAPT_TEACHER_URL"]),
            ("other", ["somebody-else", "CLINADAPT_TEACHER_MODEL", MODEL]),
            ("quota", ["quota"]),
        ],
    )
    def test_a_lasting_fault_is_not_retried(
        self, fault: str, facts: list[str], endpoint: Callable[..., ChatServer], store: FolderStore
    ) -> None:
        server, shared = endpoint(plan=[fault]), client(store)
        message = failed(shared)
        assert all(fact in message for fact in facts)
        assert failed(shared) == message  # the client is closed
        assert server.requests.total() == 1 and store.list("teacher/") == []

    @pytest.mark.parametrize("status", ["400", "413", "422"])
    def test_a_refused_request_does_not_stop_others(self, status: str, endpoint: Callable[..., ChatServer]) -> None:
        server, shared = endpoint(plan=[status]), client()
        with pytest.raises(Refused, match=status) as raised:
            complete(shared)
        assert SECRET not in str(raised.value)
        assert complete(shared) == SECRET.upper() and server.requests.total() == 2

    @pytest.mark.parametrize("name", ["URL", "MODEL", "KEY"])
    def test_a_missing_variable_is_named(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for key, value in environment("http://127.0.0.1:9/v1", prefix="CLINADAPT_JUDGE").items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv(f"CLINADAPT_JUDGE_{name}", " ")
        with pytest.raises(UserError, match=f"CLINADAPT_JUDGE_{name}") as raised:
            ChatClient("CLINADAPT_JUDGE", None, allowed_hosts=["127.0.0.1"])
        assert KEY not in str(raised.value)

    @pytest.mark.parametrize("key", ["two\nlines", "schlüssel-1f9a"])
    def test_an_impossible_key_is_not_shown(self, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {**environment("http://127.0.0.1:9/v1"), "CLINADAPT_TEACHER_KEY": key}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match="CLINADAPT_TEACHER_KEY") as raised:
            client()
        assert key not in str(raised.value)


class TestLimits:
    def test_no_more_requests_in_flight_than_concurrency(self, endpoint: Callable[..., ChatServer]) -> None:
        server, shared = endpoint(delay=0.1), client(concurrency=2)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: complete(shared, str(number)), range(8)))
        assert server.max_concurrent == 2 and server.requests.total() == 8

    def test_nothing_is_sent_after_the_budget_but_the_cache_still_replies(
        self, endpoint: Callable[..., ChatServer], store: FolderStore
    ) -> None:
        server, limited = endpoint(), client(store, budget=2)
        complete(limited)
        with pytest.raises(OutOfTokens):
            complete(limited, "another")
        assert complete(limited) == SECRET.upper() and server.requests.total() == 1

    def test_a_budget_needs_the_token_usage(self, endpoint: Callable[..., ChatServer]) -> None:
        def without_usage(body: dict[str, Any]) -> Any:
            status, answer = echo(body)
            return status, answer.replace(b'"usage"', b'"misuse"')

        endpoint(without_usage)
        assert "budget" in failed(client(budget=100))
        assert complete(client()) == SECRET.upper()


class TestClosing:
    def test_a_closed_client_sends_nothing_and_ends_waits(self, endpoint: Callable[..., ChatServer]) -> None:
        server, shared = endpoint(plan=["429"], retry_after="2"), client()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(complete, shared)
            while not server.arrivals:
                time.sleep(0.01)
            shared.close()
            with pytest.raises(Closed):
                complete(shared, "another")
            with pytest.raises(Closed):
                waiting.result(timeout=10)
        assert server.requests.total() == 1

    def test_an_error_ends_the_requests_of_all_threads(self, endpoint: Callable[..., ChatServer]) -> None:
        """One thread waits for a retry while another gets a status that no retry can fix."""
        server, shared = endpoint(plan=["429", "401"], retry_after="2"), client()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(complete, shared)
            while not server.arrivals:
                time.sleep(0.01)
            with pytest.raises(UserError, match="CLINADAPT_TEACHER_KEY"):
                complete(shared, "another")
            with pytest.raises(UserError, match="CLINADAPT_TEACHER_KEY"):
                waiting.result(timeout=10)
        assert server.requests.total() == 2

    def test_requests_in_flight_complete(self, endpoint: Callable[..., ChatServer], store: FolderStore) -> None:
        server, shared = endpoint(delay=0.5), client(store)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(complete, shared)
            while not server.arrivals:
                time.sleep(0.01)
            shared.close()
            assert waiting.result(timeout=10) == SECRET.upper()
        assert len(store.list("teacher/")) == 1


def reply_of(message: dict[str, Any], **fields: Any) -> Any:
    """An endpoint whose completions have this message, and these fields besides or instead."""

    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        reply = json.loads(completion(body, "")[1]) | fields
        reply["choices"][0]["message"] = message
        return 200, json.dumps(reply).encode()

    return answer


@pytest.mark.parametrize(
    "message",
    [
        {"content": "Aspirin."},
        {"content": "<think>Hm, 99?</think>\n\nAspirin."},
        {"content": "Hm, 99?\n</think>\n\nAspirin."},  # the template has written <think>
        {"content": "<reasoning>Hm</reasoning><THINK>more</THINK>Aspirin."},
        {"content": "[THINK]Hm, 99?[/THINK]Aspirin."},
        {"content": "◁think▷Hm◁/think▷Aspirin."},
        {"content": "<|begin_of_thought|>Hm<|end_of_thought|>Aspirin."},
        {
            "content": "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant"
            "<|channel|>final<|message|>Aspirin.<|return|>"
        },
        {"content": [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Aspirin."}]},
        {"content": "Aspirin.", "reasoning_content": "Hm"},  # DeepSeek, vLLM, llama.cpp
        {"content": "Aspirin.", "reasoning": "Hm", "annotations": []},  # OpenRouter, Ollama
    ],
)
def test_thoughts_are_no_answer(
    endpoint: Callable[..., ChatServer], store: FolderStore, message: dict[str, Any]
) -> None:
    """Whatever form they are sent in; they are counted, also when the reply is cached."""
    endpoint(reply_of({"role": "assistant", **message}))
    for _ in range(2):
        asked = client(store)
        assert complete(asked) == "Aspirin."
        assert asked.thoughts == (message != {"content": "Aspirin."})


@pytest.mark.parametrize(
    "content", ["<think>Hm, 99", "<|channel|>analysis<|message|>Hm", None, [{"type": "thinking", "thinking": "Hm"}]]
)
def test_thoughts_without_an_answer_are_none(endpoint: Callable[..., ChatServer], content: Any) -> None:
    endpoint(reply_of({"role": "assistant", "content": content}))
    assert complete(client()) == ""


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06"),  # OpenAI
        ("openai/gpt-4o", "gpt-4o"),  # gateways
        ("llama3.1", "llama3.1:latest"),  # Ollama
        ("qwen2.5-7b-q4", "/models/qwen2.5-7b-q4.gguf"),  # llama.cpp
        ("gpt-4o", None),
    ],
)
def test_a_server_may_complete_the_name_of_its_model(
    endpoint: Callable[..., ChatServer], monkeypatch: pytest.MonkeyPatch, asked: str, served: str | None
) -> None:
    endpoint(reply_of({"content": "Yes."}, model=served, service_tier="default", system_fingerprint=None))
    monkeypatch.setenv("CLINADAPT_TEACHER_MODEL", asked)
    assert complete(client()) == "Yes."


def test_azure_is_asked_by_deployment_and_version(
    endpoint: Callable[..., ChatServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = iter(["gpt-4o-2024-08-06", "gpt-4o-2024-08-06", "gpt-4o-mini"])
    server = endpoint(lambda body: reply_of({"content": "Yes."}, model=next(served))(body))
    monkeypatch.setenv("CLINADAPT_TEACHER_URL", f"{server.url}?api-version=2024-10-21")
    monkeypatch.setenv("CLINADAPT_TEACHER_MODEL", "our-deployment")
    asked = client()
    assert [complete(asked, text) for text in ("one", "two")] == ["Yes.", "Yes."]
    with pytest.raises(UserError, match="replies as model 'gpt-4o-mini', not 'gpt-4o-2024-08-06'"):
        complete(asked, "three")


def refusing(*rules: tuple[str, str]) -> Any:
    """An endpoint that refuses requests with some field, as OpenAI words it."""

    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        for name, message in rules:
            if name in body:
                error = {"message": message, "type": "invalid_request_error", "param": name, "code": "unsupported"}
                return 400, json.dumps({"error": error}).encode()
        return echo(body)

    return answer


def test_a_model_that_takes_other_parameters_is_asked_so(endpoint: Callable[..., ChatServer]) -> None:
    server = endpoint(
        refusing(
            ("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
            ("temperature", "Unsupported value: 'temperature' does not support 0.0 with this model."),
        )
    )
    asked = client()
    assert [complete(asked, text) for text in ("a", "b")] == ["A", "B"]
    assert server.requests.total() == 4  # two refusals, once


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "This model's maximum context length is 4096 tokens.",
            r"\(status 400: This model's maximum context length is N",
        ),
        (
            "max_tokens is too large: 8192. This model supports at most 4096 completion tokens.",
            r"\(status 400: max_tokens is too large: N\. This model supports at most N completion tokens\.\)",
        ),
        (f"Bad text: {SECRET} has had a cough for nine days", r"\(status 400: unsupported\)"),
        (f"blocked: '{SECRET}' is personal data", r"\(status 400: blocked: '…' is personal data\)"),
        (f"blocked: {SECRET.lower()}, 4b", r"\(status 400: blocked: …, Nb\)"),
    ],
)
def test_the_reason_of_a_refusal_is_shown_without_text(
    endpoint: Callable[..., ChatServer], message: str, shown: str
) -> None:
    endpoint(refusing(("messages", message)))
    with pytest.raises(Refused, match=shown) as raised:
        complete(client(), f"{SECRET} has had a cough for nine days.")
    assert SECRET.lower() not in str(raised.value).lower()


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Too long a prompt.", "type": "invalid_request_error", "code": 400}},  # OpenAI, llama.cpp
        {"object": "error", "message": "Too long a prompt.", "type": "BadRequestError", "code": 400},  # vLLM
        {"error": "Too long a prompt."},  # Ollama
        {"detail": "Too long a prompt."},  # gateways on FastAPI
        {"detail": [{"loc": ["body", "messages"], "msg": "Too long a prompt.", "input": SECRET}]},
    ],
)
def test_the_reason_of_a_refusal_in_the_form_of_each_server(endpoint: Callable[..., ChatServer], body: Any) -> None:
    endpoint(lambda _: (400, json.dumps(body).encode()))
    with pytest.raises(Refused, match=r"\(status 400: Too long a prompt\.\)") as raised:
        complete(client())
    assert SECRET not in str(raised.value)


class TestConsent:
    """Notes leave only for the hosts that their sources name, and never in the clear."""

    def test_nothing_is_sent_to_a_host_without_consent(self, endpoint: Callable[..., ChatServer]) -> None:
        server = endpoint()
        with pytest.raises(UserError, match=r"127\.0\.0\.1.*send_to"):
            client(allowed_hosts=["llm.hospital.example"])
        assert server.requests.total() == 0

    @pytest.mark.parametrize(
        ("url", "problem"),
        [
            ("http://llm.hospital.example/v1", "unencrypted"),
            ("http://127.0.0.1.hospital.example/v1", "unencrypted"),
            ("http://10.0.0.7:8000/v1", "unencrypted"),
            ("http://localhost@llm.hospital.example/v1", "a user"),
            ("https://me:pass@llm.hospital.example/v1", "a password"),
            ("https://llm.hospital.example/v1?key=x", "a query"),
            ("https://llm.hospital.example:port/v1", "not a URL"),
            ("ftp://llm.hospital.example/v1", "http:// or https://"),
        ],
    )
    def test_an_address_that_would_leak_is_refused(
        self, url: str, problem: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in environment(url).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match=problem) as raised:
            client(allowed_hosts=["*"])
        assert "pass" not in str(raised.value).replace("a password", "")

    def test_what_is_for_this_machine_goes_through_no_proxy(
        self, endpoint: Callable[..., ChatServer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server = endpoint()
        with ChatServer(echo).serving() as proxy:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
            for name in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(name, raising=False)
            assert complete(client()) == SECRET.upper()
            assert not proxy.requests and server.requests.total() == 1

    def test_https_and_this_machine_pass(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for url in ("https://LLM.hospital.example/v1", "http://localhost:8000/v1", "http://[::1]:8000/v1"):
            for name, value in environment(url).items():
                monkeypatch.setenv(name, value)
            assert client(allowed_hosts=["llm.hospital.example", "localhost", "::1"]).host in url.lower()

"""Client of a running vLLM server: what it serves, adapters loaded and unloaded without a restart, and its answers.

The server has to be started with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1. Each version is loaded under a name of its own,
NAME/VERSION, which never stands for anything else: vLLM keeps the processed beginnings of prompts by the name of the
adapter (up to 0.26; later by name and path), and would answer with those of the old version after the name was given
to a new one. What is loaded under one name in place also changes answers that are being written.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from clinadapt.errors import UserError, one_line
from clinadapt.llm_client.chat_client import checked_host

_TIMEOUT = httpx.Timeout(300.0, connect=10.0)  # seconds
_LONGEST_REASON = 200  # characters of a server's reason


class ServerAnswer(NamedTuple):
    """Text of an answer, and whether the model ended it itself."""

    text: str
    complete: bool


class VllmServer:
    """A vLLM server at `url` (without /v1), on this machine or by https.

    Raises:
        UserError: from every method, where the server does not answer, refuses the key or answers with an error.
    """

    def __init__(self, url: str, key: str = "") -> None:
        """
        Args:
            url: `http://127.0.0.1:8000`.
            key: VLLM_API_KEY of the server; empty where it has none.

        Raises:
            UserError: the URL is none, has credentials, or is another machine's without https.
        """
        self.url = url.rstrip("/")
        checked_host("--server", "VLLM_API_KEY", self.url)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        context = certificates() if self.url.startswith("https:") else False
        self._client = httpx.Client(
            base_url=self.url, headers=headers, timeout=_TIMEOUT, trust_env=False, verify=context
        )

    def models(self) -> dict[str, str]:
        """The folder of each model and adapter that is loaded, by its name."""
        try:
            return {card["id"]: str(card.get("root") or "") for card in self._call("GET", "/v1/models").json()["data"]}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.url} has no list of models: give the address of a vLLM server") from error

    def load(self, name: str, folder: Path) -> None:
        """Load an adapter; nothing changes where it is loaded already, also by another process at the same time.

        Args:
            name: under which it answers.
            folder: of the adapter, which the server reads at the same path.

        Raises:
            UserError: it was refused, or another folder is loaded under this name.
        """
        reply = self._send("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
        if reply.status_code == 404 and "detail" in _json(reply):
            raise UserError(
                f"{self.url} does not load adapters while it runs: start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"
            )
        loaded = self.models().get(name)
        if loaded is None:
            raise UserError(f"{self.url} does not load {name}: {_reason(reply)}")
        if Path(loaded) != folder:
            raise UserError(f"{self.url} has another folder loaded as {name}: unload it")

    def unload(self, name: str) -> None:
        """Unload an adapter; nothing changes where it is not loaded. Answers that are being written are finished."""
        reply = self._send("/v1/unload_lora_adapter", {"lora_name": name})
        if not reply.is_success and reply.status_code != 404:
            raise UserError(f"{self.url} does not unload {name}: {_reason(reply)}")

    def answer(self, model: str, messages: Sequence[dict[str, str]], max_tokens: int) -> ServerAnswer | None:
        """Answer greedily; None where the server refuses the request (400), as of a note that is too long.

        Args:
            model: name of a loaded adapter.
            messages: of the chat.
            max_tokens: of the answer.
        """
        body = {"model": model, "messages": list(messages), "max_tokens": max_tokens, "temperature": 0}
        reply = self._send("/v1/chat/completions", body)
        if reply.status_code == 400:
            return None
        if not reply.is_success:
            raise UserError(f"{self.url} does not answer as {model}: status {reply.status_code}")
        try:
            choice = reply.json()["choices"][0]
            return ServerAnswer((choice["message"]["content"] or "").strip(), choice["finish_reason"] != "length")
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(f"{self.url} does not send chat completions: give a vLLM server's address") from error

    def _call(self, method: str, path: str) -> httpx.Response:
        reply = self._request(method, path)
        if not reply.is_success:
            raise UserError(f"{self.url}{path} answers with status {reply.status_code}: check the server's log")
        return reply

    def _send(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self._request("POST", path, json=body)

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            reply = self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            raise UserError(f"the server at {self.url} does not answer ({type(error).__name__}): is it up?") from error
        if reply.status_code in (401, 403):
            raise UserError(f"the server at {self.url} refuses the key: set VLLM_API_KEY to the server's")
        return reply


@cache
def certificates() -> ssl.SSLContext:
    """The authorities that servers are verified by: the system's, or those of SSL_CERT_FILE."""
    return ssl.create_default_context()


def _json(reply: httpx.Response) -> dict[str, Any]:
    try:
        content = reply.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _reason(reply: httpx.Response) -> str:
    """Why an adapter was refused: vLLM's own sentence, which is about the adapter and holds no note."""
    error = _json(reply).get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return one_line(str(message))[:_LONGEST_REASON] if message else f"status {reply.status_code}"

"""Client of an OpenAI-compatible chat endpoint with a reply cache and a token budget; for the teacher and the judge."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import re
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import openai
from openai.types.chat import ChatCompletionMessageParam
from pydantic import ValidationError

from clinadapt.artifacts.artifact_cache import attestation, is_authentic
from clinadapt.artifacts.hashing import parse_json, sha256_json
from clinadapt.artifacts.slsa import ATTESTATION
from clinadapt.artifacts.step_record import log
from clinadapt.config.instruct import ANY_HOST
from clinadapt.errors import UserError
from clinadapt.llm_client.replies import Completion, Reply, without_thoughts
from clinadapt.storage.object_store import Store

Messages = Sequence[ChatCompletionMessageParam]

TIMEOUT = 300.0  # seconds without a reply
CONNECT_TIMEOUT = 10.0  # seconds
CHECK_TIMEOUT = 20.0  # seconds for the list of models
MAX_RETRIES = 36  # of a request: about four minutes with the backoff of the openai client (8 seconds at most)
MAX_RETRIES_UNREACHED = 2  # until the endpoint has responded for the first time
MALFORMED_DELAYS = (1.0, 2.0, 4.0)  # seconds before a request is repeated whose reply was no chat completion
REFUSED = {400, 413, 422}  # this request cannot be answered, others may

_SNAPSHOT = re.compile(r"[-@:](?:latest|\d{4}-\d{2}-\d{2}|\d{3,8})")  # what servers append to the name of a model
_WORD = re.compile(r"[^\W_]+")
_LONGEST_REASON = 200  # characters of an error's reason
_ECHO = 20  # characters of a request that make an error's reason part of the request

for _name in ("openai", "httpx"):  # OPENAI_LOG=debug would log the messages, httpx logs URLs
    logging.getLogger(_name).setLevel(logging.WARNING)


class OutOfTokens(Exception):
    """The token budget is used up; no further requests are sent. All replies so far are cached."""


class Refused(Exception):
    """The endpoint rejects this request (status 400, 413 or 422), for example because it is too long."""


class Closed(Exception):
    """The client was closed before this request was sent."""


class ChatClient:
    """Thread-safe client of one model.

    Each reply is cached in the store before it is returned, at `<teacher or judge>/<2 hex>/<sha256>.json`, by the hash
    of model, messages and parameters, and signed where a key is set: another's reply would teach the adapter, or judge
    it. A cached request is never sent again, and identical concurrent requests are sent once. Retries, backoff and
    Retry-After are the openai client's: it retries connection errors, timeouts and status 408, 409, 429 and 5xx, and
    waits up to two minutes if the endpoint asks for it.

    A URL with `?api-version=` is Azure's, with the name of a deployment as the model. An endpoint that refuses
    `max_tokens` or `temperature` is asked again with `max_completion_tokens` or without a temperature.

    Args:
        prefix: of the environment variables `<prefix>_URL` (including /v1), `<prefix>_MODEL` and `<prefix>_KEY`.
        cache: store of the replies; None for no cache.
        budget: tokens of prompts and replies, cached ones excluded, after which no request is sent; 0 for no limit.
        concurrency: maximum number of requests in flight.
        allowed_hosts: hosts that the texts of the messages may be sent to (`allowed_hosts` of the sources).

    Raises:
        UserError: a variable is missing or invalid, the endpoint's host is not among the allowed ones, or it is another
            machine and the URL is not https.
    """

    def __init__(
        self,
        prefix: str,
        cache: Store | None,
        budget: int = 0,
        concurrency: int = 8,
        *,
        allowed_hosts: Sequence[str],
    ) -> None:
        self.model = _variable(prefix, "MODEL")
        url, key = _variable(prefix, "URL").rstrip("/"), _variable(prefix, "KEY")
        self.host = checked_host(f"{prefix}_URL", f"{prefix}_KEY", url)
        if self.host not in allowed_hosts and ANY_HOST not in allowed_hosts:
            raise UserError(
                f"{prefix}_URL is at {self.host}, where not every data source allows its notes to be sent: if they may "
                f"leave for it, add send_to: [{self.host}] to each source in the profile, or --send-to {self.host}"
            )
        if not (key.isascii() and key.isprintable()):
            raise UserError(f"{prefix}_KEY contains characters that no key has: set it again")
        self._prefix, self._name = prefix, prefix.rpartition("_")[2].lower()
        self._cache, self._budget = cache, budget
        address = httpx.URL(url)
        self._azure = "api-version" in address.params
        http = openai.DefaultHttpxClient(
            follow_redirects=False,  # a redirect would send the messages to another host
            # by http, a proxy (HTTP_PROXY) would read what this machine is sent in the clear
            trust_env=address.scheme == "https",
            event_hooks={"request": [self._before_attempt], "response": [self._after_attempt]},
        )
        self._client = openai.OpenAI(
            base_url=str(address.copy_with(query=None)),
            api_key=key,
            default_query=dict(address.params),
            default_headers={"api-key": key} if self._azure else None,
            max_retries=MAX_RETRIES,
            timeout=openai.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT),
            http_client=http,
        )
        self._slots, self._lock = threading.BoundedSemaphore(concurrency), threading.Lock()
        self._pending: dict[str, Future[Reply]] = {}
        self._closed = threading.Event()
        self._limit, self._temperature = "max_tokens", True  # how the endpoint takes them
        self._served = ""  # the model's name in the first reply
        self._unsigned = False  # whether a cached reply was found that has to be signed and is not
        self._reached = False  # whether the endpoint has ever responded
        self._error = ""  # of the UserError that closed the client
        self.tokens = 0  # used by the replies to this client, prompts included
        self.thoughts = 0  # replies, cached ones included, whose thoughts were cut off

    def close(self) -> None:
        """Send no more requests. Those in flight complete and are cached; one that waits for a retry ends after it."""
        self._closed.set()

    def check(self) -> None:
        """List the models once, to see that the endpoint is up and accepts the key.

        A busy endpoint passes, and one without a list of models.

        Raises:
            UserError: the endpoint is down or rejects the key.
        """
        try:
            self._client.with_options(max_retries=0).models.with_raw_response.list(timeout=CHECK_TIMEOUT)
        except openai.APIStatusError as error:
            if error.status_code not in (404, 429):
                raise self._status_error(error) from None
        except openai.APIConnectionError as error:
            raise self._connection_error(error) from None

    def complete(self, messages: Messages, max_tokens: int, temperature: float = 0.0) -> Reply:
        """Reply to a chat, from the cache if possible.

        Args:
            messages: of the chat.
            max_tokens: of the reply.
            temperature: of sampling; 0 is greedy.

        Raises:
            OutOfTokens: the budget is used up and the reply is not cached.
            Refused: the endpoint rejects this request.
            Closed: the client was closed.
            UserError: the endpoint cannot be used. The client is closed, and all other requests raise the same error.
        """
        request = {"messages": messages, "max_tokens": max_tokens, "temperature": temperature, "model": self.model}
        digest = sha256_json(request).removeprefix("sha256:")
        key = f"{self._name}/{digest[:2]}/{digest}.json"
        with self._lock:
            future = self._pending.get(key)
            if is_first := future is None:
                future = self._pending[key] = Future()
        if is_first:
            try:
                reply = self._cached(key) or self._request(key, messages, max_tokens, temperature)
                with self._lock:
                    self.thoughts += reply.thoughts
                future.set_result(reply)
            except BaseException as error:
                future.set_exception(error)
                if isinstance(error, UserError):
                    self._error = str(error)
                    self.close()
            finally:
                with self._lock:
                    del self._pending[key]
        return future.result()

    def _cached(self, key: str) -> Reply | None:
        if self._cache is None:
            return None
        try:
            entry = parse_json(self._cache.get(key)[0])
            envelope = entry.pop(ATTESTATION, None)
            reply = Reply.model_validate(entry)
        except (KeyError, ValueError, TypeError, AttributeError):  # none, or not what this client writes
            return None
        if not is_authentic(envelope, key, sha256_json(entry)):
            with self._lock:
                is_first, self._unsigned = not self._unsigned, True
            if is_first:
                log(self._name, "cached replies that our key has not signed are asked for again")
            return None
        answer = without_thoughts(reply.text)  # earlier releases cached them
        return reply.model_copy(update={"text": answer, "thoughts": reply.thoughts or answer != reply.text.strip()})

    def _request(self, key: str, messages: Messages, max_tokens: int, temperature: float) -> Reply:
        """Send a request, count its tokens and cache the reply."""
        try:
            with self._slots:
                completion = self._completion(messages, max_tokens, temperature)
                self._count_tokens(completion)
        except openai.APIStatusError as error:
            if error.status_code in REFUSED:
                reason = _reason(error, messages)
                raise Refused(f"rejected by the endpoint (status {error.status_code}{reason})") from None
            raise self._status_error(error) from None
        except openai.APIConnectionError as error:
            raise self._connection_error(error) from None
        self._check_model(completion.model or self.model)
        choice = completion.choices[0]
        reply = choice.message.reply(choice.finish_reason == "length")
        if self._cache is not None:
            entry = reply.model_dump(exclude_defaults=True)
            signed = entry | attestation(key, sha256_json(entry))
            self._cache.put(key, json.dumps(signed, ensure_ascii=False).encode())
        return reply

    def _completion(self, messages: Messages, max_tokens: int, temperature: float) -> Completion:
        """Send a request until the reply is a chat completion. Some gateways send error pages with status 200."""
        for delay in (*MALFORMED_DELAYS, None):
            response = self._send(messages, max_tokens, temperature)
            try:
                return Completion.model_validate_json(response.http_response.content)
            except ValidationError:
                self._closed.wait(delay or 0)
        raise UserError(f"the {self._name}'s endpoint does not send chat completions: check {self._prefix}_URL")

    def _send(self, messages: Messages, max_tokens: int, temperature: float) -> Any:
        """Send a request in the way that the endpoint takes it, which its refusals tell."""
        while True:
            limit, with_temperature = self._limit, self._temperature
            options: dict[str, Any] = {limit: max_tokens}
            if with_temperature:
                options["temperature"] = temperature
            try:
                return self._client.chat.completions.with_raw_response.create(
                    model=self.model, messages=messages, **options
                )
            except openai.BadRequestError as error:
                body = json.dumps(error.body)
                if limit == "max_tokens" and "max_completion_tokens" in body:
                    self._limit = "max_completion_tokens"
                elif with_temperature and "temperature" in body:
                    self._temperature = False
                else:
                    raise

    def _check_model(self, served: str) -> None:
        """Refuse replies of another model: on Azure than the first reply's, elsewhere than the one asked for, whose
        name a server may complete by a snapshot or a path."""
        with self._lock:
            expected = (self._served or served) if self._azure else self.model
            self._served = expected
        if served != expected and _plain(served) != _plain(expected):
            raise UserError(
                f"the {self._name}'s endpoint replies as model '{served[:100]}', not '{expected}': set "
                f"{self._prefix}_MODEL to the name that the endpoint uses for the intended model"
            )

    def _before_attempt(self, request: Any) -> None:
        """Decide before each attempt, retries included, whether it may be sent."""
        if self._closed.is_set():
            raise UserError(self._error) if self._error else Closed
        if self._budget and self.tokens >= self._budget:
            raise OutOfTokens
        retries = int(request.headers.get("x-stainless-retry-count", 0))  # set by the openai client
        if not self._reached and retries > MAX_RETRIES_UNREACHED:
            raise UserError(
                f"the {self._name}'s endpoint cannot be reached ({MAX_RETRIES_UNREACHED + 1} attempts): check that it "
                f"is up, and {self._prefix}_URL"
            )

    def _after_attempt(self, response: Any) -> None:
        self._reached = True
        if response.status_code == 429 and b'"insufficient_quota"' in response.read():
            raise UserError(f"the quota of the {self._name}'s account is used up: raise it, then run again")

    def _count_tokens(self, completion: Completion) -> None:
        if completion.usage:
            with self._lock:
                self.tokens += completion.usage.prompt_tokens + (completion.usage.completion_tokens or 0)
        elif self._budget:
            raise UserError(f"the {self._name}'s endpoint does not report token usage: set the token budget to 0")

    def _connection_error(self, error: openai.APIConnectionError) -> UserError:
        """Error for an endpoint that does not reply; `error` is what the last attempt raised."""
        if isinstance(error, openai.APITimeoutError):
            problem = "does not reply in time"
        else:
            problem = "cuts off its replies" if self._reached else "cannot be reached"
        return UserError(
            f"the {self._name}'s endpoint {problem}: check that it is up, and {self._prefix}_URL, then run again; "
            "replies so far are cached"
        )

    def _status_error(self, error: openai.APIStatusError) -> UserError:
        """Error for a status other than 2xx, after all retries: the status and how to fix it."""
        status, endpoint = error.status_code, f"the {self._name}'s endpoint"
        if status in (408, 409, 429) or status >= 500:
            wait = error.response.headers.get("retry-after", "")
            when = f"in {wait} seconds" if wait.isdecimal() and len(wait) < 10 else "later"
            fix = f"check that it is up, then run again {when}; replies so far are cached"
        else:
            fixes = {
                401: f"set {self._prefix}_KEY to a valid key",
                403: f"{self._prefix}_KEY may not use the model '{self.model}': request access or set another key",
                404: f"it has no model '{self.model}' or the URL is wrong: check {self._prefix}_MODEL and _URL",
            }
            fix = fixes.get(status, f"check {self._prefix}_URL, which has to be the endpoint's own /v1 URL")
        return UserError(f"{endpoint} replies with status {status}: {fix}")


def _plain(model: str) -> str:
    """A model's name without the path or organisation before it and the snapshot after it."""
    return _SNAPSHOT.sub("", re.split(r"[/\\]", model)[-1].lower().removesuffix(".gguf"))


def _reason(error: openai.APIStatusError, messages: Messages) -> str:
    """The endpoint's own reason as `: reason`, numbers as N so that equal reasons are counted together, and … for words
    that the request has with a capital or a figure; empty where it gives none, its code alone where it repeats part of
    the request."""
    body = error.body if isinstance(error.body, dict) else {"message": error.body}
    stated = body.get("message") or body.get("detail") or ""  # of OpenAI, vLLM and llama.cpp; of FastAPI's gateways
    if isinstance(stated, list):
        stated = "; ".join(str(each.get("msg", "")) for each in stated if isinstance(each, dict))
    reason = " ".join(str(stated).split())
    request = " ".join(" ".join(str(message.get("content")) for message in messages).split())
    begin, lower = reason[:_LONGEST_REASON].lower(), request.lower()
    parts = (begin[i : i + _ECHO] for i in range(max(1, len(begin) - _ECHO + 1)))
    if any(part in lower for part in parts if part):
        reason = str(body.get("code") or "")[:40]
    words = {word for word in _WORD.findall(request) if not word.isdecimal()}
    telling = {word.casefold() for word in words if not (word.islower() and word.isalpha())}
    reason = _WORD.sub(lambda match: "…" if match[0].casefold() in telling else match[0], reason)[:_LONGEST_REASON]
    return f": {re.sub('[0-9]+', 'N', reason)}" if reason else ""


def checked_host(name: str, key: str, url: str) -> str:
    """The host of an endpoint's URL.

    Args:
        name: of the variable or option that the URL was given with.
        key: of the variable that its key belongs in.
        url: to check.

    Raises:
        UserError: it is no URL, or messages or key would travel in the clear.
    """
    try:
        parts = urlsplit(url)
        host, secret, _ = (parts.hostname or "").lower(), parts.username or parts.password, parts.port
    except ValueError as error:
        raise UserError(f"{name} is not a URL: set it to the endpoint's URL") from error
    if parts.scheme not in ("http", "https") or not host:
        raise UserError(f"{name} does not begin with http:// or https://: set it to the endpoint's URL")
    if secret or any(field != "api-version" for field in parse_qs(parts.query, keep_blank_values=True)):
        raise UserError(f"{name} contains a user, a password or a query: set the key in {key} instead")
    if parts.scheme == "http" and not _is_loopback(host):
        raise UserError(f"{name} sends notes to {host} unencrypted: use https://")
    return host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _variable(prefix: str, name: str) -> str:
    value = os.environ.get(f"{prefix}_{name}", "").strip()
    if not value:
        what = {"URL": "the endpoint's address", "MODEL": "the model's name", "KEY": "the endpoint's key"}[name]
        raise UserError(f"{prefix}_{name} is not set: set it to {what}")
    return value

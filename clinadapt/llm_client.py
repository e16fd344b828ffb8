"""A patient, thrifty client of a chat endpoint that speaks OpenAI's protocol; the teacher and the judge ask with it."""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from email.utils import parsedate_to_datetime

import openai
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel, Field, ValidationError

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.artifacts.step_record import log
from clinadapt.errors import UserError
from clinadapt.storage.object_store import Store

Messages = Sequence[ChatCompletionMessageParam]

TIMEOUT = 300.0  # seconds between a request and its reply
CONNECT_TIMEOUT = 10.0  # seconds
CHECK_TIMEOUT = 20.0  # seconds that the list of models may take
TRIES = 12  # of a request, about four minutes
FIRST_TRIES = 3  # as long as the endpoint has answered nothing that makes sense
SHORTEST_WAIT, LONGEST_WAIT = 0.5, 60.0  # seconds before the second and before the last try
LONGEST_RETRY_AFTER = 3600.0  # seconds; an endpoint that asks for more is not waited for
SAID_FROM = 10.0  # seconds of a wait from which the log tells of it
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_OURS = {400, 413, 422}  # this request cannot be answered, others may

logging.getLogger("openai").setLevel(logging.WARNING)  # OPENAI_LOG=debug would print the messages


class Reply(BaseModel):
    """What the model answered; `truncated` where it ran into `max_tokens`."""

    text: str
    truncated: bool


class OutOfTokens(Exception):
    """The budget is spent; nothing more is asked. What was answered before is in the cache."""


class Refused(Exception):
    """The endpoint cannot answer this request (status 400, 413 or 422), because it is too long for instance."""


class Closed(Exception):
    """The client was closed while this request waited for its turn."""


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int = 0


class _Completion(BaseModel):
    """What is read of a reply; anything else in it is left alone."""

    model: str
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class _Again(Exception):
    """This try failed in a way that another may not. Says how, in words that hold nothing of the endpoint's."""

    def __init__(self, how: str, wait: float = 0.0) -> None:
        super().__init__(how)
        self.wait = wait


class ChatClient:
    """Asks one model. Any number of threads may share it; `concurrency` of them are on the wire at once.

    A reply is kept in the store at `teacher/<2 hex>/<digest>.json` (named by the prefix), by the digest of model,
    messages and parameters, before it is returned; whatever was asked once is never asked again, also by a later run.
    Prompts need no version of their own, for messages hold them whole.

    Args:
        prefix: of the environment variables `<prefix>_URL` (as far as /v1), `_MODEL` and `_KEY`.
        cache: where replies are kept; nowhere when None.
        budget: tokens in and out after which nothing more is asked, without those of cached replies; no bound when 0.
            What is on the wire then is still answered.
        concurrency: requests on the wire at once.

    Raises:
        UserError: a variable is missing or cannot be.
    """

    def __init__(self, prefix: str, cache: Store | None, budget: int = 0, concurrency: int = 8) -> None:
        self.model = _variable(prefix, "MODEL")
        url, key = _variable(prefix, "URL").rstrip("/"), _variable(prefix, "KEY")
        if not url.startswith(("http://", "https://")):
            raise UserError(f"{prefix}_URL does not begin with http:// or https://: give the endpoint as far as /v1")
        if not (key.isascii() and key.isprintable()):
            raise UserError(f"{prefix}_KEY holds characters that no key has: set it anew")
        self._name, self._cache, self._budget = prefix.rpartition("_")[2].lower(), cache, budget
        self._prefix = prefix
        # A redirect would carry the messages to another host
        http = openai.DefaultHttpxClient(follow_redirects=False)
        timeout = openai.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT)
        self._client = openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=timeout, http_client=http)
        self._slots, self._lock = threading.BoundedSemaphore(concurrency), threading.Lock()
        self._closed = threading.Event()
        self._asking: dict[str, Future[Reply]] = {}
        self._not_before = 0.0  # on the monotonic clock, as the last Retry-After said
        self._reached, self._failed = False, ""
        self.tokens = 0  # that replies to this client cost, in and out

    def close(self) -> None:
        """Begin nothing more and end all waiting; what is on the wire is answered, and kept, first."""
        self._closed.set()

    def check(self) -> None:
        """One cheap request, for the list of models: the endpoint is up and takes the key. One that is busy, or has no
        such list, passes. Raises UserError."""
        try:
            self._client.models.with_raw_response.list(timeout=CHECK_TIMEOUT)
        except openai.APIStatusError as error:
            if error.status_code in (404, 429):
                return
            explained = self._explained(error)
            if isinstance(explained, UserError):
                raise explained from None
            raise UserError(
                f"the {self._name}'s endpoint answers with status {error.status_code}: see that it is up"
            ) from None
        except openai.APIConnectionError as error:
            raise UserError(
                f"the {self._name}'s endpoint cannot be reached: see that it is up, and check {self._prefix}_URL"
            ) from error

    def ask(self, messages: Messages, max_tokens: int, temperature: float = 0.0) -> Reply:
        """The model's reply, from the cache where it is there.

        Args:
            messages: of a chat.
            max_tokens: of the reply.
            temperature: of the sampling; 0 is greedy.

        Raises:
            OutOfTokens: the budget is spent and the reply is not in the cache.
            Refused: the endpoint will not answer this request.
            Closed: the client was closed.
            UserError: the endpoint cannot be used (key, model, no answer), in one line without any text of a message.
                The same is then raised in every thread that waits or asks.
        """
        request = {"messages": messages, "max_tokens": max_tokens, "temperature": temperature, "model": self.model}
        digest = sha256_json(request).removeprefix("sha256:")
        key = f"{self._name}/{digest[:2]}/{digest}.json"
        with self._lock:
            future = self._asking.get(key)
            if mine := future is None:
                future = self._asking[key] = Future()
        if not mine:
            return future.result()
        try:
            future.set_result(self._cached(key) or self._answered(key, messages, max_tokens, temperature))
        except BaseException as error:
            future.set_exception(error)
            if isinstance(error, UserError):
                self._failed = str(error)
                self.close()
        finally:
            with self._lock:
                del self._asking[key]
        return future.result()

    def _cached(self, key: str) -> Reply | None:
        if self._cache is None:
            return None
        try:
            return Reply.model_validate_json(self._cache.get(key)[0])
        except KeyError:
            return None

    def _answered(self, key: str, messages: Messages, max_tokens: int, temperature: float) -> Reply:
        tries = 0
        while True:
            try:
                completion = self._try(messages, max_tokens, temperature)
                break
            except _Again as error:
                tries += 1
                if tries >= (TRIES if self._reached else FIRST_TRIES):
                    raise UserError(
                        f"the {self._name}'s endpoint {error} ({tries} tries): see that it is up, then run again; what "
                        "it has answered is kept"
                    ) from None
                self._hold(error.wait)
                backoff = min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** (tries - 1))
                self._closed.wait(backoff * random.uniform(0.5, 1))
        reply = Reply(
            text=completion.choices[0].message.content or "", truncated=completion.choices[0].finish_reason == "length"
        )
        if self._cache is not None:
            self._cache.put(key, json.dumps(reply.model_dump(), ensure_ascii=False).encode())
        return reply

    def _hold(self, seconds: float) -> None:
        """Let no request of any thread begin for so long."""
        with self._lock:
            before, self._not_before = self._not_before, max(self._not_before, time.monotonic() + seconds)
            if self._not_before - before >= SAID_FROM and seconds >= SAID_FROM:
                log(self._name, f"the endpoint asks to wait {seconds:.0f} s")

    def _try(self, messages: Messages, max_tokens: int, temperature: float) -> _Completion:
        """One request. Raises _Again besides what `ask` raises."""
        with self._slots:
            while not self._closed.is_set() and (wait := self._not_before - time.monotonic()) > 0:
                self._closed.wait(wait)
            if self._closed.is_set():
                raise UserError(self._failed) if self._failed else Closed
            if self._budget and self.tokens >= self._budget:
                raise OutOfTokens
            try:
                answer = self._client.chat.completions.with_raw_response.create(
                    model=self.model, messages=messages, max_tokens=max_tokens, temperature=temperature
                )
                completion = _Completion.model_validate_json(answer.http_response.content)
            except openai.APIStatusError as error:
                self._reached = True
                raise self._explained(error) from None
            except openai.APITimeoutError:
                raise _Again("does not answer in time") from None
            except openai.APIConnectionError as error:
                how = "cuts its replies off" if self._reached else "cannot be reached"
                raise _Again(how) from error
            except ValidationError:
                raise _Again("answers what is no chat completion") from None
            self._reached = True
            return self._counted(completion)

    def _counted(self, completion: _Completion) -> _Completion:
        if completion.usage:
            with self._lock:
                self.tokens += completion.usage.prompt_tokens + completion.usage.completion_tokens
        elif self._budget:
            raise UserError(f"the {self._name}'s endpoint does not say what a reply cost: set the token budget to 0")
        if completion.model != self.model:
            raise UserError(
                f"the {self._name}'s endpoint answers as model '{completion.model[:100]}', not as '{self.model}': set "
                f"{self._prefix}_MODEL to the one you mean, by the name that the endpoint gives it"
            )
        return completion

    def _explained(self, error: openai.APIStatusError) -> Exception:
        """What a status means: another try, no answer to this request, or something to mend."""
        status, endpoint = error.status_code, f"the {self._name}'s endpoint"
        if error.code == "insufficient_quota":
            return UserError(f"{endpoint} says that the account's quota is spent: raise it there, then run again")
        if status in _AGAIN:
            wait = _retry_after(error.response.headers.get("retry-after", ""))
            if wait > LONGEST_RETRY_AFTER:
                return UserError(f"{endpoint} asks to come back in {wait / 3600:.1f} hours: run again then")
            return _Again(f"answers with status {status}", wait)
        if status in _OURS:
            return Refused(f"the endpoint refuses it ({status})")
        mend = {
            401: f"it does not take {self._prefix}_KEY: set another",
            403: f"{self._prefix}_KEY may not use the model '{self.model}': ask for the right or set another",
            404: f"it has no model '{self.model}' or is not at that address: check {self._prefix}_MODEL and _URL",
        }
        other = f"check {self._prefix}_URL, which has to be the endpoint itself as far as /v1"
        return UserError(f"{endpoint} answers with status {status}: {mend.get(status, other)}")


def _variable(prefix: str, name: str) -> str:
    value = os.environ.get(f"{prefix}_{name}", "").strip()
    if not value:
        what = {"URL": "the endpoint's address", "MODEL": "the model's name", "KEY": "the endpoint's key"}[name]
        raise UserError(f"{prefix}_{name} is not set: put {what} there")
    return value


def _retry_after(header: str) -> float:
    """Seconds to wait as the header says, in seconds or as a date (RFC 9110, 10.2.3); 0 where it says nothing."""
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return 0.0

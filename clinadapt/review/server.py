"""Serve the review page, where people try an adapter and flag wrong answers."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib

from clinadapt.clinical.claims import check
from clinadapt.errors import UserError
from clinadapt.privacy.written_texts import TooLongToScreen, redacted
from clinadapt.review.accounts import ACCOUNTS, Accounts
from clinadapt.review.protection import MAX_UPLOAD, PROXIES, USER_HEADER, Access, Protection
from clinadapt.storage.local_files import restrict_new_files

USER, PASSWORD = "CLINADAPT_REVIEW_USER", "CLINADAPT_REVIEW_PASSWORD"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; frame-ancestors 'self'; base-uri 'self'; form-action 'self'"
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
)
_NOT_KEPT = (b"cache-control", b"no-store")
_OWN_FILES = ("/assets/", "/static/", "/svelte/")  # of Gradio, which a browser may keep


def serve(adapter: str, store_uri: str, host: str, port: int) -> None:
    """Serve the page until Ctrl-C or SIGTERM, then exit with status 0.

    Uploads and answers are in a temporary folder that only this user can read and that is removed at the end.

    Args:
        adapter: a name (its champion), name/version or URI.
        store_uri: of the object store.
        host: address to listen on; any but this machine's own needs user name and password (see `credentials`).
        port: to listen on.

    Raises:
        UserError: user name and password are missing, the address cannot be listened on, Gradio is not installed, or
            the adapter cannot be loaded.
    """
    restrict_new_files()
    login = credentials(host)
    access = Access.from_environment(login is not None)
    check_address(host, port)
    if find_spec("gradio") is None:
        raise UserError("the review page needs Gradio: pip install 'clinadapt[review]'")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit)
    with tempfile.TemporaryDirectory(prefix="clinadapt-review-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # read when Gradio is imported
        # Gradio sends a request to itself to see whether it has started, which must not go through a proxy
        no_proxy = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
        os.environ["no_proxy"] = f"{no_proxy},localhost,{host}"
        threading.Thread(target=warm_up, daemon=True).start()
        page = load_page(adapter, store_uri, Path(folder))
        address = f"[{host}]" if ":" in host else host
        try:
            _launch(page, address, port, login, access)
            print(f"the review page is at http://{address}:{port} (stop it with Ctrl-C)", file=sys.stderr, flush=True)
            signal.pause()
        except OSError as error:
            raise UserError(f"cannot listen on {host}, port {port}: choose another --port") from error
        finally:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # hides errors of responses that are cut off
            page.close(verbose=False)


def load_page(adapter: str, store_uri: str, folder: Path) -> Any:
    """Load the adapter and build its page (`gradio.Blocks`).

    Args:
        adapter: a name (its champion), name/version or URI.
        store_uri: of the object store.
        folder: for temporary files.

    Raises:
        UserError: the adapter is not found or cannot be loaded.
    """
    from clinadapt.registry.adapters import published_recipe
    from clinadapt.review.classify import ClassifyService
    from clinadapt.review.instruct import InstructService
    from clinadapt.review.page import build_page

    tempfile.tempdir = str(folder)  # for the download of the adapter
    service_type = InstructService if published_recipe(adapter, store_uri) == "instruct" else ClassifyService
    service = service_type(adapter, store_uri, "page")
    tempfile.tempdir = None
    return build_page(service, folder)


def _launch(page: Any, address: str, port: int, login: tuple[str, str] | Accounts | None, access: Access) -> None:
    from starlette.middleware import Middleware

    from clinadapt.review.page import CSS, THEME

    if access.proxies:  # else uvicorn takes what a client on this machine writes into X-Forwarded-For for its address
        os.environ["FORWARDED_ALLOW_IPS"] = ""
    page.launch(
        server_name=address,
        server_port=port,
        auth=login,
        auth_message=escape(page.title),
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        run_history=False,  # would store notes in the browser
        enable_monitoring=False,
        footer_links=[],
        max_file_size=MAX_UPLOAD,
        theme=THEME,
        css=CSS,
        app_kwargs={"middleware": [Middleware(ContentSecurityPolicy), Middleware(Protection, access=access)]},
    )
    page.server.config.timeout_graceful_shutdown = 2  # seconds; an open page would delay the shutdown


def warm_up() -> None:
    """Load the lists of drugs, findings and names, which the first case and the first text written would wait for."""
    # Gradio asks at every click which backend draws, and while that is open, all who click wait until pyplot is loaded
    matplotlib.use("agg")
    check("Aspirin 100 mg daily, no cough.", "Aspirin 100 mg daily, no cough.")
    # A busy machine, or CPython 3.11 where another thread parses sources at once: the first text loads them then
    with suppress(TooLongToScreen, SystemError):
        redacted(["Nobody."])


def _exit(*_: Any) -> None:
    raise SystemExit(0)


class ContentSecurityPolicy:
    """ASGI middleware that adds POLICY to every response, so that the page loads from and sends to this server only,
    and lets no browser keep what may hold a note or an answer."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = message.get("headers", ())
                if not scope.get("path", "").startswith(_OWN_FILES):
                    given = [*(each for each in given if each[0].lower() != b"cache-control"), _NOT_KEPT]
                message["headers"] = [*given, *_HEADERS]
            await send(message)

        await self.app(scope, receive, send_with_policy)


def credentials(host: str) -> tuple[str, str] | Accounts | None:
    """The accounts in the file of ACCOUNTS, or the only user name and password (USER, PASSWORD); None if none is set
    and `host` is this machine only, or a proxy names the user (clinadapt.review.protection).

    Raises:
        UserError: other machines can connect and none is set, or accounts beside another way to sign in.
    """
    user, password, accounts = os.environ.get(USER), os.environ.get(PASSWORD), os.environ.get(ACCOUNTS)
    if accounts:
        if user or password or os.environ.get(USER_HEADER):
            raise UserError(f"{ACCOUNTS} stands alone: unset {USER}, {PASSWORD} and {USER_HEADER}")
        return Accounts(Path(accounts))
    if user and password:
        return user, password
    if host in ("localhost", "127.0.0.1", "::1") or (os.environ.get(USER_HEADER) and os.environ.get(PROXIES)):
        return None
    raise UserError(f"others can reach {host}: set {USER} and {PASSWORD}, or {ACCOUNTS}, or omit --host")


def check_address(host: str, port: int) -> None:
    """Raises UserError when `host` and `port` cannot be listened on."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen()
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen on {host}, port {port} ({error}): choose another --port or --host") from error

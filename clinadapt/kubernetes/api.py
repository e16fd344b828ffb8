"""The API of Kubernetes from within a pod: JSON over HTTPS with the pod's service account.

The official client loads some hundred megabytes of models, more than a step that only watches may hold.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from clinadapt.errors import UserError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PATIENCE_SECONDS = 900  # for an API server that is away, as while a control plane is updated
_TIMEOUT = urllib3.Timeout(connect=10, read=60)


class ApiError(UserError):
    """A refusal of the API server; `status` is the HTTP status."""

    def __init__(self, status: int, method: str, path: str, message: str) -> None:
        self.status = status
        advice = {
            403: "give the service account of runs the Role of manifests/components/trainer",
            404: "is it installed, and in this namespace?",
            422: "see manifests/components/trainer",
        }.get(status, "see the log of the API server")
        super().__init__(f"Kubernetes refused {method} {path} with HTTP {status} ({message}): {advice}")


class Api:
    """A connection. Requests without an answer, or with 429 or 5xx, are retried for a quarter of an hour."""

    def __init__(self, url: str, namespace: str, token: Path | None = None, ca: Path | None = None) -> None:
        """
        Args:
            url: of the API server.
            namespace: of this pod.
            token: file with the service account's token, which is renewed there.
            ca: file with the CA of the API server.
        """
        self.url, self.namespace, self._token = url.rstrip("/"), namespace, token
        options: dict[str, Any] = {"ca_certs": str(ca), "cert_reqs": ssl.CERT_REQUIRED} if ca else {}
        self._pool = urllib3.PoolManager(retries=False, timeout=_TIMEOUT, **options)
        self.patience, self.wait = float(_PATIENCE_SECONDS), 5.0

    def call(self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None) -> Any:
        """The JSON that a request returns. Raises ApiError, or UserError when no server answers."""
        return json.loads(self.text(method, path, body, query) or "null")

    def text(self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None) -> str:
        """The text that a request returns. Raises as `call`."""
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
        url = f"{self.url}{path}{'?' + urlencode(query) if query else ''}"
        deadline = time.monotonic() + self.patience
        while True:
            if self._token:
                headers["Authorization"] = f"Bearer {self._token.read_text().strip()}"
            try:
                answer = self._pool.request(
                    method, url, headers=headers, body=None if body is None else json.dumps(body)
                )
            except urllib3.exceptions.HTTPError as error:
                problem: UserError = UserError(
                    f"the API of Kubernetes at {self.url} cannot be reached ({type(error).__name__}): see the network "
                    "policy api-server"
                )
            else:
                text = answer.data.decode("utf-8", "replace")
                if answer.status < 400:
                    return text
                problem = ApiError(answer.status, method, path, _message(text))
                if answer.status < 500 and answer.status != 429:
                    raise problem
            if time.monotonic() > deadline:
                raise problem
            time.sleep(self.wait)


def in_cluster() -> Api:
    """The API server of the cluster that this pod runs in. Raises UserError outside of one."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (SERVICE_ACCOUNT / "token").is_file():
        raise UserError("this step hands its training to a TrainJob and runs in no cluster: unset CLINADAPT_TRAINJOB")
    namespace = (SERVICE_ACCOUNT / "namespace").read_text().strip()
    shown = f"[{host}]" if ":" in host else host
    return Api(f"https://{shown}:{port}", namespace, SERVICE_ACCOUNT / "token", SERVICE_ACCOUNT / "ca.crt")


def _message(text: str) -> str:
    """The reason in a Status object, on one line."""
    with suppress(ValueError, TypeError, KeyError):
        text = json.loads(text)["message"]
    return " ".join(str(text).split())[:300]

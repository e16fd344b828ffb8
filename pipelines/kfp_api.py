"""The API of Kubeflow Pipelines: where it is, who asks, all pages of a list, and its errors in one line.

kfp's own Client prints, sleeps through a server that is down and takes its namespace from a file in the home folder,
so the generated client below it is used instead.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kfp_server_api as kfp_api
import urllib3

from clinadapt.errors import UserError

TOKEN, COOKIE = "CLINADAPT_KFP_TOKEN", "CLINADAPT_KFP_COOKIE"
IN_CLUSTER = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
POD_TOKEN = "/var/run/secrets/kubeflow/pipelines/token"  # projected for the audience pipelines.kubeflow.org
POD_NAMESPACE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
_PAGE = 100
_SECONDS = 60  # that one answer may take


class Remote:
    """A connection. In a Kubeflow of several users every list and every new object belongs to `namespace`."""

    def __init__(self, client: kfp_api.ApiClient, namespace: str | None) -> None:
        self.endpoint, self.namespace = client.configuration.host, namespace
        self.pipelines = kfp_api.PipelineServiceApi(client)
        self.uploads = kfp_api.PipelineUploadServiceApi(client)
        self.experiments = kfp_api.ExperimentServiceApi(client)
        self.runs = kfp_api.RunServiceApi(client)
        self.recurring = kfp_api.RecurringRunServiceApi(client)

    def call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """One call. Raises UserError, in one line, for whatever the server or the network answers."""
        with errors(self.endpoint):
            return method(*arguments, _request_timeout=_SECONDS, **options)

    def every(self, method: Callable[..., Any], field: str, **options: Any) -> Iterator[Any]:
        """Every item of a list, page by page."""
        token = ""
        while True:
            page = self.call(method, page_token=token, page_size=_PAGE, **options)
            yield from getattr(page, field) or ()
            token = page.next_page_token
            if not token:
                return


def connect(endpoint: str | None, namespace: str | None) -> Remote:
    """Connect to an endpoint, or to the cluster that this process runs in.

    Who asks is told by CLINADAPT_KFP_TOKEN (a bearer token), by CLINADAPT_KFP_COOKIE (name=value, as a signed-in
    browser has it), or by the service account of this pod. A private CA is taken from SSL_CERT_FILE.

    Raises:
        UserError: no endpoint, no answer, nobody signed in, or no namespace where one is needed.
    """
    inside = "KUBERNETES_SERVICE_HOST" in os.environ
    if not endpoint and not inside:
        raise UserError("which Kubeflow Pipelines? Give --endpoint https://... or set KF_PIPELINES_ENDPOINT")
    configuration = kfp_api.Configuration(host=(endpoint or IN_CLUSTER).rstrip("/"))
    if "://" not in configuration.host:
        raise UserError(f"endpoint {configuration.host}: begin it with http:// or https://")
    configuration.retries = urllib3.Retry(total=2, backoff_factor=0.5)
    configuration.ssl_ca_cert = os.environ.get("SSL_CERT_FILE")
    if token := os.environ.get(TOKEN) or (None if endpoint else _pod_token()):  # a pod's token is for its own cluster
        configuration.api_key = {"authorization": token}
        configuration.api_key_prefix = {"authorization": "Bearer"}
    client = kfp_api.ApiClient(configuration, cookie=os.environ.get(COOKIE))
    if not _health(client)["multi_user"]:
        return Remote(client, None)
    namespace = namespace or (Path(POD_NAMESPACE).read_text() if inside and Path(POD_NAMESPACE).is_file() else None)
    if not namespace:
        raise UserError("this Kubeflow has several users: give --namespace, your profile's namespace")
    return Remote(client, namespace)


def _pod_token() -> str | None:
    path = Path(os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", POD_TOKEN))
    return path.read_text().strip() if path.is_file() else None


def _health(client: kfp_api.ApiClient) -> dict[str, bool]:
    """Who is there, and whether it is Kubeflow Pipelines at all: a sign-in page answers every path with HTML."""
    endpoint = client.configuration.host
    with errors(endpoint):
        response = kfp_api.HealthzServiceApi(client).healthz_service_get_healthz(
            _preload_content=False, _request_timeout=_SECONDS
        )
    try:
        return {"multi_user": bool(json.loads(response.data).get("multi_user"))}
    except (ValueError, AttributeError):
        raise UserError(
            f"{endpoint} answers with a page, not with the API: sign in with a browser and put its cookie into "
            f"{COOKIE}, or a token into {TOKEN}"
        ) from None


@contextmanager
def errors(endpoint: str) -> Iterator[None]:
    """Turn the client's errors into a UserError."""
    try:
        yield
    except kfp_api.ApiException as error:
        raise Refused(endpoint, error.status, _message(error)) from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        reason = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
        advice = "is it up, and is the address right?"
        if isinstance(reason, urllib3.exceptions.SSLError):
            advice = "name the CA that signed its certificate in SSL_CERT_FILE"
        raise UserError(f"{endpoint} cannot be reached ({type(reason).__name__}): {advice}") from None


class Refused(UserError):
    """What the server says, in one line; `status` is the HTTP status."""

    def __init__(self, endpoint: str, status: int, message: str) -> None:
        self.status = status
        advice = {
            401: f"sign in again: put a fresh token into {TOKEN} or a cookie into {COOKIE}",
            403: "ask for the right to use pipelines in this namespace (role kubeflow-pipelines-edit)",
            404: "check the endpoint and that Kubeflow Pipelines is 2.17 or later",
        }.get(status, "see the log of the deployment ml-pipeline" if status >= 500 else "mend what it names")
        super().__init__(f"{endpoint} answers {status} ({message}): {advice}")


def _message(error: kfp_api.ApiException) -> str:
    """The first line of the server's message, or the HTTP reason."""
    try:
        text = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        text = error.reason or "no reason given"
    return " ".join(str(text).split())[:200]

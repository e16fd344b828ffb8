"""The API of Kubeflow Pipelines: endpoint, authentication, pagination, and errors in one line.

kfp's own Client prints, waits silently for a server that is down and reads its namespace from a file in the home
folder, so the generated client below it is used instead.
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
from clinadapt.kubernetes.workflow import API as IN_CLUSTER

TOKEN, COOKIE = "CLINADAPT_KFP_TOKEN", "CLINADAPT_KFP_COOKIE"
POD_TOKEN = "/var/run/secrets/kubeflow/pipelines/token"  # projected for the audience pipelines.kubeflow.org
POD_NAMESPACE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
_PAGE_SIZE = 100
_TIMEOUT = 60  # seconds for one request


class Remote:
    """A connection. In a multi-user Kubeflow all lists and new objects belong to `namespace`."""

    def __init__(self, client: kfp_api.ApiClient, namespace: str | None) -> None:
        self.endpoint, self.namespace = client.configuration.host, namespace
        self._client = client
        self.pipelines = kfp_api.PipelineServiceApi(client)
        self.uploads = kfp_api.PipelineUploadServiceApi(client)
        self.experiments = kfp_api.ExperimentServiceApi(client)
        self.runs = kfp_api.RunServiceApi(client)
        self.recurring = kfp_api.RecurringRunServiceApi(client)

    def call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a method of the generated client. Raises UserError, in one line, for any server or network error."""
        with errors(self.endpoint):
            return method(*arguments, _request_timeout=_TIMEOUT, **options)

    def get(self, path: str) -> Any:
        """The JSON at a path of the API that the generated client does not know. Raises UserError as `call`."""
        try:
            return json.loads(self.get_text(path))
        except ValueError:
            raise UserError(f"{self.endpoint}{path} returned no JSON: is Kubeflow Pipelines 2.17 or later?") from None

    def get_text(self, path: str) -> str:
        """The text at a path. Raises UserError as `call`."""
        answer = self.call(
            self._client.call_api,
            path,
            "GET",
            auth_settings=["Bearer"],
            _preload_content=False,
            _return_http_data_only=True,
        )
        return str(answer.data.decode("utf-8", "replace"))

    def list_all(self, method: Callable[..., Any], field: str, **options: Any) -> Iterator[Any]:
        """Yield the items of all pages of a list; `field` is the list's name in the response."""
        token = ""
        while True:
            page = self.call(method, page_token=token, page_size=_PAGE_SIZE, **options)
            yield from getattr(page, field) or ()
            token = page.next_page_token
            if not token:
                return


def connect(endpoint: str | None, namespace: str | None) -> Remote:
    """Connect to an endpoint, or to the cluster that this process runs in.

    Credentials: CLINADAPT_KFP_TOKEN (a bearer token), CLINADAPT_KFP_COOKIE (name=value, copied from a signed-in
    browser), or the service account of this pod. A private CA is read from SSL_CERT_FILE.

    Raises:
        UserError: no endpoint, no connection, not signed in, or no namespace in a multi-user Kubeflow.
    """
    inside = "KUBERNETES_SERVICE_HOST" in os.environ
    if not endpoint and not inside:
        raise UserError("no Kubeflow Pipelines endpoint: give --endpoint https://... or set KF_PIPELINES_ENDPOINT")
    configuration = kfp_api.Configuration(host=(endpoint or IN_CLUSTER).rstrip("/"))
    if "://" not in configuration.host:
        raise UserError(f"endpoint {configuration.host} has no scheme: start it with http:// or https://")
    configuration.retries = urllib3.Retry(total=2, backoff_factor=0.5)
    configuration.ssl_ca_cert = os.environ.get("SSL_CERT_FILE")
    if token := os.environ.get(TOKEN) or (
        None if endpoint else _pod_token()
    ):  # a pod's token is only for its own cluster
        configuration.api_key = {"authorization": token}
        configuration.api_key_prefix = {"authorization": "Bearer"}
    client = kfp_api.ApiClient(configuration, cookie=os.environ.get(COOKIE))
    if not _is_multi_user(client):
        return Remote(client, None)
    namespace = namespace or (Path(POD_NAMESPACE).read_text() if inside and Path(POD_NAMESPACE).is_file() else None)
    if not namespace:
        raise UserError("this Kubeflow is multi-user: give --namespace, the namespace of your Kubeflow profile")
    return Remote(client, namespace)


def _pod_token() -> str | None:
    path = Path(os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", POD_TOKEN))
    return path.read_text().strip() if path.is_file() else None


def _is_multi_user(client: kfp_api.ApiClient) -> bool:
    """Whether the server is multi-user. Raises UserError for a sign-in page, which returns HTML for every path."""
    endpoint = client.configuration.host
    with errors(endpoint):
        response = kfp_api.HealthzServiceApi(client).healthz_service_get_healthz(
            _preload_content=False, _request_timeout=_TIMEOUT
        )
    try:
        return bool(json.loads(response.data).get("multi_user"))
    except (ValueError, AttributeError):
        raise UserError(
            f"{endpoint} returned a web page instead of the API: sign in with a browser and copy its cookie into "
            f"{COOKIE}, or set {TOKEN}"
        ) from None


@contextmanager
def errors(endpoint: str) -> Iterator[None]:
    """Raise the client's errors as UserError."""
    try:
        yield
    except kfp_api.ApiException as error:
        raise ApiError(endpoint, error.status, _message(error)) from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        reason = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
        advice = "is it up, and is the address right?"
        if isinstance(reason, urllib3.exceptions.SSLError):
            advice = "set SSL_CERT_FILE to the CA that signed its certificate"
        raise UserError(f"{endpoint} cannot be reached ({type(reason).__name__}): {advice}") from None


class ApiError(UserError):
    """An error response of the server, in one line; `status` is the HTTP status."""

    def __init__(self, endpoint: str, status: int, message: str) -> None:
        self.status = status
        advice = {
            401: f"sign in again and set {TOKEN} or {COOKIE}",
            403: "ask for the role kubeflow-pipelines-edit in this namespace",
            404: "check the endpoint and that Kubeflow Pipelines is 2.17 or later",
        }.get(status, "see the log of the deployment ml-pipeline" if status >= 500 else "correct the request")
        super().__init__(f"{endpoint} returned HTTP {status} ({message}): {advice}")


def _message(error: kfp_api.ApiException) -> str:
    """The first line of the server's message, or the HTTP reason."""
    try:
        body = json.loads(error.body)  # an upload's error has error_message
        text = body.get("error_message") or body.get("message") or body["error"]
    except (AttributeError, TypeError, ValueError, KeyError):
        text = error.reason or "no reason given"
    return " ".join(str(text).split())[:200]

"""Options and helpers shared by the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from clinadapt.config.uri_credentials import refuse_credentials

HOME = Path(".clinadapt")
DEFAULT_STORE = str(HOME / "store")

Json = Annotated[
    bool,
    typer.Option("--json", help="Print JSON to standard output, and everything else to standard error."),
]
StoreUri = Annotated[
    str,
    typer.Option(
        "--store", help="Store with the adapters: a folder, file:// or s3://bucket/prefix.", envvar="CLINADAPT_STORE"
    ),
]


def as_uri(location: str) -> str:
    """Return a URI unchanged and a path as file://."""
    return refuse_credentials(location) if "://" in location else Path(location).expanduser().resolve().as_uri()


def emit(value: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Print one line of JSON to standard output."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        help="URL of Kubeflow Pipelines, such as https://kubeflow.example.org/pipeline. Not needed in a pod.",
        envvar="KF_PIPELINES_ENDPOINT",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Your namespace in a multi-user Kubeflow.", envvar="CLINADAPT_NAMESPACE"),
]

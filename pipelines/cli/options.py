"""Options and small helpers that the commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

HOME = Path(".clinadapt")
DEFAULT_STORE = str(HOME / "store")

Json = Annotated[
    bool,
    typer.Option("--json", help="End with one line of JSON on standard output; all else to standard error."),
]
StoreUri = Annotated[
    str,
    typer.Option(
        "--store", help="Where adapters live: file:///folder or s3://bucket/prefix.", envvar="CLINADAPT_STORE"
    ),
]


def as_uri(place: str) -> str:
    """A URI as it is; a path as file://."""
    return place if "://" in place else Path(place).expanduser().resolve().as_uri()


def emit(value: dict[str, Any]) -> None:
    """The one line of JSON that scripts read."""
    print(json.dumps(value, ensure_ascii=False), flush=True)

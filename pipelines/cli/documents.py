"""`clinadapt registry documents`: the governance documents of a published version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import DEFAULT_STORE, Json, StoreUri, as_uri, emit


def documents(
    adapter: Annotated[str, typer.Argument(help="Adapter: NAME for its champion, or NAME/VERSION.")],
    to: Annotated[Path, typer.Option(help="Target: a folder that is new or empty.")],
    store: StoreUri = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Write the governance documents of a version.

    CHAI applied model card (HTML, Markdown, XML), HTI-1 source attributes, EU AI Act Annex IV, TRIPOD-LLM checklist and
    predetermined change control plan with the record of conformance (HTML, Markdown, JSON). Each field shows where it
    comes from, a file in FOLDER/records and a JSON pointer, or who fills it in. With CLINADAPT_VERIFY_KEY set, an
    unsigned version is refused.
    """
    from clinadapt.documents.writing import export_documents

    result = export_documents(adapter, as_uri(store), to)
    for name, share in result["documents"].items():
        people = ", ".join(f"{role} {number}" for role, number in share["people"].items())
        percent = 100 * share["filled"] / share["knowable"]
        line = f"{name}: {share['filled']} of {share['knowable']} fields that a run can know ({percent:.0f} %)"
        typer.echo(f"{line}; left to people: {people or 'none'}", err=as_json)
    typer.echo(f"written to {result['folder']}", err=True)
    if as_json:
        emit(result)

"""`clinadapt purge`: delete what holds text of notes."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from clinadapt.errors import UserError
from pipelines.cli.options import DEFAULT_STORE, HOME, Json, StoreUri, as_uri, emit


def purge(
    older_than: Annotated[
        float | None, typer.Option(help="Days since the last write after which texts are purged.", min=0)
    ] = None,
    patient: Annotated[
        str | None,
        typer.Option(
            metavar="HASH",
            help="Hash of a patient's note, its note_id: purge whatever holds the note or may.",
        ),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete; without it, only list.")] = False,
    artifacts: Annotated[
        str | None,
        typer.Option(
            help="Artifact root of Kubeflow Pipelines, whose copies are purged too: s3://mlpipeline, or in it "
            "private-artifacts/NAMESPACE. Only of these pipelines and runs.",
            envvar="CLINADAPT_ARTIFACTS",
        ),
    ] = None,
    store: StoreUri = DEFAULT_STORE,
    home: Annotated[Path, typer.Option(help="Folder for outputs, caches and logs of local runs.")] = HOME,
    as_json: Json = False,
) -> None:
    """Delete flags, records, replies, caches and outputs, which hold text of notes.

    In the store and in the folder of local runs; published adapters stay. Without `--delete` it only lists.

        clinadapt purge --older-than 90 --delete

        clinadapt purge --patient 0123456789abcdef
    """
    from clinadapt.registry import purge as purging
    from clinadapt.registry.pipeline_artifacts import ArtifactRoot
    from clinadapt.storage import open_store

    if (older_than is None) == (patient is None):
        raise UserError("give either --older-than DAYS or --patient HASH")
    if patient is not None and not re.fullmatch("[0-9a-f]{16}", patient):
        raise UserError("--patient takes the note_id of a note, 16 hexadecimal digits")
    opened, adapters = open_store(as_uri(store)), list[str]()
    root = ArtifactRoot.below(as_uri(artifacts), opened) if artifacts else None
    copies: list[purging.Purgeable] = []  # in the artifact root
    if patient is not None:
        items, adapters = purging.of_note(opened, home, patient)
        if root:
            copies, others = root.of_note(patient, opened)
            adapters = sorted({*adapters, *others})
    else:
        age = timedelta(days=older_than or 0)
        items, copies = purging.older_than(opened, home, age), root.older_than(age) if root else []
    for item in [*items, *copies]:
        _report(f"{item.place}: {item.what}")
    for adapter in adapters:
        _report(f"adapters/{adapter} was made of these outputs: train again without the note")
    if delete:
        purging.purge(opened, items, _report)
        if root:
            purging.purge(root.store, copies, _report)
    elif items or copies:
        _report("nothing was deleted: add --delete")
    if root:
        count = sum(len(item.keys) for item in copies)
        _report(
            f"Kubeflow Pipelines: {count} objects in {len(copies)} places of our runs; {root.others} of others stay"
        )
    if as_json:
        places = [item.place for item in [*items, *copies]]
        emit({"deleted": delete, "places": places, "adapters": adapters})


def _report(line: str) -> None:
    print(line, file=sys.stderr)

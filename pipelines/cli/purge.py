"""`clinadapt purge`: delete what holds text of notes."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from clinadapt.errors import UserError
from pipelines.cli.options import DEFAULT_STORE, HOME, Json, StoreUri, as_uri, emit

if TYPE_CHECKING:
    from clinadapt.registry.pipeline_artifacts import ArtifactRoot
    from clinadapt.registry.purge import Purgeable


def purge(
    older_than: Annotated[
        float | None, typer.Option(help="Days since the last write after which texts are purged.", min=0)
    ] = None,
    patient: Annotated[
        str | None,
        typer.Option(
            metavar="HASH",
            help="Hash of a patient's note, before or after screening: purge whatever holds the note or may.",
        ),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete; without it, only list.")] = False,
    artifacts: Annotated[
        str | None,
        typer.Option(
            help="Artifact root of Kubeflow Pipelines, whose copies are purged too: s3://mlpipeline, or in it "
            "private-artifacts/NAMESPACE. What other pipelines keep there stays.",
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
    from clinadapt.registry.pipeline_artifacts import ArtifactRoot
    from clinadapt.registry.purge import of_note
    from clinadapt.registry.purge import older_than as by_age
    from clinadapt.registry.purge import purge as delete_items
    from clinadapt.storage import open_store

    if (older_than is None) == (patient is None):
        raise UserError("give either --older-than DAYS or --patient HASH")
    if patient is not None and not re.fullmatch("[0-9a-f]{16}", patient):
        raise UserError("--patient takes the note_id of a note, 16 hexadecimal digits")
    opened = open_store(as_uri(store))
    root = ArtifactRoot.below(as_uri(artifacts), opened) if artifacts else None
    if patient is not None:
        note_ids = _same_note(patient, home, root)
        items, adapters = of_note(opened, home, note_ids)
        copies, others = root.of_note(note_ids, opened) if root else ([], [])
        adapters = sorted({*adapters, *others})
    else:
        age, adapters = timedelta(days=older_than or 0), []
        items, copies = by_age(opened, home, age), root.older_than(age) if root else []
    _list(items + copies, adapters, delete)
    if delete:
        delete_items(opened, items, _report)
        if root:
            delete_items(root.store, copies, _report)
    if root:
        count = sum(len(item.keys) for item in copies)
        _report(
            f"Kubeflow Pipelines: {count} objects in {len(copies)} places of our runs; {root.others} of others stay"
        )
    else:
        _report("copies that Kubeflow Pipelines keeps are not looked at: name its artifact root with --artifacts")
    if as_json:
        emit({"deleted": delete, "places": [item.place for item in items + copies], "adapters": adapters})


def _same_note(note_id: str, home: Path, root: ArtifactRoot | None) -> set[str]:
    """All hashes of a note, as local runs and those on the cluster recorded them."""
    from clinadapt.registry.purge import note_id_tables, same_note

    with TemporaryDirectory(prefix="clinadapt-purge-") as scratch:
        copies = root.note_id_tables(Path(scratch)) if root else ()
        return same_note(note_id, chain(note_id_tables(home), copies))


def _list(items: list[Purgeable], adapters: list[str], delete: bool) -> None:
    for item in items:
        _report(f"{item.place}: {item.what}")
    for adapter in adapters:
        _report(f"adapters/{adapter} was made of these outputs: train again without the note")
    if items and not delete:
        _report("nothing was deleted: add --delete")


def _report(line: str) -> None:
    print(line, file=sys.stderr)

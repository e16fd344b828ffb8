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
    store: StoreUri = DEFAULT_STORE,
    home: Annotated[Path, typer.Option(help="Folder for outputs, caches and logs of local runs.")] = HOME,
    as_json: Json = False,
) -> None:
    """Delete flags, records, replies, caches and outputs, which hold text of notes.

    In the store and in the folder of local runs; published adapters stay. Without `--delete` it only lists.

        clinadapt purge --older-than 90 --delete

        clinadapt purge --patient 0123456789abcdef
    """
    from clinadapt.registry.purge import of_note
    from clinadapt.registry.purge import older_than as by_age
    from clinadapt.registry.purge import purge as delete_items
    from clinadapt.storage import open_store

    if (older_than is None) == (patient is None):
        raise UserError("give either --older-than DAYS or --patient HASH")
    opened, adapters = open_store(as_uri(store)), list[str]()
    if patient is not None:
        if not re.fullmatch("[0-9a-f]{16}", patient):
            raise UserError("--patient takes the note_id of a note, 16 hexadecimal digits")
        items, adapters = of_note(opened, home, patient)
    else:
        items = by_age(opened, home, timedelta(days=older_than or 0))
    for item in items:
        print(f"{item.place}: {item.what}", file=sys.stderr)
    for adapter in adapters:
        print(f"adapters/{adapter} was made of these outputs: train again without the note", file=sys.stderr)
    if delete:
        delete_items(opened, items, lambda line: print(line, file=sys.stderr))
    elif items:
        print("nothing was deleted: add --delete", file=sys.stderr)
    if as_json:
        emit({"deleted": delete, "places": [item.place for item in items], "adapters": adapters})

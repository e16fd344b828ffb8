"""`clinadapt phi`: what identifies a patient, found in a file and measured."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from clinadapt.errors import EXIT_REFUSED, UserError
from pipelines.cli.options import DEFAULT_STORE, Json, StoreUri, as_uri, emit

if TYPE_CHECKING:
    from clinadapt.privacy.spans import Span

Profile = Annotated[
    str, typer.Option(help="Profile whose section phi adds a second opinion, staff and protected terms.")
]
app = typer.Typer(no_args_is_help=True, help="Identifiers of patients in notes: found and measured, never printed.")


@app.command()
def scan(
    file: Annotated[Path, typer.Argument(help="File with one note per row: .csv, .jsonl, .parquet or .xlsx.")],
    text_column: Annotated[str, typer.Option(help="Column with the note text.")] = "transcription",
    spans: Annotated[
        Path | None,
        typer.Option(help="Also write row, start, end and type of each identifier here (JSON lines, no text)."),
    ] = None,
    profile: Profile = "",
    as_json: Json = False,
) -> None:
    """Count the identifiers in a file of notes, by type.

    clinadapt phi scan notes.csv --spans spans.jsonl
    """
    counts: Counter[str] = Counter()
    rows = identified = 0
    lines: list[dict[str, Any]] = []
    find = _detector(profile)
    for number, row in _rows(file):
        if not isinstance(row.get(text_column), str):
            raise UserError(
                f"row {number} of {file.name} has no text in '{text_column}': choose one with --text-column"
            )
        found = find(row[text_column])
        counts.update(span.type for span in found)
        rows, identified = number, identified + bool(found)
        lines += [{"row": number, **span._asdict()} for span in found] if spans else []
    if spans:
        _write_private(spans, lines)
    result = {"rows": rows, "rows_with_identifiers": identified, "identifiers": dict(counts.most_common())}
    table = Table("identifier", "found")
    for kind, count in counts.most_common():
        table.add_row(kind, f"{count:,}")
    console = Console(stderr=True, highlight=False)
    console.print(f"{rows:,} rows, {identified:,} with identifiers")
    console.print(table)
    if as_json:
        emit(result)


@app.command()
def measure(
    labelled: Annotated[
        Path,
        typer.Option(
            help="Notes with labelled identifiers, JSON lines: text, spans (start, end, type) and, where there are, "
            "negatives (start, end, kind), which must stay."
        ),
    ],
    profile: Profile = "",
    as_json: Json = False,
) -> None:
    """Measure recall and needless redaction on labelled notes, with 95 % intervals.

    An identifier counts as found if every word of it is.

        clinadapt phi measure --labelled own.jsonl
    """
    from clinadapt.privacy.measure import measure as measured

    result = measured((row for _, row in _rows(labelled)), _detector(profile))
    table = Table("share of 100 (95 % interval)", "value", "of")
    for kind, share in result["recall"].items():
        table.add_row(f"found: {kind}", _percent(share), f"{share['total']:,}")
    table.add_row(
        "redacted needlessly: words", _percent(result["over_redaction"]), f"{result['over_redaction']['total']:,}"
    )
    for kind, share in result["negatives"].items():
        table.add_row(f"redacted needlessly: {kind}", _percent(share), f"{share['total']:,}")
    console = Console(stderr=True, highlight=False)
    console.print(f"{result['notes']:,} notes")
    console.print(table)
    if as_json:
        emit(result)


@app.command()
def canaries(
    source: Annotated[Path, typer.Argument(help="File of triples (JSON lines) to train along with the notes.")],
    canary_list: Annotated[Path, typer.Option("--list", help="Where the list of canaries is kept until the audit.")],
    seed: Annotated[int, typer.Option(help="Another seed gives other canaries.")] = 0,
) -> None:
    """Make invented phrases that a run trains along with its notes, so that `phi audit` can show what it remembers.

    They stand 1, 4 or 16 times in notes of built-in cases or in answers about them; use a name of its own for the
    adapter of such a run, and its own settings or a smaller copy.

        clinadapt phi canaries canaries.jsonl --list canaries.json
        clinadapt run instruct notes=notes.csv triples=canaries.jsonl --profile t4-phi2
    """
    from clinadapt.privacy.audit.canaries import as_json, canaries, triples

    _write_private(source, list(triples(canaries(seed), seed)))
    _write_private(canary_list, [as_json(seed)])


@app.command()
def audit(
    adapter: Annotated[str, typer.Option(help="Name of the adapter (its champion), name/version or URI.")],
    splits: Annotated[Path, typer.Option(help="Folder `splits` that the step format of its run wrote.")],
    canary_list: Annotated[Path, typer.Option("--list", help="List of canaries that `phi canaries` has made.")],
    store: StoreUri = DEFAULT_STORE,
    output: Annotated[Path, typer.Option(help="Where the result is written.")] = Path("audit.json"),
    as_json: Json = False,
) -> None:
    """Show what an adapter remembers of its training beyond its base model, by canaries that were trained along.

    Exit status 3: it remembers canaries.

        clinadapt phi audit --adapter answers --splits .clinadapt/outputs/RUN/format-instruct/splits --list FILE
    """
    from clinadapt.artifacts.hashing import read_json
    from clinadapt.models.generator import Generator
    from clinadapt.privacy.audit.canaries import read_canaries
    from clinadapt.privacy.audit.run import audit as audited
    from clinadapt.review.loading import published_adapter

    try:
        seed, listed = read_canaries(read_json(canary_list))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{canary_list.name} cannot be read: name the list that clinadapt phi canaries has made"
        ) from error
    with published_adapter(adapter, as_uri(store), "instruct") as (folder, uri):
        pretrained = read_json(folder / "training.json")["pretraining"] is not None
        result = {"adapter": uri, **audited(Generator(folder), listed, seed, splits, pretrained)}
    _write_private(output, [result])
    table = Table("canaries", "times in training", "exposure (bits)", "of those not trained", "p", "extracted")
    for name, group in result["canaries"].items():
        figures = (
            f"{group['in_training']:.1f}",
            f"{group['trained']:.1f}",
            f"{group['control']:.1f}",
            f"{group['p']:.3f}",
        )
        table.add_row(name, *figures, f"{group['extracted']} of {group['canaries']}")
    console = Console(stderr=True, highlight=False)
    console.print(table)
    console.print(f"{result['verdict']}; training notes told apart with AUC {result['membership']['value']:.2f}")
    if as_json:
        emit(result)
    if result["verdict"] == "remembers":
        raise typer.Exit(EXIT_REFUSED)


def _detector(profile: str) -> Callable[[str], list[Span]]:
    """What finds identifiers in a text: by the section `phi` of a profile, or with nothing added."""
    from clinadapt.privacy.detector import identifiers

    if not profile:
        return identifiers
    from clinadapt.privacy.screening import Screener
    from pipelines.named_settings import load_profile

    settings = load_profile(profile).phi
    if settings.policy == "off":
        raise UserError(f"phi.policy of profile '{profile}' is off: it looks for nothing")
    return Screener(settings.model_copy(update={"policy": "report", "types": {}})).found_in


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbered rows of a file. Raises UserError for a row that cannot be read."""
    from clinadapt.data.readers import read_rows
    from clinadapt.review.inputs import readable

    with readable(file):
        for number, row in enumerate(read_rows(file, file.name), start=1):
            if isinstance(row, str):
                raise UserError(f"row {number} of {file.name} cannot be used: {row}")
            yield number, row


def _percent(share: dict[str, float]) -> str:
    return f"{100 * share['value']:.1f} ({100 * share['low']:.1f}-{100 * share['high']:.1f})"


def _write_private(path: Path, lines: list[dict[str, Any]]) -> None:
    """Write JSON lines that only their owner may read: with the file, they tell where the identifiers are."""
    from clinadapt.storage.local_files import atomic_write, private_file

    with atomic_write(path) as partial:
        private_file(partial)
        with partial.open("w") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

"""What `clinadapt run` makes of its data arguments, and what it prints at the end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clinadapt.config.classify import ClassifyProfile
from clinadapt.config.feedback import feedback_place
from clinadapt.config.instruct import COLUMNS, source_fields
from clinadapt.config.profile import AnyProfile
from clinadapt.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_INTERRUPTED, EXIT_REFUSED, UserError
from pipelines.cli.options import as_uri

_FEEDBACK = "feedback="  # before the source of what people corrected


def result(summary: dict[str, Any]) -> dict[str, Any]:
    """What `run --json` prints."""
    record = summary["steps"].get("gate") or summary["steps"].get("lookup") or {}
    outputs = record.get("outputs", {})
    keys = (
        "run", "state", "error", "verdict", "sentence", "approve", "adapter_uri", "report_uri", "examples_uri", "log"
    )  # fmt: skip
    return {
        "run_key": outputs.get("version"),
        **{key: summary[key] for key in keys},
        "metrics": outputs.get("metrics", {}),
    }


class DataOptions(NamedTuple):
    """Options of `clinadapt run` that describe the data; `columns` are FIELD=COLUMN, separated by commas."""

    columns: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    patient: str | None = None
    date: str | None = None
    instruction: str | None = None
    send_to: Sequence[str] = ()
    show_texts: bool = False
    decimal: str | None = None

    def named_columns(self) -> dict[str, str]:
        """Field -> column. Raises UserError if --columns is not written as it has to be."""
        named: dict[str, str] = {}
        for part in (self.columns or "").split(",") if self.columns else []:
            field, equals, column = (piece.strip() for piece in part.partition("="))
            if not (field and equals):
                raise UserError("--columns: write FIELD=COLUMN, as in --columns text=note,description=summary")
            named[field] = column
        shorthand = {"text": self.text_column, "label": self.label_column, "patient": self.patient, "date": self.date}
        return named | {field: column for field, column in shorthand.items() if column is not None}


def data_parameters(settings: AnyProfile, sources: list[str], options: DataOptions) -> dict[str, Any]:
    """The parameters of the run form that describe the data.

    Args:
        settings: the profile, whose columns of a classify run hold where no option names another.
        sources: as on the command line.
        options: which describe them.

    Raises:
        UserError: an option that does not belong to these sources.
    """
    columns, source_only = options.named_columns(), options.send_to or options.show_texts or options.decimal
    if isinstance(settings, ClassifyProfile):
        if source_only:
            raise UserError("--send-to, --show-texts and --decimal belong to the sources of an instruct run")
        feedback = [source.removeprefix(_FEEDBACK) for source in sources if source.startswith(_FEEDBACK)]
        notes = [source for source in sources if not source.startswith(_FEEDBACK)]
        if len(notes) > 1 or len(feedback) > 1:
            raise UserError("classify takes one source, and one of feedback: put the notes into one file or folder")
        return {
            "source": as_uri(notes[0]) if notes else None,
            "columns": {**settings.notes.columns, **columns} if columns else None,
            **({"feedback": _feedback_uri(feedback[0])} if feedback else {}),
        }
    entries = [_source(source, columns, options) for source in sources]
    if options.instruction and all(entry["kind"] != "pairs" for entry in entries):
        raise UserError("--instruction belongs to a source pairs=...: name one, or leave the option out")
    corrects_only = all(entry["kind"] == "feedback" for entry in entries)
    if (source_only or columns) and corrects_only:
        raise UserError(
            "options that name columns, --send-to, --show-texts and --decimal belong to the sources of an instruct "
            "run: name a source too"
        )
    if entries and corrects_only:  # beside the profile's own sources
        own = [source for source in settings.sources if source.kind != "feedback"]
        entries = [*(source.model_dump(exclude_defaults=True) for source in own), *entries]
    fields = dict.fromkeys(field for entry in entries for field in source_fields(entry["kind"]))
    if unknown := columns.keys() - fields.keys():
        raise UserError(f"no source has a field '{min(unknown)}': they have {', '.join(fields)}")
    return {"sources": entries or None}


def _source(source: str, columns: dict[str, str], options: DataOptions) -> dict[str, Any]:
    """A source of instruct as the run form has it, with those of the columns that its kind has."""
    prefix, _, location = source.partition("=")
    kind = next((kind for kind in COLUMNS if kind == prefix), None)
    if kind and not location:
        raise UserError(f"{source} names no file: write it behind the sign, as in {kind}=notes.csv")
    if kind == "feedback":
        return {"kind": kind, "uri": _feedback_uri(location)}
    if not kind and location and re.fullmatch("[a-z_-]+", prefix) and not Path(source).exists():
        raise UserError(
            f"{prefix}= is no kind of source: use {'=, '.join(COLUMNS)}=, or nothing before a file of notes"
        )
    entry: dict[str, Any] = {"kind": kind or "notes", "uri": as_uri(location if kind else source)}
    if named := {field: column for field, column in columns.items() if field in source_fields(entry["kind"])}:
        entry["columns"] = named
    if options.send_to:
        entry["send_to"] = list(options.send_to)
    if options.show_texts:
        entry["private"] = False
    if options.decimal:
        entry["decimal"] = options.decimal
    if kind == "pairs":
        if not options.instruction:
            raise UserError(
                "pairs= needs the instruction that its answers follow: add --instruction, as in --instruction 'Write "
                "the section {section_header} of the note.', where {...} inserts a column"
            )
        entry["instruction"] = options.instruction
    return entry


def _feedback_uri(location: str) -> str:
    """The URI of a source of feedback. Raises UserError where it is none."""
    uri = as_uri(location)
    try:
        feedback_place(uri)
    except ValueError as error:
        raise UserError(str(error)) from error
    return uri


def print_outcome(status: int, summary: dict[str, Any], settings: AnyProfile, name: str, store: str) -> None:
    """Print the result of a run and the next command to standard error."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print()
    if status in (EXIT_DONE, EXIT_REFUSED):
        loosened = summary["steps"].get("gate", {}).get("outputs", {}).get("loosened")
        good = status == EXIT_DONE and not loosened
        console.print(summary["sentence"], style="bold green" if good else "bold yellow", markup=False)
        console.print(f"report   {summary['report_uri']}", markup=False)
        if summary["examples_uri"]:
            console.print(f"examples {summary['examples_uri']}", markup=False)
    if status == EXIT_DONE:
        console.print(f"adapter  {summary['adapter_uri']}", markup=False)
        if summary["approve"]:
            name = "/".join(summary["adapter_uri"].split("/")[-2:])
            console.print(
                f"awaiting approval, until then no champion: {summary['approve']}", style="bold", markup=False
            )
        options = f"--adapter {name} --store {store}"
        console.print(f"next     clinadapt review {options}", markup=False)
        ask = ' --ask "Which drugs does the patient take?"' if settings.recipe == "instruct" else ""
        console.print(f"or       clinadapt predict {options} --note FILE{ask}", markup=False)
    elif status == EXIT_INTERRUPTED:
        console.print("interrupted: run the same command again to resume", style="bold yellow")
    elif status == EXIT_BAD_INPUT:
        console.print(f"error: {summary['error']}", style="bold red", markup=False)
    elif status != EXIT_REFUSED:
        console.print(
            f"a step failed because of a bug in clinadapt: see {summary['log']}", style="bold red", markup=False
        )

"""What `clinadapt run` makes of its data arguments, and what it prints at the end."""

from __future__ import annotations

from typing import Any

from clinadapt.config.profile import AnyProfile
from clinadapt.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_INTERRUPTED, EXIT_REFUSED, UserError
from pipelines.cli.options import as_uri


def result(summary: dict[str, Any]) -> dict[str, Any]:
    """What `run --json` prints."""
    record = summary["steps"].get("gate") or summary["steps"].get("lookup") or {}
    outputs = record.get("outputs", {})
    keys = ("run", "state", "error", "verdict", "sentence", "adapter_uri", "report_uri", "examples_uri", "log")
    return {
        "run_key": outputs.get("version"),
        **{key: summary[key] for key in keys},
        "metrics": outputs.get("metrics", {}),
    }


def data_parameters(
    recipe: str,
    sources: list[str],
    text_column: str | None,
    instruction: str | None,
    send_to: list[str],
    show_texts: bool,
) -> dict[str, Any]:
    """The parameters of the run form that describe the data."""
    if (send_to or show_texts) and (recipe == "classify" or not sources):
        raise UserError("--send-to and --show-texts belong to the sources of an instruct run: name a source too")
    if recipe == "classify":
        if len(sources) > 1:
            raise UserError("classify takes one source: put the notes into one file or folder")
        return {"source": as_uri(sources[0]) if sources else None, "text_column": text_column}
    from clinadapt.config.instruct import COLUMNS

    entries = []
    for source in sources:
        prefix, _, location = source.partition("=")
        kind = next((kind for kind in COLUMNS if kind == prefix), None)
        entry: dict[str, Any] = {"kind": kind or "notes", "uri": as_uri(location if kind else source)}
        if text_column and entry["kind"] in ("cases", "notes"):
            entry["columns"] = {"text": text_column}
        if send_to:
            entry["send_to"] = send_to
        if show_texts:
            entry["private"] = False
        if kind == "pairs":
            entry["instruction"] = instruction or ""
        entries.append(entry)
    return {"sources": entries or None}


def print_outcome(status: int, summary: dict[str, Any], settings: AnyProfile, name: str, store: str) -> None:
    """Print the result of a run and the next command to standard error."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print()
    if status in (EXIT_DONE, EXIT_REFUSED):
        console.print(summary["sentence"], style="bold green" if status == EXIT_DONE else "bold yellow", markup=False)
        console.print(f"report   {summary['report_uri']}", markup=False)
        if summary["examples_uri"]:
            console.print(f"examples {summary['examples_uri']}", markup=False)
    if status == EXIT_DONE:
        console.print(f"adapter  {summary['adapter_uri']}", markup=False)
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

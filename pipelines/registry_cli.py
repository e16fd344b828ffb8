"""`clinadapt registry`: which adapters there are, which one answers, and how that came about."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from components.common.errors import EXIT_BAD_INPUT, UserError
from pipelines.options import DEFAULT_STORE, Json, StoreUri, as_uri, emit

if TYPE_CHECKING:
    from rich.table import Table

    from components.common.store import Store

app = typer.Typer(
    help="Adapters in the store: list, compare, promote, roll back, verify, clean up.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(help="An adapter's name.")]
Version = Annotated[str, typer.Argument(help="A name (its champion) or name/version.")]


@app.command("list")
def list_adapters(
    name: Annotated[str | None, typer.Argument(help="Only this adapter.")] = None,
    store: StoreUri = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """All versions, the champion marked, with the accuracy on their held-out notes."""
    from components.common import registry

    place = _open(store)
    rows = []
    for each in [name] if name else registry.names(place):
        champion = (registry.champion(place, each) or ("", ""))[0]
        manifests = []
        for version in registry.versions(place, each):
            try:
                manifests.append(registry.read_manifest(place, each, version))
            except UserError as error:
                print(error, file=sys.stderr)
        for manifest in sorted(manifests, key=lambda m: m["created"], reverse=True):
            facts = {key: manifest[key] for key in ("name", "version", "created", "by", "base_model", "code_version")}
            accuracy = manifest["metrics"]["accuracy"]
            rows.append({**facts, "champion": manifest["version"] == champion, "accuracy": accuracy})
    if name and not rows:
        raise UserError(f"no adapter '{name}' in {place.uri}: clinadapt registry list shows all names")
    table = _table("adapter", "version", "", "accuracy (95 %)", "published", "by", "base model")
    for row in rows:
        mark = "champion" if row["champion"] else ""
        cells = (row["name"], row["version"], mark, _interval(row["accuracy"]), row["created"], row["by"])
        table.add_row(*cells, row["base_model"], style="bold green" if mark else None)
    _show(table, f"no adapters in {place.uri} yet: clinadapt run classify publishes one" if not rows else "")
    if as_json:
        emit({"store": place.uri, "versions": rows})


@app.command()
def show(adapter: Version, store: StoreUri = DEFAULT_STORE, as_json: Json = False) -> None:
    """Where a version comes from, what it was measured at, and the history of its name."""
    from components.common import registry

    place = _open(store)
    name, version = _version(place, adapter)
    manifest = registry.read_manifest(place, name, version)
    past = registry.history(place, name)
    facts = _table("", f"{name}/{version}")
    for key, value in manifest.items():
        if isinstance(value, str):
            facts.add_row(key, value)
    for metric, value in manifest["metrics"].items():
        facts.add_row(metric, _interval(value))
    _show(facts)
    table = _table("champion since", "version", "before", "by", "")
    for entry in reversed(past):
        cells = (entry["when"], entry["version"], entry["previous"] or "none", entry["by"])
        table.add_row(*cells, "rollback" if entry["rollback"] else "")
    _show(table)
    if as_json:
        emit({"manifest": manifest, "history": past})


@app.command()
def diff(
    one: Version,
    other: Version,
    store: StoreUri = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """What differs between two versions: data, base model, settings, code, metrics, files."""
    from components.common import registry

    place = _open(store)
    pair = [dict(_flat(registry.read_manifest(place, *_version(place, adapter)))) for adapter in (one, other)]
    keys = sorted(pair[0].keys() | pair[1].keys())
    changes = {key: [side.get(key) for side in pair] for key in keys if pair[0].get(key) != pair[1].get(key)}
    table = _table("", one, other)
    for key, values in changes.items():
        table.add_row(key, *("–" if value is None else str(value) for value in values))
    _show(table, "" if changes else "no difference")
    if as_json:
        emit({"differences": changes})


@app.command()
def promote(adapter: Annotated[str, typer.Argument(help="name/version.")], store: StoreUri = DEFAULT_STORE) -> None:
    """Let a version answer from now on, by hand and past the gate. The history keeps who did it."""
    from components.common import registry

    name, _, version = adapter.partition("/")
    if not version:
        raise UserError(f"'{adapter}' names no version: write name/version, clinadapt registry list shows them")
    _say(f"{name}/{registry.move(_open(store), name, version)} is the champion")


@app.command()
def rollback(name: Name, store: StoreUri = DEFAULT_STORE) -> None:
    """Let the version answer that answered before. Again: the one before that."""
    from components.common import registry

    _say(f"{name}/{registry.move(_open(store), name, None)} is the champion again")


@app.command()
def verify(
    adapter: Annotated[str | None, typer.Argument(help="A name, or name/version; all versions without.")] = None,
    store: StoreUri = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Hash every file again and check that each version follows from its data, base model, settings and code.

    With CLINADAPT_VERIFY_KEY set, check signatures too. Exit status: 0 all is as it was published, 2 something is not.
    """
    from components.common import registry

    place = _open(store)
    wrong: dict[str, list[str]] = {}
    for name, version in _chosen(place, adapter):
        wrong[f"{name}/{version}"] = registry.verify(place, name, version)
        for line in wrong[f"{name}/{version}"]:
            _say(line, "bold red")
    bad = sum(map(bool, wrong.values()))
    _say(f"{len(wrong) - bad} of {len(wrong)} versions are what was published", "bold red" if bad else "bold green")
    if as_json:
        emit({"store": place.uri, "versions": wrong})
    if bad:
        raise typer.Exit(EXIT_BAD_INPUT)


@app.command()
def gc(
    store: StoreUri = DEFAULT_STORE,
    keep_days: Annotated[float, typer.Option(help="Keep versions that answered within so many days.", min=0)] = 90,
    unfinished_hours: Annotated[float, typer.Option(help="How long an upload may take.", min=0)] = 24,
    delete: Annotated[bool, typer.Option("--delete", help="Delete; without it, only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove old versions and broken-off uploads. Champions and what they can be rolled back to always stay."""
    from datetime import UTC, datetime

    from components.common import registry

    place, keep, running = _open(store), timedelta(days=keep_days), timedelta(hours=unfinished_hours)
    found = registry.garbage(place, keep, running)
    parts = place.unfinished(datetime.now(UTC) - running, drop=delete)
    table = _table("", "why", "files", "MB")
    for item in found:
        table.add_row(item.what, item.why, str(len(item.keys)), f"{item.size / 1e6:.1f}")
    for key in parts:
        table.add_row(key, "parts of an upload that was never finished", "", "")
    _show(table, "" if found or parts else "nothing to remove")
    if delete:
        registry.collect(place, found, keep, _say)
    elif found or parts:
        _say("nothing was removed: add --delete", "bold yellow")
    if as_json:
        emit(
            {
                "deleted": delete,
                "garbage": [{"what": i.what, "why": i.why, "bytes": i.size} for i in found],
                "parts": parts,
            }
        )


def _open(store: str) -> Store:
    from components.common.store import open_store

    return open_store(as_uri(store))


def _version(store: Store, adapter: str) -> tuple[str, str]:
    from components.common.adapter import locate

    _, prefix = locate(adapter, store.uri)
    _, name, version = prefix.split("/", 2)
    return name, version


def _chosen(store: Store, adapter: str | None) -> Iterator[tuple[str, str]]:
    """(name, version) of one version, of a name's versions, or of all."""
    from components.common import registry

    if adapter and "/" in adapter:
        yield _version(store, adapter)
        return
    known = registry.names(store)
    if adapter and adapter not in known:
        raise UserError(f"no adapter '{adapter}' in {store.uri}; there are: {', '.join(known) or 'none yet'}")
    for name in [adapter] if adapter else known:
        yield from ((name, version) for version in registry.versions(store, name))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of everything in nested dictionaries."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _interval(metric: dict[str, float]) -> str:
    return f"{metric['value']:.3f} ({metric['low']:.3f} to {metric['high']:.3f})"


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _show(table: Table, instead: str = "") -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if table.row_count:
        console.print(table)
    if instead:
        console.print(instead, markup=False, soft_wrap=True)


def _say(line: str, style: str = "") -> None:
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True).print(line, style=style or None, markup=False)

"""`clinadapt registry`: which adapters there are, which one answers, and how that came about."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clinadapt.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, UserError
from pipelines.cli.options import DEFAULT_STORE, HOME, Json, StoreUri, as_uri, emit

if TYPE_CHECKING:
    from rich.table import Table

    from clinadapt.storage.object_store import Store

app = typer.Typer(
    help="Adapters in the store: list, compare, promote, roll back, verify, fetch, export, clean up.",
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
    """All versions, the champion marked, with the accuracy or token F1 on their held-out notes."""
    from clinadapt.registry import champion as champion_
    from clinadapt.registry import versions as versions_

    place = _open(store)
    rows = []
    for each in [name] if name else versions_.adapter_names(place):
        champion = (champion_.champion(place, each) or ("", ""))[0]
        manifests = []
        for version in versions_.version_ids(place, each):
            try:
                manifests.append(versions_.read_version(place, each, version))
            except UserError as error:
                print(error, file=sys.stderr)
        for manifest in sorted(manifests, key=lambda m: m["created"], reverse=True):
            facts = {
                key: manifest[key]
                for key in ("name", "version", "created", "published_by", "base_model", "code_version")
            }
            metric = versions_.headline(manifest["metrics"])
            value = manifest["metrics"][metric]
            rows.append({**facts, "champion": manifest["version"] == champion, "metric": metric, metric: value})
    if name and not rows:
        raise UserError(f"no adapter '{name}' in {place.uri}: clinadapt registry list shows all names")
    table = _table("adapter", "version", "", "held-out notes (95 %)", "published", "by", "base model")
    for row in rows:
        mark = "champion" if row["champion"] else ""
        cells = (
            row["name"],
            row["version"],
            mark,
            f"{row['metric']} {_interval(row[row['metric']])}",
            row["created"],
            row["published_by"],
        )
        table.add_row(*cells, row["base_model"], style="bold green" if mark else None)
    _show(table, f"no adapters in {place.uri} yet: clinadapt run classify publishes one" if not rows else "")
    if as_json:
        emit({"store": place.uri, "versions": rows})


@app.command()
def show(adapter: Version, store: StoreUri = DEFAULT_STORE, as_json: Json = False) -> None:
    """Where a version comes from, what it was measured at, and the history of its name."""
    from clinadapt.registry import champion as champion_
    from clinadapt.registry import versions as versions_

    place = _open(store)
    name, version = _version(place, adapter)
    manifest = versions_.read_version(place, name, version)
    past = champion_.history(place, name)
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
    from clinadapt.registry import versions as versions_

    place = _open(store)
    manifests = [versions_.read_version(place, *_version(place, adapter)) for adapter in (one, other)]
    pair = [dict(_flat({k: v for k, v in each.items() if k != "attestation"})) for each in manifests]
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
    from clinadapt.registry import champion as champion_

    name, _, version = adapter.partition("/")
    if not version:
        raise UserError(f"'{adapter}' names no version: write name/version, clinadapt registry list shows them")
    place = _open(store)
    champion_.promote_manually(place, name, version)
    _say(f"{name}/{version} is the champion")
    _tell(place, name, version)


@app.command()
def rollback(name: Name, store: StoreUri = DEFAULT_STORE) -> None:
    """Let the version answer that answered before. Again: the one before that."""
    from clinadapt.registry import champion as champion_

    place = _open(store)
    version = champion_.roll_back(place, name)
    _say(f"{name}/{version} is the champion again")
    _tell(place, name, version)


@app.command()
def register(
    adapter: Annotated[str | None, typer.Argument(help="A name, or name/version; all versions without.")] = None,
    store: StoreUri = DEFAULT_STORE,
) -> None:
    """Tell the Kubeflow Model Registry at CLINADAPT_MODEL_REGISTRY_URL of versions that it does not know yet.

    Publishing, promote and rollback tell it themselves; this is for versions from before, or from when it was down.
    """
    from clinadapt.registry import kubeflow_model_registry as model_registry

    place, told = _open(store), 0
    for name, version in _chosen(place, adapter):
        model_registry.register(place, name, version)
        told += 1
    _say(f"{told} versions are registered", "bold green")


@app.command()
def verify(
    adapter: Annotated[str | None, typer.Argument(help="A name, or name/version; all versions without.")] = None,
    store: StoreUri = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Hash every file again and check that each version follows from its data, base model, settings and code.

    With CLINADAPT_VERIFY_KEY set, check signatures too. Exit status: 0 all is as it was published, 2 something is not.
    """
    from clinadapt.registry import versions as versions_

    place = _open(store)
    wrong: dict[str, list[str]] = {}
    for name, version in _chosen(place, adapter):
        wrong[f"{name}/{version}"] = versions_.verify(place, name, version)
        for line in wrong[f"{name}/{version}"]:
            _say(line, "bold red")
    bad = sum(map(bool, wrong.values()))
    _say(f"{len(wrong) - bad} of {len(wrong)} versions are what was published", "bold red" if bad else "bold green")
    if as_json:
        emit({"store": place.uri, "versions": wrong})
    if bad:
        raise typer.Exit(EXIT_BAD_INPUT)


@app.command()
def fetch(
    adapter: Version,
    to: Annotated[Path, typer.Option(help="Where to: a folder; the base model goes where CLINADAPT_CACHE says.")],
    store: StoreUri = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Fetch an instruct adapter and its base model, verified, for vLLM to serve: vllm serve --config FOLDER/vllm.yaml

    With CLINADAPT_VERIFY_KEY set, an adapter without its signature is refused. Nothing is served that is not what was
    published: where this fails, there is no vllm.yaml.
    """
    from clinadapt.registry.vllm import fetch_served

    result = fetch_served(adapter, as_uri(store), to)
    _say(f"fetched {result['uri']}\nserve it with: vllm serve --config {result['config']}", "bold green")
    if as_json:
        emit(result)


@app.command()
def provenance(adapter: Version, store: StoreUri = DEFAULT_STORE) -> None:
    """Print an in-toto statement with SLSA provenance of a version: its files, and all it was made of, by digest.

    Of a version that was published with CLINADAPT_SIGNING_KEY, the statement comes in its signed DSSE envelope.
    """
    from clinadapt.artifacts.hashing import to_json
    from clinadapt.artifacts.slsa import ATTESTATION, provenance, statement
    from clinadapt.registry import versions as versions_

    place = _open(store)
    manifest = versions_.read_version(place, *_version(place, adapter))
    print(to_json(manifest.get(ATTESTATION) or statement(manifest, provenance(manifest))), end="")


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

    from clinadapt.registry import garbage_collection

    place, keep, running = _open(store), timedelta(days=keep_days), timedelta(hours=unfinished_hours)
    found = garbage_collection.garbage(place, keep, running)
    parts = place.unfinished(datetime.now(UTC) - running, drop=delete)
    table = _table("", "why", "files", "MB")
    for item in found:
        table.add_row(item.prefix, item.reason, str(len(item.keys)), f"{item.size / 1e6:.1f}")
    for key in parts:
        table.add_row(key, "parts of an upload that was never finished", "", "")
    _show(table, "" if found or parts else "nothing to remove")
    if delete:
        garbage_collection.collect(place, found, keep, _say)
    elif found or parts:
        _say("nothing was removed: add --delete", "bold yellow")
    if as_json:
        emit(
            {
                "deleted": delete,
                "garbage": [{"prefix": i.prefix, "reason": i.reason, "bytes": i.size} for i in found],
                "parts": parts,
            }
        )


@app.command()
def export(
    adapter: Version,
    to: Annotated[str, typer.Option(help="Where to: an empty folder, file:// or s3://bucket/prefix.")],
    splits: Annotated[
        str | None,
        typer.Option(
            help="The splits that the version was evaluated with: the folder or URI of the artifact `splits` that its "
            "run's step format wrote.",
            show_default="found in --home by their digest",
        ),
    ] = None,
    home: Annotated[Path, typer.Option(help="Outputs of local runs.")] = HOME,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="How far the log-likelihood may move, in nats.",
            show_default="0.02, or 0.1 where the adapter was trained on a 4-bit base",
        ),
    ] = None,
    store: StoreUri = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Merge a version into its 16-bit base: weights that transformers and vLLM load without peft.

    The version is verified as `predict` does. The adapter is merged into the base model's published weights, never into
    their 4-bit form, and kept in the base's own 16 bits (fp16 where it has 32). Written are safetensors in files of
    5 GB, config, tokenizer with chat template, generation config, model card, and last the manifest, signed where
    CLINADAPT_SIGNING_KEY is set.

    Before that, base + adapter as it was published and the merged weights answer up to 200 held-out examples. Measured
    is the mean absolute difference of the log-likelihood, of the right answer a token (instruct) or of a note's labels
    (classify). Rounding to 16 bits alone moved it by 0.0001 to 0.003; against a 4-bit base the merged weights moved by
    0.03, for they leave its rounding away. Beyond the tolerance nothing is written, exit status 2. How many of
    32 greedy answers, or of all predictions, are the same is told beside it.

    It needs 2 bytes a weight on disk, in TMPDIR and again at the target, and one model in memory at a time: 2.4 bytes a
    weight to merge, 4 for a classifier or where the base has 32 bits; to compare, as `predict`, 2 on a GPU and 4 on a
    CPU.

        clinadapt registry export demo-instruct --to merged/

        clinadapt registry export specialty/1a2b --to s3://bucket/merged --splits s3://bucket/.../splits
    """
    from clinadapt.registry.export import run

    try:
        result = run(adapter, as_uri(store), as_uri(to), splits and as_uri(splits), home, tolerance)
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _say(f"exported to {result['uri']}", "bold green")
    if as_json:
        emit(result)


def _tell(store: Store, name: str, version: str) -> None:
    from clinadapt.registry.kubeflow_model_registry import register_if_configured

    register_if_configured(store, name, version, _say)


def _open(store: str) -> Store:
    from clinadapt.storage import open_store

    return open_store(as_uri(store))


def _version(store: Store, adapter: str) -> tuple[str, str]:
    from clinadapt.registry.adapters import locate_adapter

    _, prefix = locate_adapter(adapter, store.uri)
    _, name, version = prefix.split("/", 2)
    return name, version


def _chosen(store: Store, adapter: str | None) -> Iterator[tuple[str, str]]:
    """(name, version) of one version, of a name's versions, or of all."""
    from clinadapt.registry import versions as versions_

    if adapter and "/" in adapter:
        yield _version(store, adapter)
        return
    known = versions_.adapter_names(store)
    if adapter and adapter not in known:
        raise UserError(f"no adapter '{adapter}' in {store.uri}; there are: {', '.join(known) or 'none yet'}")
    for name in [adapter] if adapter else known:
        yield from ((name, version) for version in versions_.version_ids(store, name))


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

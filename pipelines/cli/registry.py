"""`clinadapt registry`: the published adapters, their champions and their history."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clinadapt.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, UserError
from pipelines.cli import approval
from pipelines.cli.documents import documents
from pipelines.cli.options import DEFAULT_STORE, HOME, Json, StoreUri, as_uri, emit
from pipelines.cli.serve import serve

if TYPE_CHECKING:
    from clinadapt.storage.object_store import Store

app = typer.Typer(
    help="Manage published adapters: list, compare, approve, promote, roll back, verify, export, clean up.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(help="Name of the adapter.")]
Version = Annotated[str, typer.Argument(help="Adapter: NAME for its champion, or NAME/VERSION.")]
Versions = Annotated[str | None, typer.Argument(help="NAME, or NAME/VERSION.  [default: all versions]")]


@app.command("list")
def list_adapters(
    name: Annotated[str | None, typer.Argument(help="List this adapter only.")] = None,
    store: StoreUri = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """List the published versions, newest first.

    With accuracy or token F1 on held-out notes; the champion is marked `*`. A line below a version says where it stands
    with the people who have to approve it.
    """
    from clinadapt.registry.versions import adapter_names
    from pipelines.cli.registry_output import version_lines

    opened = _open(store)
    rows = [row for each in ([name] if name else adapter_names(opened)) for row in _listed(opened, each)]
    if name and not rows:
        raise UserError(f"no adapter '{name}' in {opened.uri}: see clinadapt registry list")
    if not (name or adapter_names(opened)):
        _report(f"no adapters in {opened.uri} yet: publish one with clinadapt run instruct")
    for line, is_champion in version_lines(rows, datetime.now(UTC)):
        _print(line, as_json, "bold green" if is_champion else "")
    if as_json:
        emit({"store": opened.uri, "versions": rows})


def _listed(store: Store, name: str) -> list[dict[str, Any]]:
    """The readable versions of an adapter, newest first; an unreadable one is reported."""
    from clinadapt.registry.approval.standing import read_standing
    from clinadapt.registry.champion import champion
    from clinadapt.registry.versions import headline, read_version, version_ids

    current = (champion(store, name) or ("", ""))[0]
    manifests = []
    for version in version_ids(store, name):
        try:
            manifests.append(read_version(store, name, version))
        except UserError as error:
            _report(str(error))
    rows = []
    for manifest in sorted(manifests, key=lambda m: m["created"], reverse=True):
        row = {
            key: manifest[key] for key in ("name", "version", "created", "published_by", "base_model", "code_version")
        }
        metric = headline(manifest["metrics"])
        value = manifest["metrics"][metric]
        standing = read_standing(store, name, manifest["version"])
        row |= {"approval": standing and {"state": standing.state, "sentence": standing.sentence()}}
        rows.append({**row, "champion": manifest["version"] == current, "metric": metric, metric: value})
    return rows


@app.command()
def show(adapter: Version, store: StoreUri = DEFAULT_STORE, as_json: Json = False) -> None:
    """Show a version: what the gate said, its metrics, inputs, who approved or refused it, and champion history.

    Digests are shortened; `--json` prints them in full.
    """
    from clinadapt.registry.approval.standing import read_standing
    from clinadapt.registry.champion import champion, history
    from clinadapt.registry.versions import read_verdict, read_version
    from pipelines.cli.registry_output import approval_lines, manifest_lines

    opened = _open(store)
    name, version = _locate(opened, adapter)
    manifest, champions = read_version(opened, name, version), history(opened, name)
    verdict = read_verdict(opened, manifest)
    approval = (standing := read_standing(opened, name, version)) and standing.to_json()
    lines = manifest_lines(manifest, (champion(opened, name) or ("", ""))[0] == version, champions, verdict)
    for line in chain(lines, approval_lines(approval, standing.sentence()) if standing and approval else ()):
        _print(line, as_json, "" if line.startswith(" ") else "bold")
    if as_json:
        emit({"manifest": manifest, "history": champions, "verdict": verdict, "approval": approval})


@app.command()
def diff(
    one: Version,
    other: Version,
    store: StoreUri = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Show the differences between two versions.

    Compares data, base model, settings, code, metrics and files.
    """
    from clinadapt.registry.versions import read_version
    from pipelines.cli.registry_output import difference_lines, flat

    opened = _open(store)
    manifests = [read_version(opened, *_locate(opened, adapter)) for adapter in (one, other)]
    pair = [dict(flat({k: v for k, v in each.items() if k != "attestation"})) for each in manifests]
    keys = sorted(pair[0].keys() | pair[1].keys())
    differences = {key: [side.get(key) for side in pair] for key in keys if pair[0].get(key) != pair[1].get(key)}
    for line in difference_lines(differences) if differences else ["no differences"]:
        _print(line, as_json)
    if as_json:
        emit({"differences": differences})


@app.command()
def promote(
    adapter: Annotated[str, typer.Argument(help="NAME/VERSION.")],
    store: StoreUri = DEFAULT_STORE,
) -> None:
    """Make a version the champion, bypassing the gate.

    The history records who did it. A version that needs approval becomes the champion by this only where enough people
    have approved it, or where it was the champion before.
    """
    from clinadapt.registry.promotion import promote_manually

    name, _, version = adapter.partition("/")
    if not version:
        raise UserError(f"'{adapter}' has no version: write NAME/VERSION, as in clinadapt registry list")
    opened = _open(store)
    promote_manually(opened, name, version)
    _report(f"{name}/{version} is now the champion")
    _register(opened, name, version)


app.command("approve")(approval.approve)
app.command("refuse")(approval.refuse)
app.command("revoke")(approval.revoke)


@app.command()
def rollback(name: Name, store: StoreUri = DEFAULT_STORE) -> None:
    """Roll back to the previous champion.

    Repeat to go back further.
    """
    from clinadapt.registry.promotion import roll_back

    opened = _open(store)
    version = roll_back(opened, name)
    _report(f"{name}/{version} is the champion again")
    _register(opened, name, version)


@app.command()
def register(adapter: Versions = None, store: StoreUri = DEFAULT_STORE) -> None:
    """Register versions in a Kubeflow Model Registry.

    Its address is CLINADAPT_MODEL_REGISTRY_URL. publish, promote and rollback register by themselves; use this for
    versions published before, or while the model registry was down.
    """
    from clinadapt.registry import kubeflow_model_registry as model_registry

    opened, count = _open(store), 0
    for name, version in _selected(opened, adapter):
        model_registry.register(opened, name, version)
        count += 1
    _report(f"{count} versions are registered", "bold green")


@app.command()
def verify(adapter: Versions = None, store: StoreUri = DEFAULT_STORE, as_json: Json = False) -> None:
    """Verify published versions.

    Hashes every file, and checks that data, base model, settings and code match the version, and the signatures of
    those who approved it. With CLINADAPT_VERIFY_KEY set, its own signature is checked too. Exit status: 0 all versions
    are intact, 2 otherwise.
    """
    from clinadapt.registry import versions
    from clinadapt.registry.approval.verification import problems as approval_problems

    opened = _open(store)
    problems: dict[str, list[str]] = {}
    for name, version in _selected(opened, adapter):
        lines = versions.verify(opened, name, version)
        problems[f"{name}/{version}"] = lines or approval_problems(opened, name, version)
        for line in problems[f"{name}/{version}"]:
            _report(line, "bold red")
    bad = sum(map(bool, problems.values()))
    _report(f"{len(problems) - bad} of {len(problems)} versions are intact", "bold red" if bad else "bold green")
    if as_json:
        emit({"store": opened.uri, "versions": problems})
    if bad:
        raise typer.Exit(EXIT_BAD_INPUT)


@app.command()
def fetch(
    adapter: Version,
    to: Annotated[Path, typer.Option(help="Target folder. The base model is cached in CLINADAPT_CACHE.")],
    store: StoreUri = DEFAULT_STORE,
    hot_swap: Annotated[
        bool, typer.Option("--hot-swap", help="For `registry serve`: start vLLM without an adapter.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Download an instruct adapter and its base model for vLLM.

    Serve them with `vllm serve --config FOLDER/vllm.yaml`. If verification fails, no vllm.yaml is written. With
    CLINADAPT_VERIFY_KEY set, an unsigned adapter is refused.
    """
    from clinadapt.registry.vllm import fetch_served

    result = fetch_served(adapter, as_uri(store), to, hot_swap)
    _report(f"fetched {result['uri']}\nserve it with: vllm serve --config {result['config']}", "bold green")
    if as_json:
        emit(result)


app.command()(serve)


@app.command()
def provenance(adapter: Version, store: StoreUri = DEFAULT_STORE) -> None:
    """Print the SLSA provenance of a version.

    An in-toto statement with the digests of its files and inputs. For a version published with CLINADAPT_SIGNING_KEY,
    prints the signed DSSE envelope. Refused where an approval of the version does not verify.
    """
    from clinadapt.artifacts.hashing import to_json
    from clinadapt.artifacts.slsa import ATTESTATION, provenance, statement
    from clinadapt.registry.approval.verification import problems as approval_problems
    from clinadapt.registry.versions import read_version

    opened = _open(store)
    name, version = _locate(opened, adapter)
    manifest = read_version(opened, name, version)
    for line in approval_problems(opened, name, version):
        raise UserError(f"{line}; see clinadapt registry verify {name}/{version}")
    print(to_json(manifest.get(ATTESTATION) or statement(manifest, provenance(manifest))), end="")


app.command()(documents)


@app.command()
def gc(
    store: StoreUri = DEFAULT_STORE,
    keep_days: Annotated[float, typer.Option(help="Keep versions that were champion in the last N days.", min=0)] = 90,
    unfinished_hours: Annotated[float, typer.Option(help="Longest duration of an upload, in hours.", min=0)] = 24,
    delete: Annotated[bool, typer.Option("--delete", help="Delete. Without it, only list what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Delete old versions, caches and unfinished uploads.

    Champions, the versions they can be rolled back to, and those that wait for approval are never deleted.
    """
    from clinadapt.registry import garbage_collection

    opened, keep, longest = _open(store), timedelta(days=keep_days), timedelta(hours=unfinished_hours)
    garbage = garbage_collection.garbage(opened, keep, longest)
    parts = opened.incomplete_uploads(datetime.now(UTC) - longest, delete=delete)
    for reason in dict.fromkeys(item.reason for item in garbage):
        _print(reason, as_json, "bold")
        for item in (item for item in garbage if item.reason == reason):
            _print(f"  {item.size / 1e6:10,.1f} MB  {item.prefix}", as_json)
    if parts:
        _print("parts of an unfinished upload", as_json, "bold")
    for key in parts:
        _print(f"  {key}", as_json)
    if not (garbage or parts):
        _report("nothing to delete")
    elif delete:
        garbage_collection.collect(opened, garbage, keep, _report)
    else:
        _report("nothing was deleted: add --delete", "bold yellow")
    if as_json:
        listed = [{"prefix": item.prefix, "reason": item.reason, "bytes": item.size} for item in garbage]
        emit({"deleted": delete, "garbage": listed, "parts": parts})


@app.command()
def export(
    adapter: Version,
    to: Annotated[str, typer.Option(help="Target: an empty folder, file:// or s3://bucket/prefix.")],
    splits: Annotated[
        str | None,
        typer.Option(
            help="Splits that the version was evaluated on: folder or URI of the output `splits` of its format step.",
            show_default="found in --home by digest",
        ),
    ] = None,
    home: Annotated[Path, typer.Option(help="Folder with the outputs of local runs.")] = HOME,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Maximum mean absolute difference of the log-likelihood, in nats.",
            show_default="0.02; 0.1 for an adapter trained on a 4-bit base",
        ),
    ] = None,
    store: StoreUri = DEFAULT_STORE,
    as_json: Json = False,
) -> None:
    """Merge a version into its 16-bit base model.

    The result loads in transformers and vLLM without peft. Writes safetensors (files of 5 GB), config, tokenizer with
    chat template, generation config, model card and, last, the manifest (signed if CLINADAPT_SIGNING_KEY is set). The
    version is verified first. The adapter is merged into the published weights of the base model, never into their
    4-bit form.

    The merged model is compared with base + adapter on up to 200 held-out examples: the mean absolute difference of
    the log-likelihood, per token of the right answer (instruct) or per label of a note (classify). Beyond the
    tolerance nothing is written and the exit status is 2. Measured: 0.0001 to 0.003 from rounding to 16 bits, 0.03
    for an adapter of a 4-bit base, whose quantization error the merged weights do not have.

    Needs 2 bytes per weight on disk, in TMPDIR and at the target, and memory for one model: 2.4 bytes per weight to
    merge (4 for a classifier or a 32-bit base), then 2 on a GPU or 4 on a CPU to compare.

        clinadapt registry export demo-instruct --to merged/

        clinadapt registry export specialty/1a2b --to s3://bucket/merged --splits s3://bucket/.../splits
    """
    from clinadapt.registry.export import run

    try:
        result = run(adapter, as_uri(store), as_uri(to), splits and as_uri(splits), home, tolerance)
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _report(f"exported to {result['uri']}", "bold green")
    if as_json:
        emit(result)


def _register(store: Store, name: str, version: str) -> None:
    from clinadapt.registry.kubeflow_model_registry import register_if_configured

    register_if_configured(store, name, version, _report)


def _open(store: str) -> Store:
    from clinadapt.storage import open_store

    return open_store(as_uri(store))


def _locate(store: Store, adapter: str) -> tuple[str, str]:
    """(name, version) of NAME (its champion) or NAME/VERSION."""
    from clinadapt.registry.adapters import locate_adapter

    _, prefix = locate_adapter(adapter, store.uri)
    _, name, version = prefix.split("/", 2)
    return name, version


def _selected(store: Store, adapter: str | None) -> Iterable[tuple[str, str]]:
    """(name, version) of one version, of all versions of an adapter, or of all adapters."""
    from clinadapt.registry.versions import adapter_names, version_ids

    if adapter and "/" in adapter:
        return [_locate(store, adapter)]
    existing = adapter_names(store)
    if adapter and adapter not in existing:
        raise UserError(f"no adapter '{adapter}' in {store.uri}; there are: {', '.join(existing) or 'none yet'}")
    return ((name, version) for name in ([adapter] if adapter else existing) for version in version_ids(store, name))


def _print(line: str, as_json: bool, style: str = "") -> None:
    """Print a line of the result: to standard output, or to standard error where that is for JSON."""
    from rich.console import Console

    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False, soft_wrap=True)
    console.print(line, style=style or None, markup=False)


def _report(message: str, style: str = "") -> None:
    """Print a message to standard error."""
    _print(message, as_json=True, style=style)

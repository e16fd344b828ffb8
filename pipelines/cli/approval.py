"""`clinadapt registry approve`, `refuse` and `revoke`: what people decide about versions that wait for approval."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clinadapt.errors import UserError
from pipelines.cli.options import DEFAULT_STORE, Json, StoreUri, as_uri, emit

if TYPE_CHECKING:
    from clinadapt.registry.approval.standing import Standing

Waiting = Annotated[str, typer.Argument(metavar="NAME/VERSION", help="Version that waits for approval.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the store, without what identifies patients.")]


def approve(adapter: Waiting, reason: Reason, store: StoreUri = DEFAULT_STORE, as_json: Json = False) -> None:
    """Approve a version that passed the gate; with the last approval it becomes the champion.

    Signed with your own ed25519 key, CLINADAPT_APPROVER_KEY (a PEM file or its text). Whoever started the run cannot
    approve, and one person counts once. `registry show` lists who decided what.

        clinadapt registry approve demo-instruct/1a2b... --reason "Report read, subgroups look right"
    """
    _decide(adapter, "approval", reason, store, as_json)


def refuse(adapter: Waiting, reason: Reason, store: StoreUri = DEFAULT_STORE, as_json: Json = False) -> None:
    """Refuse a version that waits for approval. One refusal is final.

    Signed with your own ed25519 key, CLINADAPT_APPROVER_KEY.
    """
    _decide(adapter, "refusal", reason, store, as_json)


def revoke(
    who: Annotated[
        str,
        typer.Argument(metavar="PERSON", help="Name of a user, fingerprint (sha256:...) or PEM file of a public key."),
    ],
    reason: Reason,
    store: StoreUri = DEFAULT_STORE,
) -> None:
    """Let approvals of a person not count any more, where a key is lost or somebody leaves.

    Of versions that are, or were, champions they stay valid. This cannot be undone: give the person a new key.
    """
    from clinadapt.registry.approval.decisions import revoke as revoke_person
    from clinadapt.storage import open_store

    with suppress(OSError, ValueError):
        if (text := Path(who).read_text(encoding="utf-8")).startswith("-----BEGIN"):
            who = text
    person = revoke_person(open_store(as_uri(store)), who, reason)
    _report(f"{person.name or person.key} is revoked: approvals of versions that are no champions yet do not count")


def _decide(adapter: str, kind: Literal["approval", "refusal"], reason: str, store: str, as_json: bool) -> None:
    from clinadapt.registry.approval.decisions import decide
    from clinadapt.registry.kubeflow_model_registry import register_if_configured
    from clinadapt.storage import open_store

    name, _, version = adapter.partition("/")
    if not version:
        raise UserError(f"'{adapter}' has no version: write NAME/VERSION, as in clinadapt registry list")
    opened = open_store(as_uri(store))
    standing = decide(opened, name, version, kind, reason)
    _report(f"{adapter}: {standing.sentence()}{next_step(adapter, standing)}")
    register_if_configured(opened, name, version, _report)
    if as_json:
        emit(standing.to_json())


def next_step(adapter: str, standing: Standing) -> str:
    """What has to be done next, as the end of a line; empty where nothing has."""
    if standing.state != "approved":
        return ""
    return (
        ". The champion pointer is signed by the registry's key, which this machine does not have: whoever has it runs "
        f"clinadapt registry promote {adapter}"
    )


def _report(line: str) -> None:
    """Print a line to standard error."""
    typer.echo(line, err=True)

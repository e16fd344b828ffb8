"""Changing the champion by hand. A version that needs approval becomes it only with enough of them."""

from __future__ import annotations

from clinadapt.errors import UserError
from clinadapt.registry.approval.decisions import complete
from clinadapt.registry.approval.records import newest_proposal
from clinadapt.registry.approval.standing import read_standing
from clinadapt.registry.champion import champion, history, previous_champion, promote
from clinadapt.registry.versions import headline, read_version
from clinadapt.storage.object_store import Store


def promote_manually(store: Store, name: str, version: str, rollback: bool = False) -> None:
    """Make a version the champion without a gate.

    Raises:
        UserError: there is no such version, it is the champion already, it has not been approved although that is
            needed, or another run was faster.
    """
    current = champion(store, name)
    if current and current[0] == version:
        raise UserError(f"{name}/{version} is the champion already: nothing to do")
    manifest = read_version(store, name, version)
    if not any(entry["version"] == version for entry in history(store, name)):
        standing = read_standing(store, name, version)
        if standing and standing.state == "approved":
            complete(store, name, version)
            return
        if standing:
            raise UserError(
                f"{name}/{version} is {standing.sentence()}: what needs approval becomes the champion by clinadapt "
                f"registry approve {name}/{version} alone"
            )
        if newest := newest_proposal(store, name):
            raise UserError(
                f"{name} needs approval by {newest.policy.signers}, and {name}/{version} was published without: run "
                "the pipeline with gate.approval"
            )
    metric = headline(manifest["metrics"])
    fields = {metric: manifest["metrics"][metric], "code_version": manifest["code_version"]}
    promote(store, name, version, current[1] if current else "", fields, rollback)


def roll_back(store: Store, name: str) -> str:
    """Return to the previous champion; return its version.

    Raises:
        UserError: there is none, or as `promote_manually`.
    """
    version = previous_champion(store, name)
    if version is None:
        raise UserError(f"'{name}' has no previous champion to roll back to: promote a version by name")
    promote_manually(store, name, version, rollback=True)
    return version

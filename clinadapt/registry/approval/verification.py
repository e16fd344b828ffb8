"""Whether the records of approval of a version verify, and are what made it the champion."""

from __future__ import annotations

from collections.abc import Iterator

from clinadapt.registry.approval.standing import Case, read_case
from clinadapt.registry.champion import history
from clinadapt.storage.object_store import Store


def problems(store: Store, name: str, version: str) -> list[str]:
    """One line for each record that does not verify, and where a version is or was the champion without the approvals
    that its manifest asks for; empty where all is well, or no approval is needed.

    Raises:
        UserError: as `read_case`.
    """
    case = read_case(store, name, version)
    return list(_problems(case, history(store, name))) if case else []


def _problems(case: Case, entries: list[dict[str, object]]) -> Iterator[str]:
    for stored in [*case.records, *case.revocations]:
        if stored.problem:
            yield f"{stored.key}: {stored.problem}: find out who wrote it"
    standing = case.standing()
    if standing.state not in ("champion", "was champion"):
        return
    what = f"{case.name}/{case.version} became the champion"
    if len(standing.approvals) < case.policy.signers:
        yield f"{what} with {len(standing.approvals)} of {case.policy.signers} approvals that count"
    first = next(entry for entry in entries if entry["version"] == case.version)
    listed = first.get("approvals")
    digests = {vote.stored.key: vote.stored.digest for vote in standing.approvals}
    for each in listed if isinstance(listed, list) else []:
        if digests.get(each.get("record")) != each.get("digest"):
            yield f"{each.get('record')} is not the approval that the champion's history names"

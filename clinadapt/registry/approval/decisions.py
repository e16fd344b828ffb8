"""Proposing a version, approving and refusing it, and the champion that comes of it.

Whoever gives the last approval moves the champion pointer, by compare-and-swap. A machine without the registry's
signing key, where pointers have to be signed, leaves that to one that has it: clinadapt registry promote NAME/VERSION.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from clinadapt.artifacts.signing import APPROVER_KEY, can_sign, must_verify, public_part
from clinadapt.config.gate import Approval, Approver, fingerprint, key_fingerprint
from clinadapt.errors import UserError, one_line
from clinadapt.privacy.written_texts import redacted
from clinadapt.registry.approval.records import (
    LONGEST_REASON,
    REVOKED,
    Decision,
    Proposal,
    Revocation,
    newest_proposal,
    store_time,
    version_prefix,
    write,
)
from clinadapt.registry.approval.standing import ALREADY, CLOCK, Case, Standing, read_case
from clinadapt.registry.champion import actor, promote, read_pointer, user
from clinadapt.storage.object_store import Store

Log = Callable[[str], None]


def starter() -> str:
    """Who starts a run on this machine, as the run form takes it: the user and, where there is an approver's key, its
    fingerprint.

    Raises:
        UserError: the key cannot be read.
    """
    key = public_part(APPROVER_KEY)
    return f"{user()} {fingerprint(key)}" if key else user()


def refuse_weaker(store: Store, name: str, policy: Approval | None) -> None:
    """Raises UserError where a run would publish an adapter with fewer signers than it was proposed with last."""
    newest = newest_proposal(store, name)
    if newest and (policy is None or policy.signers < newest.policy.signers):
        raise UserError(
            f"{name} needs approval by {newest.policy.signers}, as {name}/{newest.version} did: set gate.approval in "
            "the profile with at least as many signers, or use another --adapter-name"
        )


def propose(
    store: Store,
    name: str,
    version: str,
    compared_with: str,
    run: str,
    started_by: str,
    fields: dict[str, Any],
    report: str = "",
) -> Standing:
    """Let a published version wait for approval, unless it does already, was refused or was the champion.

    Args:
        store, name, version: of the adapter.
        compared_with: the champion that it was compared with; empty where there was none.
        run: that proposes it.
        started_by: who started the run.
        fields: for the entry in the champion's history.
        report: digest of the report that the run has stored; empty where it has stored none.

    Returns:
        Where it stands now.

    Raises:
        UserError: another version has become the champion meanwhile.
    """
    case = _read(store, name, version, store_time(store))
    standing = case.standing()
    if not case.may_be_proposed(standing):
        return standing
    if case.champion != compared_with:
        raise UserError(f"another run has changed the champion of '{name}' since the gate compared with it: run again")
    proposal = Proposal(
        id=secrets.token_hex(16),
        name=name,
        version=version,
        manifest=case.manifest,
        champion=compared_with,
        policy=case.policy,
        run=run,
        report=report,
        started_by=started_by,
        fields=fields,
    )
    write(store, version_prefix(name, version), proposal)
    return _read(store, name, version).standing()


def decide(
    store: Store,
    name: str,
    version: str,
    kind: Literal["approval", "refusal"],
    reason: str,
    login: str | None = None,
) -> Standing:
    """Approve or refuse a version, and make it the champion with the last approval.

    Args:
        store, name, version: of the adapter.
        kind: what the person decides.
        reason: why; stored without what identifies patients.
        login: name that the review page knows the person by; None for whoever has the key in CLINADAPT_APPROVER_KEY.

    Returns:
        Where the version stands now: `champion`, or `approved` where this machine cannot sign the champion pointer.

    Raises:
        UserError: the person may not decide this, the version does not wait for it, another version has become the
            champion meanwhile, a clock is off, or the store cannot be written to. The decision is stored where the
            message says so.
    """
    reason = _checked_reason(reason)
    public = None if login else public_part(APPROVER_KEY)
    if not login and not public:
        raise UserError(f"nobody signs this: set {APPROVER_KEY} to your ed25519 private key, or use the review page")
    if login and must_verify() and not can_sign():
        raise UserError("this page has no key to sign decisions with: use clinadapt registry approve with your own key")
    try:
        approver = Approver(name=login) if login else Approver(key=fingerprint(public or b""))
    except ValueError as error:
        raise UserError("the name of this user cannot be stored: use clinadapt registry approve with a key") from error
    case = _read(store, name, version, _checked_time(store))
    standing = case.standing()
    _check_state(store, case, standing, kind)
    decision = _decision(case, standing, kind, reason, approver, public)
    _check_person(case, standing, decision)
    key = write(store, version_prefix(name, version), decision)
    standing = _read(store, name, version).standing()
    own = next((vote for vote in standing.votes if vote.stored.key == key), None)
    if own is None or own.problem:
        raise UserError(f"your decision does not count: {own.problem if own else 'it was removed from the store'}")
    if kind == "refusal" and standing.state in ("champion", "was champion"):
        raise UserError(f"{name}/{version} became the champion meanwhile: run clinadapt registry rollback {name}")
    if standing.state != "approved" or (must_verify() and not can_sign()):
        return standing
    try:
        return complete(store, name, version)
    except UserError as error:
        raise UserError(f"your approval is stored, but {name}/{version} is not the champion: {error}") from error


def complete(store: Store, name: str, version: str) -> Standing:
    """Make a version the champion that enough people have approved. Nothing happens where it is, or was, already.

    Raises:
        UserError: it has not been approved, another version has become the champion since it was compared with one, or
            the pointer cannot be written.
    """
    pointer = read_pointer(store, name)  # first: what moves it after this is a conflict below
    case = _read(store, name, version, store_time(store))
    standing = case.standing()
    if standing.state in ("champion", "was champion"):
        return standing
    if standing.state != "approved" or standing.proposal is None:
        raise UserError(f"{name}/{version} is not approved ({standing.sentence()}): see clinadapt registry show")
    _check_champion(case, standing)
    counted = standing.approvals[: standing.policy.signers]
    fields = {
        **standing.proposal.fields,
        "by": ", ".join(vote.label for vote in counted),
        "approvals": [vote.to_json() for vote in counted],
    }
    try:
        promote(store, name, version, pointer[1] if pointer else "", fields)
    except UserError:
        case = _read(store, name, version)
        standing = case.standing()
        if standing.state not in ("champion", "was champion"):
            _check_champion(case, standing)
            raise
    return _read(store, name, version).standing()


def revoke(store: Store, who: str, reason: str) -> Approver:
    """Let nothing count any more that a person decided, or will decide, about versions that are not champions yet.

    Args:
        store: of the adapters.
        who: name, public key or fingerprint.
        reason: why; stored without what identifies patients.

    Raises:
        UserError: it is neither a name nor a key, or the store cannot be written to.
    """
    reason = _checked_reason(reason)
    try:
        key = key_fingerprint(who)
        person = Approver(key=key) if key else Approver(name=who)
    except ValueError as error:
        raise UserError("give the name of a user, an ed25519 public key or its fingerprint, sha256:...") from error
    write(store, REVOKED, Revocation(person=person, by=actor(), reason=reason))
    return person


def _read(store: Store, name: str, version: str, now: datetime | None = None) -> Case:
    case = read_case(store, name, version, now)
    if case is None:
        raise UserError(f"{name}/{version} needs no approval: run clinadapt registry promote {name}/{version}")
    return case


def _decision(
    case: Case,
    standing: Standing,
    kind: Literal["approval", "refusal"],
    reason: str,
    approver: Approver,
    public: bytes | None,
) -> Decision:
    return Decision(
        kind=kind,
        name=case.name,
        version=case.version,
        manifest=case.manifest,
        proposal=standing.proposal.id if standing.proposal else "",
        approver=approver,
        public_key=base64.b64encode(public).decode() if public else "",
        reason=reason,
    )


def _checked_reason(reason: str) -> str:
    """A reason as it is stored. Raises UserError where there is none or it is too long."""
    text = one_line(reason).strip()
    if not text:
        raise UserError("give a reason: it stays with the decision")
    if len(text) > LONGEST_REASON:
        raise UserError(f"the reason has more than {LONGEST_REASON:,} characters: shorten it")
    return redacted([text])[0][: 2 * LONGEST_REASON]


def _checked_time(store: Store) -> datetime:
    """The time by the clock of the store. Raises UserError where this machine's clock is not near it."""
    now = store_time(store)
    if abs(datetime.now(UTC) - now) > CLOCK:
        raise UserError(
            f"the clock of this machine says {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, that of the store "
            f"{now:%Y-%m-%d %H:%M}: set it, then decide again"
        )
    return now


def _check_state(store: Store, case: Case, standing: Standing, kind: str) -> None:
    """Raises UserError where a version does not wait for such a decision."""
    version = f"{case.name}/{case.version}"
    if standing.state in ("champion", "was champion"):
        instead = "nothing to do" if kind == "approval" else f"run clinadapt registry rollback {case.name}"
        raise UserError(f"{version} has become the champion already: {instead}")
    if standing.state == "refused":
        raise UserError(f"{version} was {standing.sentence()}; that is final: train another version")
    if standing.state in ("expired", "not proposed") and (kind == "approval" or standing.state == "not proposed"):
        raise UserError(f"{version} does not wait for approval ({standing.sentence()}): run the pipeline again")
    if standing.state == "approved" and kind == "approval":
        raise UserError(f"{version} is approved: make it the champion with clinadapt registry promote {version}")
    if kind == "approval":
        _check_champion(case, standing)


def _check_champion(case: Case, standing: Standing) -> None:
    """Raises UserError where another version is the champion than the one that a version was compared with."""
    if standing.proposal and case.champion != standing.proposal.champion:
        raise UserError(
            f"{case.champion or 'no version'} is the champion of {case.name} now, and {case.version} was compared with "
            f"{standing.proposal.champion or 'none'}: run the pipeline again, which compares it with the champion and "
            "proposes it anew"
        )


def _check_person(case: Case, standing: Standing, decision: Decision) -> None:
    """Raises UserError where a decision would not count for who makes it."""
    problem = case.problem_of(decision)
    if problem == ALREADY:
        raise UserError(
            f"you have approved {case.name}/{case.version} already, and one person counts once: it is "
            f"{standing.sentence()}"
        )
    if problem:
        people = ", ".join(each.label for each in case.policy.of)
        raise UserError(f"your decision would not count: {problem}; {case.name}/{case.version} waits for {people}")

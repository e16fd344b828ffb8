"""Where a version stands with the people who have to approve it, worked out from the records in the store.

The policy is that of the version's signed manifest. Times are those at which the store wrote a record. What a signer's
own clock says is compared with them only to refuse what is dated before the publication or in the future.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import ValidationError

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.config.gate import Approval, Approver, person
from clinadapt.errors import UserError
from clinadapt.registry.approval.records import (
    REVOKED,
    ROOT,
    Decision,
    Proposal,
    Revocation,
    Stored,
    newest_proposal,
    read_all,
    version_prefix,
)
from clinadapt.registry.champion import read_pointer
from clinadapt.registry.versions import read_manifest
from clinadapt.storage.object_store import Entry, Store

CLOCK = timedelta(minutes=5)  # that a signer's clock may differ from the store's
State = Literal["champion", "was champion", "approved", "awaiting approval", "refused", "expired", "not proposed"]
ALREADY = "this person has approved already"


@dataclass(frozen=True)
class Vote:
    """A decision about a version.

    Attributes:
        stored: its record.
        label: who decided; empty where the record is broken.
        problem: why it does not count; empty where it does.
    """

    stored: Stored
    label: str
    problem: str

    @property
    def decision(self) -> Decision | None:
        record = self.stored.record
        return record if isinstance(record, Decision) else None

    def to_json(self) -> dict[str, Any]:
        """For `registry show --json`, and for the entry in the champion's history."""
        fields: dict[str, Any] = {"record": self.stored.key, "digest": self.stored.digest, "by": self.label}
        if self.decision:
            when = self.stored.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            fields |= {"decision": self.decision.kind, "when": when, "reason": self.decision.reason}
            fields |= {"key": self.decision.approver.key} if self.decision.approver.key else {}
        return fields | ({"not_counted": self.problem} if self.problem else {})


@dataclass(frozen=True)
class Standing:
    """Where a version stands.

    Attributes:
        policy: who has to approve it.
        state: what came of it so far.
        proposal: that decisions refer to; None where publish was interrupted before it.
        deadline: until which people have to approve; what they have approved has to be the champion in as many days
            more.
        votes: all decisions, as they were stored.
    """

    policy: Approval
    state: State
    proposal: Proposal | None = None
    deadline: datetime | None = None
    votes: list[Vote] = field(default_factory=list)

    @property
    def approvals(self) -> list[Vote]:
        """The approvals that count, one a person."""
        return [vote for vote in self.votes if not vote.problem and vote.decision and vote.decision.kind == "approval"]

    @property
    def refusal(self) -> Vote | None:
        """The refusal that ended it."""
        refusals = (vote for vote in self.votes if vote.decision and vote.decision.kind == "refusal")
        return next((vote for vote in refusals if not vote.problem), None)

    def sentence(self) -> str:
        """The state in words, as in `awaiting approval: 1 of 2, until 2026-12-13 09:30 UTC`."""
        until = f"{self.deadline.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if self.deadline else ""
        count = f"{len(self.approvals)} of {self.policy.signers}"
        if self.state == "refused" and self.refusal and self.refusal.decision:
            return f"refused by {self.refusal.label}: {self.refusal.decision.reason}"
        return {
            "awaiting approval": f"awaiting approval: {count}, until {until}",
            "approved": f"approved by {count}, and not yet the champion, until {until}",
            "expired": f"expired on {until}, approved by {count}",
            "not proposed": "not proposed: its run was interrupted, run it again",
        }.get(self.state, self.state)

    def to_json(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "policy": self.policy.model_dump(),
            "proposal": self.proposal and self.proposal.model_dump(mode="json", exclude={"policy"}),
            "deadline": self.deadline and self.deadline.isoformat(),
            "decisions": [vote.to_json() for vote in self.votes],
        }


@dataclass(frozen=True)
class Case:
    """All that decides where a version stands.

    Attributes:
        name, version: of the adapter.
        manifest: digest of its manifest.
        policy: of its manifest.
        newest: policy under which the adapter was proposed last: who is not among its people any more does not count.
        started_by: who started the run that published it, by the manifest; may be empty.
        records: of the version, by the time at which they were stored.
        revocations: of the store.
        champions: versions in the history of the adapter, the champion last.
        now: by the clock of the store, or of this machine where it is only shown.
    """

    name: str
    version: str
    manifest: str
    policy: Approval
    newest: Approval
    started_by: str
    records: Sequence[Stored]
    revocations: Sequence[Stored]
    champions: Sequence[str]
    now: datetime

    def standing(self) -> Standing:
        """Work it out."""
        proposals = [stored for stored in self.records if self._is_proposal(stored)]
        current = proposals[-1] if proposals else None
        deadline = current.time + timedelta(days=self.policy.days) if current else None
        votes: list[Vote] = []
        seen: set[int] = set()
        for stored in self.records:
            if isinstance(stored.record, Proposal):
                continue
            place = self.policy.find(stored.record.approver) if isinstance(stored.record, Decision) else None
            problem = stored.problem or self._problem(stored, place, proposals, deadline)
            if not problem and place is not None and isinstance(stored.record, Decision):
                if stored.record.kind == "approval" and place in seen:
                    problem = ALREADY
                seen |= {place} if stored.record.kind == "approval" else set()
            votes.append(Vote(stored, self._label(stored, place), problem))
        proposal = current.record if current and isinstance(current.record, Proposal) else None
        standing = Standing(self.policy, "awaiting approval", proposal, deadline, votes)
        if deadline and len(standing.approvals) >= self.policy.signers:
            standing = replace(standing, deadline=deadline + timedelta(days=self.policy.days))
        return replace(standing, state=self._state(standing))

    @property
    def champion(self) -> str:
        """The champion of the adapter; empty where there is none."""
        return self.champions[-1] if self.champions else ""

    def problem_of(self, decision: Decision) -> str:
        """Why a decision would not count if it were stored now; empty where it would."""
        stored = Stored("", self.now, "", decision)
        return replace(self, records=[*self.records, stored]).standing().votes[-1].problem

    def may_be_proposed(self, standing: Standing) -> bool:
        """Whether a run of the same training may propose the version (again): nobody has, its time is over, or another
        version is the champion now than the one that it was compared with."""
        if standing.state in ("awaiting approval", "approved") and standing.proposal:
            return self.champion != standing.proposal.champion
        return standing.state in ("expired", "not proposed")

    def _state(self, standing: Standing) -> State:
        if self.version in self.champions:
            return "champion" if self.champions[-1] == self.version else "was champion"
        if standing.refusal:
            return "refused"
        if standing.deadline is None:
            return "not proposed"
        if self.now > standing.deadline:
            return "expired"
        return "approved" if len(standing.approvals) >= self.policy.signers else "awaiting approval"

    def _is_proposal(self, stored: Stored) -> bool:
        record = stored.record
        return isinstance(record, Proposal) and not stored.problem and self._is_of_version(record)

    def _is_of_version(self, record: Proposal | Decision) -> bool:
        return (record.name, record.version, record.manifest) == (self.name, self.version, self.manifest)

    def _label(self, stored: Stored, place: int | None) -> str:
        if place is not None:
            return self.policy.of[place].label
        return stored.record.approver.label if isinstance(stored.record, Decision) else ""

    def _problem(
        self, stored: Stored, place: int | None, proposals: Sequence[Stored], deadline: datetime | None
    ) -> str:
        """Why a decision does not count, but for others of the same person; empty where it does."""
        decision = stored.record
        if not isinstance(decision, Decision) or not self._is_of_version(decision):
            return "it is not about this version"
        if place is None:
            return "this person is not among those who may approve"
        if decision.when > stored.time + CLOCK:
            return "it is dated later than it was stored: the signer's clock is ahead"
        if not proposals or decision.when < min(p.time for p in proposals) - CLOCK:
            return "it is dated before the version was published"
        if decision.kind == "refusal":
            return "the key or name was revoked before" if self._revoked(place, decision, stored.time) else ""
        return self._problem_of_approval(stored, decision, place, proposals[-1], deadline)

    def _problem_of_approval(
        self, stored: Stored, decision: Decision, place: int, current: Stored, deadline: datetime | None
    ) -> str:
        if not isinstance(current.record, Proposal) or decision.proposal != current.record.id:
            return "it is about an earlier proposal of the version"
        if self.started(self.policy.of[place]):
            return "this person started the run"
        if self.version in self.champions:
            return ""
        if deadline is None or stored.time > deadline:
            return "it came too late"
        if self._revoked(place, decision, None):
            return "the key or name was revoked"
        if self.newest.find(decision.approver) is None:
            return "this person, or the key, was removed from those who may approve"
        return ""

    def started(self, one: Approver) -> bool:
        """Whether a person started a run that published or proposed the version."""
        records = (stored.record for stored in self.records if not stored.problem)
        for text in {self.started_by, *(each.started_by for each in records if isinstance(each, Proposal))}:
            with suppress(ValueError):
                if one.may_be_same(person(text)):
                    return True
        return False

    def _revoked(self, place: int, decision: Decision, before: datetime | None) -> bool:
        """Whether what a decision is signed with, or the person's entry, is revoked; `before` a time where there is
        one."""
        people = [self.policy.of[place], decision.approver]
        return any(
            each.record.person.may_be_same(one)
            for each in self.revocations
            if isinstance(each.record, Revocation) and (before is None or each.time < before)
            for one in people
        )


def policy_of(manifest: dict[str, Any]) -> Approval | None:
    """Who has to approve a version, by its manifest; None where it needs no approval. Raises UserError where the
    manifest says neither."""
    values = (manifest.get("gate") or {}).get("approval")
    try:
        return None if values is None else Approval.model_validate(values)
    except ValidationError as error:
        version = f"{manifest.get('name')}/{manifest.get('version')}"
        raise UserError(f"the manifest of {version} has a broken gate.approval: publish it again") from error


def read_case(store: Store, name: str, version: str, now: datetime | None = None) -> Case | None:
    """All that decides where a version stands; None where it needs no approval.

    Args:
        store, name, version: of the adapter.
        now: by the clock of the store; that of this machine when None.

    Raises:
        UserError: there is no such version, or its manifest or the champion pointer does not verify.
    """
    manifest = read_manifest(store, name, version)
    if (policy := policy_of(manifest)) is None:
        return None
    records = read_all(store, version_prefix(name, version))
    newest = newest_proposal(store, name)
    pointer = read_pointer(store, name)  # last: who moved it has read the records before
    return Case(
        name,
        version,
        sha256_json(manifest),
        policy,
        newest.policy if newest else policy,
        str(manifest.get("started_by", "")),
        records,
        read_all(store, REVOKED),
        [entry["version"] for entry in pointer[0]["history"]] if pointer else [],
        now or datetime.now(UTC),
    )


def read_standing(store: Store, name: str, version: str, now: datetime | None = None) -> Standing | None:
    """Where a version stands; None where it needs no approval. Arguments and errors as of `read_case`."""
    case = read_case(store, name, version, now)
    return case.standing() if case else None


def waits(store: Store, name: str, version: str) -> bool:
    """Whether people may still make a version the champion. Raises UserError as `read_case`."""
    standing = read_standing(store, name, version)
    return standing is not None and standing.state in ("awaiting approval", "approved")


def unapproved(store: Store, name: str, version: str) -> str:
    """Where a version stands that needs approval and has never been the champion, as one line; empty for others.
    Raises UserError as `read_case`."""
    standing = read_standing(store, name, version)
    if standing is None or standing.state in ("champion", "was champion"):
        return ""
    return f"{name}/{version} is not the champion, it is {standing.sentence()}"


def proposed(store: Store, prefix: str = ROOT) -> dict[tuple[str, str], list[Entry]]:
    """(name, version) -> records of it, of all versions that were proposed below a prefix."""
    versions: dict[tuple[str, str], list[Entry]] = {}
    for entry in store.entries(prefix):
        parts = entry.key.split("/")
        if len(parts) == 4 and not entry.key.startswith(REVOKED):
            versions.setdefault((parts[1], parts[2]), []).append(entry)
    return versions

"""A version that needs approval: no champion without enough different people, and never twice."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from approvals import (
    NAME,
    Person,
    age,
    approve,
    approve_on_page,
    await_approval,
    key_of,
    people,
    policy,
    publish,
    refuse,
)

from clinadapt.artifacts.signing import SIGNING_KEY, VERIFY_KEY
from clinadapt.errors import UserError
from clinadapt.registry import garbage_collection
from clinadapt.registry.approval import decisions, records
from clinadapt.registry.approval.decisions import complete, decide, refuse_weaker, revoke
from clinadapt.registry.approval.records import store_time
from clinadapt.registry.approval.standing import Standing, read_standing
from clinadapt.registry.approval.verification import problems
from clinadapt.registry.champion import champion, history
from clinadapt.registry.promotion import promote_manually, roll_back
from clinadapt.registry.versions import verify
from clinadapt.storage import open_store
from clinadapt.storage.folder_store import FolderStore
from clinadapt.storage.object_store import CorruptObject, Store

ANNA, BEN, CARL, DORA = people("anna", "ben", "carl", "dora")
BOARD = policy([ANNA.entry, BEN.entry, CARL.entry])


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (SIGNING_KEY, VERIFY_KEY, "CLINADAPT_APPROVER_KEY", "CLINADAPT_RUN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture
def version(store: Store, tmp_path: Path) -> str:
    """Published, and waiting for two of three."""
    made = publish(store, tmp_path, 1, BOARD, started_by="dora")
    assert await_approval(store, made, "dora").state == "awaiting approval"
    return made


def standing_of(store: Store, version: str) -> Standing:
    standing = read_standing(store, NAME, version)
    assert standing
    return standing


def promoted(store: Store) -> list[str]:
    return [entry["version"] for entry in history(store, NAME)]


def test_the_last_signer_makes_it_the_champion(store: Store, version: str) -> None:
    assert approve(store, version, ANNA).state == "awaiting approval" and promoted(store) == []
    assert approve_on_page(store, version, "ben").state == "champion"
    (entry,) = history(store, NAME)
    assert (entry["version"], entry["by"], entry["rollback"]) == (version, "anna, ben", False)
    assert [(each["by"], each["decision"], each["reason"]) for each in entry["approvals"]] == [
        ("anna", "approval", "the report convinces me"),
        ("ben", "approval", "seen on the page"),
    ]
    assert problems(store, NAME, version) == verify(store, NAME, version) == []


def test_one_person_counts_once(store: Store, version: str) -> None:
    """By key, by name or by the name in capitals: it is one person, listed with both."""
    approve(store, version, ANNA)
    for login in ("anna", "Anna"):
        with pytest.raises(UserError, match="^you have approved .* already, and one person counts once"):
            approve_on_page(store, version, login)
    with pytest.raises(UserError, match="^you have approved"):
        approve(store, version, ANNA)
    assert len(standing_of(store, version).approvals) == 1 and promoted(store) == []


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (DORA, "this person is not among those who may approve; .* waits for anna, ben, carl"),
        ("dora", "this person is not among those who may approve"),
        ("anna@elsewhere.example", "this person is not among those who may approve"),
        ("", "nobody signs this: set CLINADAPT_APPROVER_KEY"),
        ("an\x1bna", "the name of this user cannot be stored"),
    ],
)
def test_who_is_not_listed_decides_nothing(store: Store, version: str, by: Any, message: str) -> None:
    before = store.list("approvals/")
    with pytest.raises(UserError, match=message):
        approve(store, version, by) if isinstance(by, Person) else approve_on_page(store, version, by)
    assert store.list("approvals/") == before and store.list("staging/") == []


@pytest.mark.parametrize(
    "started_by",
    ["anna", "ANNA@hospital.example", f"somebody {policy([ANNA.public], 1)['of'][0]['key']}"],
    ids=["name", "login", "key"],
)
def test_who_started_the_run_does_not_approve_it(store: Store, tmp_path: Path, started_by: str) -> None:
    made = publish(store, tmp_path, 1, BOARD, started_by=started_by)
    await_approval(store, made, "somebody else")
    for way in (lambda: approve(store, made, ANNA), lambda: approve_on_page(store, made, "anna")):
        with pytest.raises(UserError, match="this person started the run"):
            way()
    assert refuse(store, made, ANNA).state == "refused"  # who started it may take it back


def test_one_refusal_ends_it(store: Store, version: str) -> None:
    approve(store, version, ANNA)
    assert refuse(store, version, BEN).sentence() == "refused by ben: worse for children"
    with pytest.raises(UserError, match="was refused by ben: worse for children; that is final"):
        approve(store, version, CARL)
    revoke(store, "ben", "left the hospital")  # later: who revokes people undoes no refusal
    assert standing_of(store, version).state == "refused" and promoted(store) == []
    assert await_approval(store, version).state == "refused"


def test_it_expires_by_the_clock_of_the_store(store: Store, version: str) -> None:
    age(store, "approvals/", 13.9)
    approve(store, version, ANNA)
    assert standing_of(store, version).state == "awaiting approval"
    later = read_standing(store, NAME, version, datetime.now(UTC) + timedelta(days=0.2))
    assert later and later.state == "expired" and later.sentence().endswith("UTC, approved by 1 of 2")
    age(store, "approvals/", 0.2)
    assert standing_of(store, version).votes[0].problem == "it came too late"
    with pytest.raises(UserError, match=r"does not wait for approval \(expired on .*: run the pipeline again"):
        approve(store, version, BEN)
    assert await_approval(store, version).state == "awaiting approval"  # a new run asks again
    assert "an earlier proposal" in standing_of(store, version).votes[0].problem
    approve(store, version, BEN)
    assert promoted(store) == []
    assert approve(store, version, ANNA).state == "champion"


def test_what_was_approved_in_time_may_become_the_champion_later(
    store: Store, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the last approval and the pointer; somebody completes it later, in as many days again."""
    approve(store, version, ANNA)
    with monkeypatch.context() as killed:
        killed.setattr(decisions, "complete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            approve(store, version, BEN)
    later = read_standing(store, NAME, version, datetime.now(UTC) + timedelta(days=27.9))
    assert later and later.sentence().startswith("approved by 2 of 2, and not yet the champion, until ")
    too_late = read_standing(store, NAME, version, datetime.now(UTC) + timedelta(days=28.1))
    assert too_late and too_late.sentence().endswith("UTC, approved by 2 of 2") and too_late.state == "expired"
    with pytest.raises(UserError, match="is approved: make it the champion with clinadapt registry promote"):
        approve(store, version, CARL)
    promote_manually(store, NAME, version)
    assert promoted(store) == [version] and complete(store, NAME, version).state == "champion"


def test_whether_it_has_expired_is_told_by_the_clock_of_the_store(
    store: Store, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Approved in time and expired since: a machine whose clock is a month behind makes it no champion, and a run there
    proposes it anew."""
    approve(store, version, ANNA)
    with monkeypatch.context() as killed:
        killed.setattr(decisions, "complete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            approve(store, version, BEN)
    monkeypatch.setattr(decisions, "store_time", lambda store: store_time(store) + timedelta(days=29))
    with pytest.raises(UserError, match="is not approved .expired on .*, approved by 2 of 2"):
        promote_manually(store, NAME, version)
    assert promoted(store) == []
    before = store.list("approvals/")
    await_approval(store, version)
    assert len(store.list("approvals/")) == len(before) + 1


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_is_off(store: Store, version: str, hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decision is refused before it is stored."""
    monkeypatch.setattr(decisions, "store_time", lambda store: store_time(store) - timedelta(hours=hours))
    before = store.list("approvals/")
    with pytest.raises(UserError, match="^the clock of this machine says .* that of the store .*: set it"):
        approve(store, version, ANNA)
    assert store.list("approvals/") == before


@pytest.mark.parametrize(
    ("when", "problem"),
    [("2031-01-01T00:00:00Z", "the signer's clock is ahead"), ("2020-01-01T00:00:00Z", "before the")],
)
def test_a_record_from_the_future_or_before_the_publication(
    store: Store, version: str, when: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a client without our check would store it, well signed."""
    monkeypatch.setattr(records, "utc_now", lambda: when)
    monkeypatch.setattr(decisions, "_check_person", lambda *_: None)
    with pytest.raises(UserError, match=f"your decision does not count: .*{problem}"):
        approve(store, version, ANNA)
    monkeypatch.undo()
    assert standing_of(store, version).approvals == []
    approve(store, version, BEN)
    assert promoted(store) == []
    assert approve(store, version, ANNA).state == "champion"  # she is not shut out by it


@pytest.mark.parametrize(
    "who", ["ben", BEN.public, policy([BEN.public], 1)["of"][0]["key"]], ids=["name", "key", "fingerprint"]
)
def test_a_revoked_person_does_not_count(store: Store, version: str, who: str) -> None:
    approve(store, version, BEN)
    revoke(store, who, "laptop stolen")
    assert standing_of(store, version).votes[0].problem == "the key or name was revoked"
    with pytest.raises(UserError, match="would not count: the key or name was revoked"):
        approve(store, version, BEN)
    with pytest.raises(UserError, match="would not count: the key or name was revoked"):
        refuse(store, version, BEN)
    approve(store, version, ANNA)
    assert promoted(store) == []
    assert approve(store, version, CARL).state == "champion"
    revoke(store, "anna", "left")  # it is the champion already
    assert standing_of(store, version).state == "champion" and problems(store, NAME, version) == []


def test_who_is_removed_from_the_list_does_not_count(store: Store, version: str, tmp_path: Path) -> None:
    approve(store, version, BEN)
    later = publish(store, tmp_path, 2, policy([ANNA.entry, CARL.entry, DORA.entry]))
    await_approval(store, later)
    assert "was removed from those who may approve" in standing_of(store, version).votes[0].problem
    approve(store, version, ANNA)
    with pytest.raises(UserError, match="not among those"):  # who was added later does not count for it either
        approve(store, version, DORA)
    assert approve(store, version, CARL).state == "champion"


def test_a_key_that_was_exchanged_does_not_count(store: Store, version: str, tmp_path: Path) -> None:
    """Ben is still listed, with another key: who has the old one is perhaps not Ben."""
    approve(store, version, BEN)
    (other,) = people("ben")
    later = publish(store, tmp_path, 2, policy([ANNA.entry, other.entry, CARL.entry]))
    await_approval(store, later)
    assert "or the key, was removed from those who may approve" in standing_of(store, version).votes[0].problem
    approve_on_page(store, version, "ben")
    assert [vote.label for vote in standing_of(store, version).approvals] == ["ben"]


def test_a_profile_does_not_weaken_the_rule(store: Store, version: str, tmp_path: Path) -> None:
    """The version's own is in its manifest; a later version of the adapter needs as many signers."""
    alone = policy([ANNA.entry], 1)
    for weaker in (None, decisions.Approval.model_validate(alone)):
        with pytest.raises(UserError, match="^specialty needs approval by 2, as specialty/.* did: set gate.approval"):
            refuse_weaker(store, NAME, weaker)
    refuse_weaker(store, NAME, decisions.Approval.model_validate(policy([ANNA.entry, BEN.entry, DORA.entry], 3)))
    refuse_weaker(store, "another", None)
    approve(store, version, ANNA)
    free = publish(store, tmp_path, 3, None)
    with pytest.raises(UserError, match="needs approval by 2, and .* was published without"):
        promote_manually(store, NAME, free)
    key = f"adapters/{NAME}/{version}/manifest.json"
    store.put(key, store.get(key)[0].replace(b'"signers": 2', b'"signers": 1'))
    with pytest.raises(UserError, match="is not what was published"):
        approve(store, version, BEN)
    assert promoted(store) == []


def test_promote_and_rollback_are_no_way_around(store: Store, tmp_path: Path) -> None:
    first, second = (publish(store, tmp_path, number, BOARD) for number in (1, 2))
    await_approval(store, first)
    with pytest.raises(UserError, match="is awaiting approval: 0 of 2, until .* by clinadapt registry approve"):
        promote_manually(store, NAME, first)
    approve(store, first, ANNA)
    approve(store, first, BEN)
    await_approval(store, second)
    with pytest.raises(UserError, match="no previous champion"):
        roll_back(store, NAME)
    approve(store, second, ANNA)
    approve(store, second, CARL)
    assert roll_back(store, NAME) == first
    promote_manually(store, NAME, second)  # was the champion before
    assert promoted(store) == [first, second, first, second]


def test_another_champion_meanwhile(store: Store, version: str, tmp_path: Path) -> None:
    """Both wait; with the first the second has to be compared anew."""
    other = publish(store, tmp_path, 2, BOARD)
    await_approval(store, other)
    approve(store, version, ANNA)
    approve(store, other, ANNA)
    approve(store, other, BEN)
    with pytest.raises(
        UserError, match=f"^{other} is the champion of specialty now, and {version} was compared with none: run"
    ):
        approve(store, version, BEN)
    assert promoted(store) == [other]
    assert await_approval(store, version).state == "awaiting approval"
    approve(store, version, BEN)
    assert promoted(store) == [other]  # what anna approved was another comparison
    assert approve(store, version, CARL).state == "champion" and promoted(store) == [other, version]


def at_once(store: Store, version: str) -> list[str]:
    """What anna and ben get who approve at the same moment: both have read before either stores it, and stored it
    before either moves the pointer."""
    barrier, states = threading.Barrier(2), list[str]()

    def together(function: Callable[..., Any]) -> Callable[..., Any]:
        def wait_and_call(*arguments: Any) -> Any:
            barrier.wait(30)
            return function(*arguments)

        return wait_and_call

    with pytest.MonkeyPatch.context() as both:
        both.setattr(decisions, "write", together(decisions.write))
        both.setattr(decisions, "complete", together(decisions.complete))
        threads = [
            threading.Thread(
                target=lambda login: states.append(approve_on_page(store, version, login).state), args=[login]
            )
            for login in ("anna", "ben")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return states


def test_two_last_signers_at_once(store: Store, tmp_path: Path) -> None:
    for number in range(1, 6):
        made = publish(store, tmp_path, number, BOARD)
        await_approval(store, made)
        approve(store, made, CARL)
        states = at_once(store, made)
        assert states == ["champion", "champion"]
        assert promoted(store).count(made) == 1


def test_one_person_twice_at_once(store: Store, version: str) -> None:
    """On the page and by key, both checked before either is stored, and stored before either looks which one counts."""
    barrier = threading.Barrier(2)
    write = records.write

    def together(*arguments: Any) -> str:
        barrier.wait(30)
        key = write(*arguments)
        barrier.wait(30)
        return key

    outcomes: list[str] = []

    def run(login: str | None) -> None:
        try:
            outcomes.append(decide(store, NAME, version, "approval", "yes", login).state)
        except UserError as error:
            outcomes.append(str(error))

    with pytest.MonkeyPatch.context() as both, key_of(ANNA):
        both.setattr(decisions, "write", together)
        threads = [threading.Thread(target=run, args=[login]) for login in (None, "anna")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes)[0] == "awaiting approval" and "has approved already" in sorted(outcomes)[1]
    assert len(standing_of(store, version).approvals) == 1 and promoted(store) == []


class Refusing(FolderStore):
    """A store that refuses to write the keys that a part of them tells."""

    part = ""

    def put(self, key: str, data: bytes, **condition: Any) -> str:
        if self.part and self.part in key:
            raise UserError("the store is full: free space")
        return super().put(key, data, **condition)


@pytest.mark.parametrize("part", ["staging/", "-approval-"])
def test_a_store_that_refuses_the_record(store: Store, version: str, part: str) -> None:
    refusing = Refusing(store.uri)
    refusing.part = part
    before = store.list()
    with pytest.raises(UserError, match="the store is full"):
        approve(refusing, version, ANNA)
    assert store.list() == before


def test_a_store_that_refuses_the_pointer(store: Store, version: str) -> None:
    refusing = Refusing(store.uri)
    approve(refusing, version, ANNA)
    refusing.part = "champion.json"
    with pytest.raises(UserError, match="^your approval is stored, but .* is not the champion: the store is full"):
        approve(refusing, version, BEN)
    assert standing_of(store, version).state == "approved" and champion(store, NAME) is None
    promote_manually(store, NAME, version)
    assert promoted(store) == [version]


def test_what_is_not_signed_by_the_person(store: Store, version: str) -> None:
    """A record of anna's, changed, signed by another or broken: it does not count, and verify names it."""
    approve(store, version, ANNA)
    (key,) = [key for key in store.list("approvals/") if "-approval-" in key]
    data = store.get(key)[0]
    stolen = json.loads(data)
    with key_of(DORA):
        decision = records.Decision.model_validate({k: v for k, v in stolen.items() if k != "attestation"})
        stolen["attestation"] = records.sign_json(
            decision.model_dump(mode="json"), "application/vnd.clinadapt.approval+json", "CLINADAPT_APPROVER_KEY"
        )
    unsigned = {name: value for name, value in stolen.items() if name != "attestation"}
    as_name = unsigned | {"public_key": ""}
    forgeries = {
        data.replace(b"convinces", b"persuades"): "it has the signature of another record",
        json.dumps(stolen).encode(): "its signature does not verify",
        json.dumps(unsigned).encode(): "not signed",
        json.dumps(as_name).encode(): "broken",
        b"[]": "broken",
        b'{"kind": "approval"}': "broken",
        b" " * 70_000: "broken",
    }
    for forged, problem in forgeries.items():
        store.put(key, forged)
        standing = standing_of(store, version)
        assert (standing.votes[0].problem, standing.approvals) == (problem, [])
        assert problems(store, NAME, version) == [f"{key}: {problem}: find out who wrote it"]
    store.put(key, data)
    approve(store, version, BEN)
    store.delete(key)
    assert problems(store, NAME, version)[0].endswith("became the champion with 1 of 2 approvals that count")


def test_a_key_does_not_lend_itself_a_name(store: Store, version: str) -> None:
    """Carl signs with his key and writes that he is ben."""
    approve(store, version, CARL)
    (key,) = [key for key in store.list("approvals/") if "-approval-" in key]
    content = {k: v for k, v in json.loads(store.get(key)[0]).items() if k != "attestation"}
    content["approver"]["name"] = "ben"
    with key_of(CARL):
        envelope = records.sign_json(content, "application/vnd.clinadapt.approval+json", "CLINADAPT_APPROVER_KEY")
    store.put(key.replace("-approval-", "-approval-0"), json.dumps(content | {"attestation": envelope}).encode())
    assert [vote.problem for vote in standing_of(store, version).votes] == ["broken", ""] or [
        vote.problem for vote in standing_of(store, version).votes
    ] == ["", "broken"]


def test_with_keys_of_the_registry(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page stores and what publish proposes has to be signed; an approver without the registry's key leaves
    the pointer to who has it."""
    registry, other = people("registry", "other")
    monkeypatch.setenv(SIGNING_KEY, registry.private)
    monkeypatch.setenv(VERIFY_KEY, registry.public)
    monkeypatch.setenv("CLINADAPT_CACHE", str(tmp_path / "cache"))
    made = publish(store, tmp_path, 1, BOARD)
    await_approval(store, made)
    approve_on_page(store, made, "anna")
    monkeypatch.delenv(SIGNING_KEY)
    with pytest.raises(UserError, match="^this page has no key to sign decisions with"):
        approve_on_page(store, made, "carl")
    assert approve(store, made, BEN).state == "approved" and champion(store, NAME) is None
    (key,) = [key for key in store.list("approvals/") if "-approval-" in key and b"anna" in store.get(key)[0]]
    data = store.get(key)[0]
    content = {name: value for name, value in json.loads(data).items() if name != "attestation"}
    store.put(key, json.dumps(content).encode())
    assert [vote.problem for vote in standing_of(store, made).votes].count("not signed") == 1
    monkeypatch.setenv(SIGNING_KEY, other.private)
    store.put(
        key,
        json.dumps(
            content | {"attestation": records.sign_json(content, "application/vnd.clinadapt.approval+json")}
        ).encode(),
    )
    assert standing_of(store, made).state == "awaiting approval"
    store.put(key, data)
    monkeypatch.setenv(SIGNING_KEY, registry.private)
    promote_manually(store, NAME, made)
    assert promoted(store) == [made] and problems(store, NAME, made) == []


def test_a_reason_is_needed_and_names_nobody(store: Store, version: str) -> None:
    for reason, message in (
        ("", "give a reason"),
        (" \n", "give a reason"),
        ("x" * 1001, "more than 1,000 characters"),
    ):
        with pytest.raises(UserError, match=message):
            approve(store, version, ANNA, reason)
    approve(store, version, ANNA, "wrong dose for Mr. Velnadal, call\n708-955-3609")
    (vote,) = standing_of(store, version).votes
    assert vote.decision and "Velnadal" not in vote.decision.reason and "3609" not in vote.decision.reason
    assert "\n" not in vote.decision.reason


def test_a_reason_that_cannot_be_written(store: Store, version: str) -> None:
    """As a terminal gives it that is not set to UTF-8."""
    approve(store, version, ANNA, "gepr\udcfcft")
    (vote,) = standing_of(store, version).votes
    assert vote.decision and vote.decision.reason == "gepr ft"


class DamagedRecords(FolderStore):
    """A store that finds what people decided damaged."""

    def get(self, key: str) -> tuple[bytes, str]:
        if "-approval-" in key:
            raise CorruptObject(f"{key} is damaged")
        return super().get(key)


def test_a_damaged_decision_does_not_count_and_stops_nothing(store: Store, version: str) -> None:
    approve(store, version, ANNA)
    damaged = DamagedRecords(store.uri)
    standing = standing_of(damaged, version)
    assert standing.state == "awaiting approval" and [vote.problem for vote in standing.votes] == ["broken"]


def test_gc_keeps_what_waits(store: Store, version: str) -> None:
    queue = f"reviews/{NAME}/{version}"
    store.put(f"{queue}/queue.json", b"{}")
    age(store, "adapters/", 365)
    age(store, "reviews/", 365)
    nothing = timedelta(0)
    assert garbage_collection.garbage(store, nothing, nothing) == []
    prefix = f"adapters/{NAME}/{version}"
    keys = sorted(store.list(f"{prefix}/"), key=lambda key: not key.endswith("/manifest.json"))
    item = garbage_collection.Garbage(prefix, "", keys, 0)
    lines: list[str] = []
    garbage_collection.collect(store, [item], nothing, lines.append)
    assert lines == [f"kept adapters/{NAME}/{version}: it was proposed meanwhile"]
    reviews = garbage_collection.Garbage(queue, "", [f"{queue}/queue.json"], 0)
    garbage_collection.collect(store, [reviews], nothing, lines.append)
    assert store.exists(f"{queue}/queue.json"), "people go on judging it while it waits"
    refuse(store, version, ANNA)
    found = garbage_collection.garbage(store, nothing, nothing)
    assert {each.prefix for each in found} == {f"adapters/{NAME}/{version}", queue}
    garbage_collection.collect(store, found, nothing, lines.append)
    assert (
        store.list("adapters/") == [] == store.list("reviews/") and len(store.list("approvals/")) == 2
    )  # who decided what stays


@dataclass
class Tally:
    """What we count ourselves of a version: who started it, whose approval of its last proposal came in time."""

    starters: set[str]
    approved: set[str] = field(default_factory=set)
    refused: bool = False

    def suffices(self, revoked: set[str]) -> bool:
        return not self.refused and len((self.approved & {"anna", "ben", "carl"}) - self.starters - revoked) >= 2


class Hospital:
    """Many people who do something with some versions of an adapter."""

    def __init__(self, store: Store, folder: Path, draw: random.Random) -> None:
        self.store, self.folder, self.draw = store, folder, draw
        self.tallies: dict[str, Tally] = {}
        self.revoked: set[str] = set()

    def act(self, action: str) -> None:
        version, who = self.draw.choice(list(self.tallies)), self.draw.choice([ANNA, BEN, CARL, DORA])
        tally = self.tallies[version]
        if action == "propose again":
            old, new = (standing_of(self.store, version), await_approval(self.store, version, "nobody"))
            if old.proposal and new.proposal and old.proposal.id != new.proposal.id:
                tally.approved = set()
        elif action == "expire" and version not in promoted(self.store):  # and what was stored so far came after it
            age(self.store, f"approvals/{NAME}/{version}/", 15)
            tally.approved = set()
        elif action == "revoke":
            revoke(self.store, who.name, "left")
            self.revoked.add(who.name)
        elif action == "refuse":
            refuse(self.store, version, who)
            tally.refused = True
        elif action == "promote":
            promote_manually(self.store, NAME, version)
        elif action in ("approve", "page"):
            decided = (
                approve(self.store, version, who)
                if action == "approve"
                else approve_on_page(self.store, version, who.name)
            )
            tally.approved.add(who.name)
            assert decided.state in ("awaiting approval", "champion")

    def publish(self) -> None:
        starter = self.draw.choice(["anna", "ben", "nobody"])
        version = publish(self.store, self.folder, len(self.tallies) + 1, BOARD, started_by=starter)
        await_approval(self.store, version, starter)
        self.tallies[version] = Tally({starter})


def test_whatever_many_people_do_in_whatever_order(tmp_path: Path) -> None:
    """No version becomes the champion without approvals, of its last proposal and in time, of two listed people who did
    not start it and are not revoked; none that was refused; and each at most once but by promote and rollback."""
    often, total = ["approve"] * 20 + ["page"] * 12 + ["promote"] * 4 + ["propose again"] * 3, 0
    for seed in range(5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        draw, store = random.Random(seed), open_store((folder / "store").as_uri())
        hospital = Hospital(store, folder, draw)
        for number in range(60):
            before = promoted(store)
            if number % 15 == 0:
                hospital.publish()
            else:
                with suppress(UserError):
                    hospital.act(draw.choice([*often, "expire", "refuse", *(["revoke"] if number > 45 else [])]))
            for version in promoted(store)[len(before) :]:
                assert version in before or hospital.tallies[version].suffices(hospital.revoked), seed
        moves = [entry for entry in history(store, NAME) if "approvals" in entry]
        assert len({entry["version"] for entry in moves}) == len(moves), seed
        assert all(len({each["by"] for each in entry["approvals"]}) == 2 for entry in moves), seed
        assert [line for version in hospital.tallies for line in problems(store, NAME, version)] == [], seed
        total += len(moves)
    assert total >= 5

"""Who may approve, as a profile lists them."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from approvals import people
from pydantic import ValidationError

from clinadapt.config.base import first_error
from clinadapt.config.classify import ClassifyGate
from clinadapt.config.gate import Approval, Approver, key_fingerprint, may_be_same_name, person
from clinadapt.config.instruct import InstructGate

(ANNA,) = people("anna")
DER = base64.b64decode("".join(ANNA.public.splitlines()[1:-1]))
PRINT = f"sha256:{hashlib.sha256(DER).hexdigest()}"


@pytest.mark.parametrize(
    "key",
    [ANNA.public, f"\n{ANNA.public}", base64.b64encode(DER).decode(), PRINT, PRINT.upper()],
    ids=["PEM", "indented", "base64", "fingerprint", "capitals"],
)
def test_a_key_however_it_is_written(key: str) -> None:
    assert key_fingerprint(key) == PRINT
    (entry,) = Approval(of=[key], signers=1).of
    assert entry == Approver(key=PRINT)


def test_people_by_name_key_or_both() -> None:
    policy = Approval(of=["ben", ANNA.public, {"name": "carl", "key": "sha256:" + "0" * 64}, "dora@hospital.example"])
    assert [each.label for each in policy.of] == ["ben", PRINT[:19], "carl", "dora@hospital.example"]
    people = Approver(name="Ben"), Approver(key=PRINT), Approver(name="Dora@hospital.example"), Approver(name="dora")
    assert [policy.find(each) for each in people] == [0, 1, 3, None]
    assert policy.find(Approver(name="ben2")) is None
    assert Approval.model_validate(policy.model_dump()) == policy


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"of": []}, "of: "),
        ({"of": ["anna"]}, "2 signers are needed and `of` names 1"),
        ({"of": ["anna", "Anna@hospital.example"]}, "names Anna@hospital.example twice"),
        ({"of": [ANNA.public, {"name": "anna", "key": PRINT}]}, "names anna twice"),
        ({"of": ["anna", ""]}, "a name, a key or both"),
        ({"of": ["anna", "be\x1bn"]}, "cannot be printed"),
        ({"of": ["anna", ANNA.private]}, "is no public key"),
        ({"of": ["anna", "sha256:12"]}, "is no fingerprint"),
        ({"of": ["anna", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"]}, "is no ed25519 public key"),
        ({"of": ["anna", {"name": "ben", "key": "short"}]}, "key: write an ed25519 public key"),
        ({"of": ["anna", 5]}, "of.1: "),
        ({"of": ["anna", "ben"], "signers": 0}, "signers: "),
        ({"of": ["anna", "ben"], "days": 0}, "days: "),
        ({"of": ["anna", "ben"], "quorum": 2}, "quorum: "),
    ],
)
def test_what_is_no_rule(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Approval.model_validate(fields)
    assert message in first_error(raised.value) and "PRIVATE" not in first_error(raised.value)


@pytest.mark.parametrize(
    ("one", "other", "same", "may_be"),
    [
        ("anna", "ANNA ", True, True),
        ("anna", "anna@a.example", False, True),
        ("anna@a.example", "Anna@A.example", True, True),
        ("anna@a.example", "anna@b.example", False, False),
        ("anna", "annabel", False, False),
        ("ﬁona", "fiona", True, True),
    ],
)
def test_names_of_one_person(one: str, other: str, same: bool, may_be: bool) -> None:
    first, second = Approver(name=one), Approver(name=other)
    assert first.is_same(second) is second.is_same(first) is same
    assert first.may_be_same(second) is second.may_be_same(first) is may_be
    assert may_be_same_name(one, other) is may_be
    assert (Approval(of=[first, {"name": "ben"}, {"name": "carl"}]).find(second) == 0) is same


def test_who_starts_a_run() -> None:
    assert person("anna") == Approver(name="anna")
    assert person(f"anna maria {PRINT}") == Approver(name="anna maria", key=PRINT)
    assert person(PRINT) == Approver(key=PRINT)
    with pytest.raises(ValueError, match="a name, a key or both"):
        person(" ")


@pytest.mark.parametrize("gate", [ClassifyGate, InstructGate])
def test_without_approval_the_gate_is_as_before(gate: Any) -> None:
    """So are the run keys of what was published under it."""
    assert "approval" not in gate().model_dump() and gate().loosened() == {}
    assert "audited_repeats" not in gate().model_dump()
    asked = gate(approval={"of": ["anna", "ben"]})
    assert asked.loosened() == {} and gate.model_validate(asked.model_dump()) == asked


def test_an_audit_of_fewer_repeats_is_a_looser_gate() -> None:
    gate = InstructGate(audited_repeats=4)
    assert gate.loosened() == {"audited_repeats": 4} and InstructGate.model_validate(gate.model_dump()) == gate


@pytest.mark.parametrize("gate", [ClassifyGate, InstructGate])
@pytest.mark.parametrize("value", [5, -2, 1.01, float("nan"), float("inf"), True, False, "five", None])
def test_a_threshold_is_a_share(gate: Any, value: Any) -> None:
    """5 for 5 points would refuse everything after hours of training; `yes` would switch a check off."""
    for name in gate.model_fields.keys() - {"approval", "audited_repeats"}:
        with pytest.raises(ValidationError, match=name):
            gate(**{name: value})
        assert gate(**{name: 1}).model_dump()[name] == 1

"""A queue of answers to judge in a store, and keys that sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clinadapt.data.duplicates import note_id
from clinadapt.feedback.cases import Case, Queue, Reason, case_id, write_queue
from clinadapt.feedback.flags import flag_answer
from clinadapt.storage.object_store import Store

NAME, VERSION = "assistant", "0123456789abcdef"
QUESTION = "Which drugs does the note mention?"


def an_answer(number: int, **fields: Any) -> Case:
    """A held-out answer about a note of its own."""
    invented = (
        f"Patient {number} takes lisinopril 20 mg daily. No allergies. Seen in clinic for a cough of {number} days."
    )
    note = fields.get("note", invented)
    case: dict[str, Any] = {
        "name": NAME, "version": VERSION, "recipe": "instruct", "note_id": note_id(note), "note": note,
        "instruction": QUESTION, "answer": "lisinopril 40 mg", "origin": "held-out", "drawn": "risk",
        "reasons": (Reason("contradicted", 1),), "cluster": number,
    } | fields  # fmt: skip
    return Case(case=case_id(case["recipe"], case["note_id"], case["instruction"]), **case)


def a_queue(
    store: Store,
    risky: int = 3,
    drawn: int = 0,
    answers: Sequence[str] = ("lisinopril 40 mg",),
    notes: Sequence[str] = (),
    **fields: Any,
) -> list[Case]:
    """Store a queue of `risky` answers, which are `answers` in turn, about `notes` where they are given, and `drawn`
    random ones; return the cases."""
    given = [{"note": note} for note in notes] or [{}] * risky
    cases = [an_answer(number, answer=answers[number % len(answers)], **given[number]) for number in range(risky)]
    cases += [an_answer(number, drawn="random", reasons=()) for number in range(risky, risky + drawn)]
    queue: dict[str, Any] = {
        "name": NAME, "version": VERSION, "recipe": "instruct", "reviewers": 2, "population": risky + drawn,
        "riskiest": risky, "withheld": 0, "cases": {case.case: case.content for case in cases},
        "clusters": [case.cluster for case in cases],
    } | fields  # fmt: skip
    write_queue(store, Queue(**queue), cases)
    return cases


def a_flag(store: Store, reviewer: str | None, note: str = "Takes aspirin 100 mg daily.", **fields: Any) -> None:
    """Flag the answer `warfarin` to QUESTION about a note."""
    answer = {
        "instruction": QUESTION, "answer": fields.pop("answer", "warfarin"), "complete": True, "trimmed_tokens": 0,
        "adapter": f"{store.uri}/adapters/{NAME}/{VERSION}",
    }  # fmt: skip
    given: dict[str, Any] = {"fault": "wrong", "correction": "aspirin", "comment": ""} | fields
    flag_answer((note, answer), given["fault"], given["correction"], given["comment"], reviewer)


def keys() -> tuple[str, str]:
    """PEM text of a new ed25519 private key and of its public key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), public.decode()

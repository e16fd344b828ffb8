"""What judgements of people teach, read from real flags and marks in a store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from clinadapt.artifacts.signing import SIGNING_KEY, VERIFY_KEY
from clinadapt.config.feedback import Feedback, feedback_place
from clinadapt.config.instruct import Source
from clinadapt.data.duplicates import note_id
from clinadapt.feedback import corrections as module
from clinadapt.feedback.cases import Case, Queue, case_id, write_queue
from clinadapt.feedback.corrections import Corrections, read_corrections
from clinadapt.feedback.flags import flag_answer, flag_label
from clinadapt.feedback.marks import Judgement, Verdict, add_mark, settle
from clinadapt.feedback.records import LARGEST
from clinadapt.feedback.settled import read_reviews
from clinadapt.storage.folder_store import FolderStore

NOTE = "The patient takes metoprolol 25 mg twice daily for hypertension. She has no known drug allergies."
OTHER = "A man with knee pain after a fall. Ibuprofen 400 mg as needed."
ASK = "Which dose of metoprolol?"


class People:
    """Reviewers of a store with two versions of an adapter that answers and one of an adapter that labels."""

    def __init__(self, folder: Path) -> None:
        self.store = FolderStore((folder / "store").as_uri())
        for version in ("answers/v1", "answers/v2", "labels/v1"):
            self.store.put(f"adapters/{version}/manifest.json", b"{}")

    def flag(self, correction: str, who: str | None = "rita", version: str = "answers/v1", **fields: Any) -> str:
        """Flag an answer; returns the key of the record."""
        texts = {"note": NOTE, "ask": ASK, "answer": "50 mg once daily.", "fault": "wrong", **fields}
        answer = {"instruction": texts["ask"], "answer": texts["answer"], "complete": True, "trimmed_tokens": 0}
        answer["adapter"] = f"{self.store.uri}/adapters/{version}"
        uri = flag_answer((texts["note"], answer), texts["fault"], correction, "", who)
        return uri.removeprefix(f"{self.store.uri}/")

    def flag_label(self, correction: str, who: str = "rita", note: str = NOTE) -> None:
        answer = {"predicted_class": 0, "label": "Urology", "probabilities": {"Urology": 1.0}}
        flag_label((note, answer | {"adapter": f"{self.store.uri}/adapters/labels/v1"}), correction, "", who)

    def mark(self, verdict: Verdict, who: str, correction: str | None = None, version: str = "answers/v1") -> None:
        name, version = version.split("/")
        (judged,) = read_reviews(self.store, name, version).cases
        add_mark(self.store, judged.case, who, Judgement(verdict=verdict, correction=correction))

    def settle(self, verdict: Verdict, who: str, correction: str | None = None) -> None:
        (judged,) = read_reviews(self.store, "answers", "v1").cases
        settle(self.store, judged.case, judged.marks, who, Judgement(verdict=verdict, correction=correction))

    def read(self, recipe: Any = "instruct", agree: int = 1, name: str = "") -> Corrections:
        return read_corrections(f"{self.store.uri}/flagged/{name}", recipe, agree)


@pytest.fixture
def people(tmp_path: Path) -> People:
    return People(tmp_path)


def taught(read: Corrections) -> list[tuple[str, tuple[str, ...], str]]:
    return [(each.answer, each.rejected, each.kind) for each in read.corrections]


@pytest.mark.parametrize(
    ("uri", "store", "name"),
    [
        ("s3://bucket/flagged/", "s3://bucket", ""),
        ("s3://bucket/clin/flagged/demo-instruct/", "s3://bucket/clin", "demo-instruct"),
        ("file:///home/a/.clinadapt/store/flagged", "file:///home/a/.clinadapt/store", ""),
    ],
)
def test_where_feedback_is(uri: str, store: str, name: str) -> None:
    assert feedback_place(uri) == (store, name)
    assert Source(kind="feedback", uri=uri).uri == Feedback(uri=uri).uri == uri


@pytest.mark.parametrize(
    "uri", ["s3://bucket/notes/", "s3://flagged/", "https://host/flagged/", "file:///a/flagged/N/v"]
)
def test_what_is_no_feedback(uri: str) -> None:
    for settings in (lambda: Source(kind="feedback", uri=uri), lambda: Feedback(uri=uri)):
        with pytest.raises(ValueError, match="write s3://bucket/flagged/"):
            settings()


@pytest.mark.parametrize("fields", [{"columns": {"note": "text"}}, {"send_to": ["host"]}, {"private": False}])
def test_what_feedback_does_not_take(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="leave these out"):
        Source(kind="feedback", uri="s3://b/flagged/", **fields)
    with pytest.raises(ValueError, match="`agree` belongs to a source of kind feedback"):
        Source(kind="notes", uri="s3://b/n.csv", agree=2)


def test_no_feedback_yet_is_no_error(people: People) -> None:
    read = people.read()
    assert (read.corrections, read.judged, read.left_out, read.quarantined) == ([], 0, {}, {})


def test_one_flag_teaches_unless_more_people_have_to_agree(people: People) -> None:
    people.flag("25 mg twice daily.", fault="invented")
    assert taught(people.read()) == [("25 mg twice daily.", ("50 mg once daily.",), "invented")]
    few = people.read(agree=2)
    assert few.corrections == [] and few.left_out == {module.FEW: 1}
    people.flag("25 MG twice  daily.", "rita")  # she is one person, however often she says it
    assert people.read(agree=2).left_out == {module.FEW: 1}
    people.flag("25 mg twice daily.", "bob")
    assert len(people.read(agree=2).corrections) == 1


def test_one_correction_for_one_question_of_two_versions(people: People) -> None:
    people.flag("25 mg twice daily.")
    people.flag("25 mg twice daily.", version="answers/v2", answer="5 mg.", ask="which  dose of metoprolol")
    read = people.read()
    assert read.judged == 1
    assert taught(read) == [("25 mg twice daily.", ("5 mg.", "50 mg once daily."), "wrong")]
    assert len(people.read(agree=2, name="answers").corrections) == 0


def test_corrections_that_contradict_each_other_teach_nothing(people: People) -> None:
    people.flag("25 mg twice daily.")
    people.flag("25 mg.", "bob", version="answers/v2")
    assert people.read().left_out == {module.CONTRADICTED: 1} and not people.read().corrections


def test_a_disagreement_teaches_once_a_third_person_has_settled_it(people: People) -> None:
    people.flag("25 mg twice daily.")
    people.mark("right", "bob")
    assert people.read().left_out == {module.DISAGREE: 1}
    people.settle("unsafe", "eve", "Metoprolol 25 mg, twice daily.")
    assert taught(people.read(agree=3)) == [("Metoprolol 25 mg, twice daily.", ("50 mg once daily.",), "unsafe")]


def test_what_was_settled_counts_more_than_what_is_open(people: People) -> None:
    people.flag("25 mg twice daily.")
    people.mark("wrong", "bob", "25 mg twice daily.")
    people.flag("25 mg.", "eve", version="answers/v2")
    assert [answer for answer, *_ in taught(people.read())] == ["25 mg twice daily."]


def test_an_answer_that_is_right_teaches_nothing(people: People) -> None:
    people.flag("25 mg twice daily.")
    people.mark("right", "bob")
    people.settle("right", "eve")
    assert people.read().left_out == {module.RIGHT: 1}


def test_a_judgement_without_a_correction_teaches_nothing(people: People) -> None:
    people.flag("")
    assert people.read().left_out == {module.WITHOUT: 1}


def test_labels(people: People) -> None:
    people.flag_label("Cardiology")
    people.flag_label("none of these", note=OTHER)
    read = people.read("classify")
    assert taught(read) == [("Cardiology", ("Urology",), "label")] and read.left_out == {module.WITHOUT: 1}
    assert people.read("instruct").judged == 0 and people.read("classify", name="answers").judged == 0
    for judged in read_reviews(people.store, "labels", "v1").cases:
        if judged.case.note == NOTE:
            add_mark(people.store, judged.case, "bob", Judgement(verdict="right"))
    assert people.read("classify").left_out == {module.DISAGREE: 1, module.WITHOUT: 1}


def test_feedback_about_a_version_that_is_gone(people: People) -> None:
    people.flag("25 mg twice daily.")
    people.store.delete("adapters/answers/v1/manifest.json")
    assert people.read().quarantined == {module.GONE: 1} and not people.read().corrections


def test_the_digest_moves_with_the_feedback_only(people: People) -> None:
    none = people.read().digest
    key = people.flag("25 mg twice daily.")
    one = people.read().digest
    record, _ = people.store.get(key)
    people.store.put(key.replace(".json", "-again.json"), record)  # the same, once more
    assert people.read().digest == one != none
    row = people.read().corrections[0].row
    people.flag("400 mg as needed.", note=OTHER, ask="Which dose of ibuprofen?")
    assert people.read().digest != one and row in {each.row for each in people.read().corrections}


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    monkeypatch.setenv(SIGNING_KEY, private.decode())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    monkeypatch.setenv(VERIFY_KEY, public.decode())
    yield


def test_a_record_that_somebody_changed_by_hand(people: People, keys: None) -> None:
    kept, changed, unsigned = (people.flag(text, ask=f"{ASK} {text}") for text in ("25 mg.", "26 mg.", "27 mg."))
    data, _ = people.store.get(changed)
    people.store.put(changed, data.replace(b"26 mg.", b"99 mg."))
    content = json.loads(people.store.get(unsigned)[0])
    people.store.put(unsigned, json.dumps({k: v for k, v in content.items() if k != "attestation"}).encode())
    read = people.read()
    assert [each.answer for each in read.corrections] == ["25 mg."]
    assert read.quarantined == {"not signed": 1, "wrong signature": 1}
    assert kept


@pytest.mark.parametrize("size", [0, LARGEST + 1])
def test_a_record_that_is_empty_or_too_large_is_not_read(people: People, size: int) -> None:
    people.flag("25 mg twice daily.")
    people.store.put("flagged/answers/v1/20260101T000000Z-00000000.json", b" " * size)
    read = people.read()
    assert read.quarantined == {"empty, damaged or too large": 1} and len(read.corrections) == 1


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b'{"note": 1}', b"\xff\xfe", b"[" * 100_000], ids=lambda data: f"{len(data)} bytes"
)
def test_a_broken_record_is_counted(people: People, data: bytes) -> None:
    people.flag("25 mg twice daily.")
    people.store.put("flagged/answers/v1/20260101T000000Z-00000000.json", data)
    read = people.read()
    assert read.quarantined == {"broken": 1} and len(read.corrections) == 1


def test_a_flag_in_the_folder_of_another_version(people: People) -> None:
    key = people.flag("25 mg twice daily.")
    people.store.put(key.replace("/v1/", "/v2/"), people.store.get(key)[0])
    read = people.read()
    assert read.quarantined == {"about something else": 1} and len(read.corrections) == 1


def test_an_answer_that_was_redacted_is_not_rejected(people: People) -> None:
    """It is not what the model wrote; and that stays where it was, as it may identify somebody."""
    key = people.flag("25 mg twice daily.", answer="25 mg 4438129910555 twice daily.")
    stored = people.store.get(key)[0]
    assert b"[OTHERID]" in stored and b"4438129910555" not in stored
    for record in (json.loads(stored), {k: v for k, v in json.loads(stored).items() if k != "as_written"}):
        people.store.put(key, json.dumps(record).encode())  # the second as earlier releases wrote it
        read = people.read()
        assert taught(read) == [("25 mg twice daily.", (), "wrong")] and read.quarantined == {module.REDACTED: 1}
    people.flag("25 mg twice daily.", "bob", version="answers/v2")
    read = people.read()
    assert taught(read) == [("25 mg twice daily.", ("50 mg once daily.",), "wrong")]
    assert read.quarantined == {module.REDACTED: 1}


def test_what_was_held_out_is_known(people: People) -> None:
    case = Case(
        "answers", "v1", case_id("instruct", note_id(NOTE), ASK), "instruct", note_id(NOTE), NOTE, ASK,
        "50 mg once daily.", "held-out", "risk", cluster=3,
    )  # fmt: skip
    queue = Queue("answers", "v1", "instruct", 1, 10, 1, 0, {case.case: case.content}, [3])
    write_queue(people.store, queue, [case])
    people.mark("wrong", "rita", "25 mg twice daily.")
    (correction,) = people.read().corrections
    assert correction.held_out and (correction.answer, correction.kind) == ("25 mg twice daily.", "wrong")
    people.flag("25 mg twice daily.", "bob", version="answers/v2")
    (correction,) = people.read().corrections
    assert correction.held_out, "also where another version was flagged for it"

"""Corrections of people on their way from the store into training rows, through download, screen, synthesize and
format; what is held out stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from feedback_support import flag, flag_a_label

from clinadapt.config.classify import Notes, Split
from clinadapt.config.feedback import Feedback
from clinadapt.config.instruct import Examples, Source, Synthesis
from clinadapt.config.phi import Phi
from clinadapt.data.added_notes import HELD_OUT, JOINED
from clinadapt.data.duplicates import note_id
from clinadapt.data.schemas.classify import SPLIT
from clinadapt.data.schemas.instruct import EXAMPLES, PREFERRED
from clinadapt.data.tables import SPLITS
from clinadapt.models.chat_template import load_tokenizer
from clinadapt.storage import open_store
from clinadapt.storage.object_store import Store
from components.download.classify import run as download_labels
from components.download.instruct import run as download
from components.format.classify import run as split_labels
from components.format.instruct import run as format_triples
from components.screen.classify import run as screen_labels
from components.screen.instruct import run as screen
from components.synthesize.instruct import run as synthesize

NEW = (
    "HISTORY: The patient is a 44-year-old baker who fell off a ladder and bruised her left wrist three weeks ago. "
    "She wears a splint at night and takes ibuprofen 400 mg as needed. PLAN: Remove the splint next Monday."
)
ASK = "What does she take?"
Formatted = tuple[dict[str, Any], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Callable[..., Formatted]:
    """Bring built-in cases and the feedback of a store, if any, through all steps before training."""
    cache = open_store(tmp_path_factory.mktemp("cache").as_uri())

    def make(store: Store | None = None) -> Formatted:
        folder = tmp_path_factory.mktemp("made")
        sources = [Source(kind="cases", uri="builtin://cases?rows=60&seed=5")]
        if store:
            sources.insert(0, Source(kind="feedback", uri=f"{store.uri}/flagged/"))
        download(sources, folder / "dataset", Examples())
        screen(folder / "dataset", folder / "screened", Phi())
        synthesize(folder / "screened", folder / "triples", Synthesis(triples_per_note=2), None)
        settings = Examples(max_length=512, test_share=0.2, validation_share=0.1)
        manifest = format_triples(folder / "triples", folder / "splits", settings, tiny_llama.as_uri(), 0, True, cache)
        return manifest, folder

    return make


@pytest.fixture(scope="module")
def plain(made: Callable[..., Formatted]) -> Formatted:
    return made()


@pytest.fixture(scope="module")
def empty(made: Callable[..., Formatted], tmp_path_factory: pytest.TempPathFactory) -> Formatted:
    """With a source of feedback in which there is none yet."""
    return made(open_store(tmp_path_factory.mktemp("empty").as_uri()))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


def read(folder: Path, name: str, schema: Any = EXAMPLES) -> list[dict[str, Any]]:
    return pq.read_table(folder / f"splits/{name}.parquet", schema=schema).to_pylist()


def held_out(folder: Path) -> dict[str, list[Any]]:
    """What is held out, but for the number of the source and of the cluster."""
    return {
        side: [(row["note_id"], row["instruction"], row["input_ids"]) for row in read(folder, side)]
        for side in ("validation", "test")
    }


def a_note(folder: Path, side: str) -> tuple[str, str]:
    """Text of a note that has several rows on a side, and an instruction about it."""
    notes = pq.read_table(folder / "triples/triples.parquet", columns=["note_text", "instruction"]).to_pylist()
    ids = {row["note_id"] for row in read(folder, side)}
    row = next(row for row in notes if note_id(row["note_text"]) in ids)
    return row["note_text"], row["instruction"]


def test_a_correction_becomes_a_training_row_and_a_preference(
    made: Callable[..., Formatted], plain: Formatted, store: Store
) -> None:
    flag(store, NEW, ASK, "Ibuprofen 400 mg as needed.", fault="invented")
    flag(store, NEW, ASK, "Ibuprofen 400 mg as needed.", "bob")
    manifest, folder = made(store)
    assert manifest["feedback"] == {
        "judged": 1, "agree": 1, "used": {"invented": 1}, "pairs": 1, "left_out": {}, "quarantined": {},
    }  # fmt: skip
    (row,) = read(folder, "feedback")
    assert (row["note_text"], row["instruction"], row["answer"]) == (NEW, ASK, "Ibuprofen 400 mg as needed.")
    assert row["private"] and row["answerable"]
    trained = [each for each in read(folder, "train") if each["note_id"] == note_id(NEW)]
    assert [each["input_ids"] for each in trained] == [row["input_ids"]]
    tokenizer = load_tokenizer(folder / "splits/tokenizer")
    (pair,) = [each for each in read(folder, "preferences", PREFERRED) if each["note_id"] == note_id(NEW)]
    chosen, rejected = (tokenizer.decode(pair[f"{name}_ids"]) for name in ("chosen", "rejected"))
    assert "Ibuprofen 400 mg" in chosen and "Nothing of the kind" in rejected
    assert held_out(folder) == held_out(plain[1]), "feedback moves nothing that is held out"
    assert len(read(folder, "train")) == len(read(plain[1], "train")) + 1
    assert manifest["shared_clusters"] == 0


def test_the_same_feedback_gives_the_same_splits_and_more_gives_others(
    made: Callable[..., Formatted], empty: Formatted, store: Store
) -> None:
    assert empty[0]["feedback"]["judged"] == 0
    flag(store, NEW, ASK, "Ibuprofen 400 mg as needed.")
    one, again = made(store)[0], made(store)[0]
    assert one["digest"] == again["digest"] != empty[0]["digest"]
    flag(store, NEW, "What was bruised?", "Her left wrist.")
    assert made(store)[0]["digest"] != one["digest"]


def test_feedback_about_a_held_out_note_is_never_trained_on(
    made: Callable[..., Formatted], plain: Formatted, empty: Formatted, store: Store
) -> None:
    """Neither about the note itself, nor about one that is nearly the same; and it moves no run key."""
    for side in ("test", "validation"):
        note, ask = a_note(plain[1], side)
        flag(store, note, ask, "Quite another answer.")
        flag(store, f"{note} The patient was seen again.", ask, "Quite another answer.")
    manifest, folder = made(store)
    assert manifest["feedback"]["used"] == {} and manifest["feedback"]["pairs"] == 0
    assert manifest["feedback"]["left_out"] == {HELD_OUT: 2, JOINED: 2}
    assert not (folder / "splits/feedback.parquet").exists()
    assert manifest["digest"] == empty[0]["digest"], "nothing new to train on"
    corpus = pq.read_table(folder / "splits/corpus.parquet").to_pylist()
    assert len(corpus) == len(pq.read_table(plain[1] / "splits/corpus.parquet"))


def test_feedback_about_another_note_of_a_left_out_one_is_left_out_too(
    made: Callable[..., Formatted], plain: Formatted, store: Store
) -> None:
    note, ask = a_note(plain[1], "test")
    halves = note.split()
    bridge = " ".join(halves[: len(halves) * 2 // 3]) + " " + NEW
    flag(store, bridge, ask, "Quite another answer.")
    flag(store, NEW, ASK, "Ibuprofen.")
    manifest, _ = made(store)
    assert manifest["feedback"]["used"] == {} and manifest["feedback"]["left_out"] == {JOINED: 2}


def test_a_correction_replaces_the_answer_that_the_data_had(
    made: Callable[..., Formatted], plain: Formatted, store: Store
) -> None:
    note, ask = a_note(plain[1], "train")
    flag(store, note, ask.upper(), "Quite another answer.")
    manifest, folder = made(store)
    assert manifest["dropped"]["the answer was corrected by people"] >= 1
    assert len(read(folder, "train")) == len(read(plain[1], "train"))
    (row,) = read(folder, "feedback")
    assert row["answer"] == "Quite another answer."
    assert row["cluster"] in {each["cluster"] for each in read(folder, "train") if each["source"] != row["source"]}


def test_what_identifies_a_patient_is_redacted_again(made: Callable[..., Formatted], store: Store) -> None:
    """Somebody put it into the record, or the detector of an earlier release let it through."""
    key = flag(store, NEW, ASK, "Ibuprofen.")
    record = json.loads(store.get(key)[0])
    record["note"] = f"Mr. Theodor Quenhill, MRN: 4711990. {NEW}"
    store.put(key, json.dumps(record).encode())
    _, folder = made(store)
    (row,) = read(folder, "feedback")
    assert "Quenhill" not in row["note_text"] and "4711990" not in row["note_text"]
    assert row["note_text"].endswith(NEW)


def test_what_was_redacted_teaches_only_where_the_note_has_it_too(made: Callable[..., Formatted], store: Store) -> None:
    """An answer with an invented number is not what the model wrote, and a correction with one not what is right."""
    named = f"Mr. Theodor Quenhill. {NEW}"
    flag(store, named, ASK, "Quenhill takes ibuprofen.", answer="Aspirin.")
    flag(store, NEW, ASK, "Ibuprofen.", answer="Ibuprofen 4438129910555.")
    flag(store, NEW, f"{ASK} And why?", "Ibuprofen, as 4438129910555 says.")
    manifest, folder = made(store)
    assert manifest["feedback"] == {
        "judged": 3, "agree": 1, "used": {"wrong": 2}, "pairs": 1, "left_out": {},
        "quarantined": {
            "answer that was redacted, so not what the model wrote: no pair for DPO": 1,
            "correction in which something was redacted that its note does not have": 1,
        },
    }  # fmt: skip
    assert sorted(row["answer"] for row in read(folder, "feedback")) == ["Ibuprofen.", "[NAME] takes ibuprofen."]
    tokenizer = load_tokenizer(folder / "splits/tokenizer")
    pairs = read(folder, "preferences", PREFERRED)
    assert ["Aspirin." in tokenizer.decode(pair["rejected_ids"]) for pair in pairs] == [True]


BAD = [
    ({"note": "  "}, "empty note"),
    ({"note": "Short."}, "correction longer than the note"),
    ({"note": "x " * 150_000}, "note longer than 200,000 characters"),
    ({"note": NEW * 50, "correction": "word " * 2000}, "correction longer than 8,000 characters"),
]


def test_bad_records_are_quarantined_and_nothing_of_them_is_shown(
    made: Callable[..., Formatted], store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    for number, (fields, _) in enumerate(BAD):
        key = flag(store, NEW, f"{ASK} {number}", "Ibuprofen four hundred.")
        record = json.loads(store.get(key)[0])
        store.put(key, json.dumps(record | fields).encode())
    manifest, folder = made(store)
    assert manifest["feedback"]["used"] == {}
    quarantined = manifest["feedback"]["quarantined"]
    assert sum(quarantined.values()) == len(BAD)
    assert set(quarantined) <= {reason for _, reason in BAD} | {"not valid"}
    for text in (capfd.readouterr().err, (folder / "dataset/quarantine.csv").read_text()):
        assert "four hundred" not in text and "x x x" not in text and "word word" not in text


def test_labels_that_people_corrected(tmp_path: Path, store: Store) -> None:
    source = "builtin://cases?rows=240&seed=7"

    def make(feedback: Feedback | None = None) -> Formatted:
        folder = tmp_path / f"made-{len(list(tmp_path.iterdir()))}"
        download_labels(source, folder / "dataset", Notes(), feedback=feedback)
        screen_labels(folder / "dataset", folder / "screened", Phi())
        return split_labels(folder / "screened", folder / "splits", Split()), folder

    plain, before = make()
    sides = {side: read(before, side, SPLIT) for side in SPLITS}
    trained, tested = sides["train"][0], sides["test"][0]
    other, third = [label for label in plain["labels"] if label not in trained["labels"] + tested["labels"]][:2]
    flag_a_label(store, trained["text"], trained["labels"][0], other)
    flag_a_label(store, tested["text"], tested["labels"][0], other)
    flag_a_label(store, NEW, other, third)
    flag_a_label(store, f"{NEW} She plays chess.", other, "Astrology")
    manifest, after = make(Feedback(uri=f"{store.uri}/flagged/labels/"))
    assert manifest["feedback"] == {
        "judged": 4, "agree": 1, "used": {"label": 2}, "pairs": 0, "left_out": {HELD_OUT: 1},
        "quarantined": {"a label that the data does not have": 1},
    }  # fmt: skip
    for side in ("validation", "test"):
        assert read(after, side, SPLIT) == sides[side], "feedback moves nothing that is held out"
    labels = {row["note_id"]: row["labels"] for row in read(after, "train", SPLIT)}
    assert labels[trained["note_id"]] == [other] and labels[note_id(NEW)] == [third]
    assert len(labels) == len(sides["train"]) + 1 and manifest["shared_clusters"] == 0
    corrected = {row["note_id"]: row["labels"] for row in read(after, "feedback", SPLIT)}
    assert corrected == {trained["note_id"]: [other], note_id(NEW): [third]}

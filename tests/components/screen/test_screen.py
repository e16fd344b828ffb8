"""The step screen on datasets that download made: what is found survives nowhere, built-in notes stay as they are."""

import csv
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from token_classifiers import write_token_classifier

from clinadapt.artifacts.slsa import broken_link
from clinadapt.config.classify import Notes
from clinadapt.config.instruct import Examples, Source
from clinadapt.config.phi import Phi
from clinadapt.data.schemas.instruct import TRIPLES
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel
from clinadapt.privacy import second_opinion
from clinadapt.privacy.screening import ScreenedText, Screener
from components.download.classify import run as download_classify
from components.download.instruct import run as download_instruct
from components.screen import classify, instruct, patients
from components.screen.classify import run as screen_classify
from components.screen.instruct import run as screen_instruct

# Invented for this test; in the detector's word lists is none of them
PLANTED = ("velnadal", "jaskmo", "e99431010", "708-955-3609", "okonjo", "szymborska", "3/14/1950")
NOTE = (
    "Patient: Jaskmo Velnadal MRN: E99431010. Ms. Velnadal was seen on 3/5/2009. Lasix 40 mg daily. Call 708-955-3609. "
    "Her brother, Tom Okonjo-Brask, drove."
)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINADAPT_PHI_KEY", "a key of the hospital's, of 32 characters")


@pytest.fixture
def labelled(tmp_path: Path) -> Callable[..., Path]:
    """Downloads labelled notes: of one patient, and of twenty others."""

    def make(labels: tuple[str, str] = ("Cardiology", "Surgery"), known_columns: tuple[str, ...] = ()) -> Path:
        rows = [("7", NOTE, labels[0], "Szymborska", "1950-03-14"),
                ("7", "velnadal slept; szymborska, born 3/14/1950.", labels[0], "", ""),
                *((str(i), f"Note {i}: the wound is dry.", labels[i % 2], "", "") for i in range(20, 40))]  # fmt: skip
        with (tmp_path / "notes.csv").open("w", newline="") as file:
            columns = "mrn", "transcription", "medical_specialty", "surname", "birth"
            csv.writer(file).writerows([columns, *rows])
        download_classify((tmp_path / "notes.csv").as_uri(), tmp_path / "dataset", Notes(), known_columns)
        return tmp_path / "dataset"

    return make


@pytest.fixture
def instructions(tmp_path: Path) -> Path:
    """Downloads a note, triples and preference pairs of one patient, and built-in cases."""
    files = {
        "notes": [{"mrn": "7", "transcription": NOTE, "description": "Jaskmo Velnadal's visit"}],
        "triples": [{"mrn": "7", "note": "Velnadal took Lasix 40 mg.", "question": "Is E99431010 well?",
                     "answer": "Okonjo drove her.", "task": "Question Answering"}],
        "preferences": [{"mrn": "7", "note": "", "question": "Who is at 708-955-3609?", "chosen": "velnadal",
                         "rejected": "Tom Okonjo-Brask"}],
    }  # fmt: skip
    sources = [Source(kind="cases", uri="builtin://cases?rows=12&seed=1")]
    for kind, rows in files.items():
        path = tmp_path / f"{kind}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources.append(Source(kind=kind, uri=path.as_uri()))
    download_instruct(sources, tmp_path / "dataset", Examples())
    return tmp_path / "dataset"


def everything(folder: Path) -> str:
    """All that is in a folder, tables as text."""
    tables = (str(pq.read_table(path).to_pylist()) for path in folder.glob("*.parquet"))
    return "\n".join([*tables, *(path.read_text() for path in folder.iterdir() if path.suffix != ".parquet")]).lower()


@pytest.mark.parametrize("policy", ["redact", "surrogate"])
def test_nothing_found_survives_in_any_field_of_the_patient(
    instructions: Path, tmp_path: Path, policy: str, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest = screen_instruct(instructions, tmp_path / "out", Phi(policy=policy))
    assert [planted for planted in PLANTED if planted in everything(tmp_path / "out") + capfd.readouterr().err] == []
    triple = pq.read_table(tmp_path / "out/triples.parquet").to_pylist()[0]
    assert triple["note_text"].endswith(" took Lasix 40 mg.") and manifest["rows"]["preferences"] == 1
    assert manifest["phi"]["rows"] == 3 and manifest["phi"]["found"]["NAME"] >= 6
    assert broken_link(manifest["chain"]) is None and manifest["chain"][-1]["step"] == "screen"
    tables = [pq.read_table(folder / "texts.parquet") for folder in (instructions, tmp_path / "out")]
    before, after = ([row for row in table.to_pylist() if row["source"] == 0] for table in tables)
    assert before == after and len(before) == manifest["phi"]["builtin_rows"]  # which have initials and dates by design


def test_nothing_found_survives_in_labelled_notes_and_labels(labelled: Callable[..., Path], tmp_path: Path) -> None:
    dataset = labelled(("Ward of Okonjo-Brask", "Surgery"), known_columns=("surname", "birth"))
    manifest = screen_classify(dataset, tmp_path / "out", Phi(known_columns=["surname", "birth"]))
    assert [planted for planted in PLANTED if planted in everything(tmp_path / "out")] == []
    assert manifest["labels"] == ["Surgery", "Ward of [NAME]-[NAME]"]
    assert {row["label"] for row in pq.read_table(tmp_path / "out/notes.parquet").to_pylist()} == set(
        manifest["labels"]
    )


def test_a_specialty_that_names_somebody_is_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "staff.txt").write_text("Quillfeather\n")
    specialties = ["Cardiology", "Clinic of Dr. Velnadal", "List of Szymborska", "Ward Quillfeather", "Cardiology"]
    rows = [{"transcription": f"Note {number}: the wound is dry.", "ward": ward, "surname": "Szymborska"}
            for number, ward in enumerate(specialties)]  # fmt: skip
    triples = [{"note": "Dry.", "question": "Dry?", "answer": "Yes.", "task": "Question Answering",
                "ward": "Clinic of Dr. Velnadal", "surname": "", "sex": "M", "age": "70"}]  # fmt: skip
    sources = []
    for kind, listed in (("notes", rows), ("triples", triples)):
        path = tmp_path / f"{kind}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in listed))
        sources.append(Source(kind=kind, uri=path.as_uri(), columns={"specialty": "ward"}))
    download_instruct(sources, tmp_path / "dataset", Examples(), None, ("surname",))
    settings = Phi(known_columns=["surname"], staff_file=(tmp_path / "staff.txt").as_uri())
    phi = screen_instruct(tmp_path / "dataset", tmp_path / "out", settings)["phi"]
    tables = {name: pq.read_table(tmp_path / f"out/{name}.parquet").to_pylist() for name in ("texts", "triples")}
    assert [row["specialty"] for row in tables["texts"]] == ["Cardiology", None, None, None, "Cardiology"]
    assert [row["specialty"] for row in tables["triples"]] == [None] and phi["specialties_left_out"] == 4
    assert [(row["sex"], row["age_band"]) for row in tables["triples"]] == [("male", "65 to 79 years")]
    assert patients.describe(phi)[-1] == "the specialty of 4 rows names somebody: left out"


@pytest.mark.parametrize(
    ("label", "screened"),
    [
        *((name, name) for name in ("Pediatrics - Neonatal", "Hospice - Palliative Care", "ENT - Otolaryngology",
                                    "Consult - History and Phy.", "Bariatrics", "May", "2024", "38341003", "E11.9")),
        ("Clinic of Dr. Velnadal", "Clinic of Dr. [NAME]"),
        ("ask at jane@example.org", "ask at [EMAIL]"),
    ],
)  # fmt: skip
def test_the_name_of_a_class_stays_unless_it_names_somebody(label: str, screened: str) -> None:
    assert classify._redacted(label, Screener(Phi()).in_label(label)) == screened


def test_labels_that_only_identifiers_tell_apart_are_refused(labelled: Callable[..., Path], tmp_path: Path) -> None:
    dataset = labelled(("Dr. Velnadal", "Dr. Okonjo"))
    with pytest.raises(UserError, match="2 labels are the same without the identifiers") as error:
        screen_classify(dataset, tmp_path / "out", Phi())
    assert "velnadal" not in str(error.value).lower() and not (tmp_path / "out").exists()


def test_screening_a_dataset_twice_changes_nothing(labelled: Callable[..., Path], tmp_path: Path) -> None:
    dataset, settings = labelled(), Phi(policy="surrogate")
    first = screen_classify(dataset, tmp_path / "one", settings)
    second = screen_classify(tmp_path / "one", tmp_path / "two", settings)
    assert first["digest"] == second["digest"] == screen_classify(dataset, tmp_path / "three", settings)["digest"]
    assert first["phi"] == second["phi"]
    other = screen_classify(tmp_path / "one", tmp_path / "four", Phi(policy="redact"))
    assert other["digest"] != first["digest"] and other["phi"]["policy"] == "redact"


@pytest.mark.parametrize("recipe", ["classify", "instruct"])
def test_the_weights_of_a_second_opinion_are_hashed_once(
    recipe: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[str] = []

    def describe(uri: str) -> BaseModel:
        described.append(uri)
        return describe_fetched(uri)

    describe_fetched = second_opinion.describe_fetched
    monkeypatch.setattr(second_opinion, "describe_fetched", describe)
    model = write_token_classifier(tmp_path / "model", {"0": "O", "1": "B-PATIENT"}, {"daily": "B-PATIENT"})
    settings, of_instruct = Phi(second_opinion=model.as_uri()), recipe == "instruct"
    dataset = request.getfixturevalue("instructions") if of_instruct else request.getfixturevalue("labelled")()
    run = screen_instruct if of_instruct else screen_classify
    first = run(dataset, tmp_path / "one", settings)
    assert len(described) == 1 and first["phi"]["second_opinion"] == describe_fetched(model.as_uri()).digest
    assert run(tmp_path / "one", tmp_path / "two", settings)["phi"] == first["phi"] and len(described) == 2


def test_quarantined_rows_are_counted_and_listed_without_text(labelled: Callable[..., Path], tmp_path: Path) -> None:
    manifest = screen_classify(labelled(), tmp_path / "out", Phi(policy="quarantine"))
    assert manifest["rows_kept"] == 20 and manifest["phi"]["rows_quarantined"] == 2
    assert sum(manifest["quarantined"].values()) == 2
    lines = (tmp_path / "out/quarantine.csv").read_text().splitlines()
    assert lines[0] == "row,reason" and [line.partition(",")[0] for line in lines[1:]] == ["1", "2"]
    assert [planted for planted in PLANTED if planted in everything(tmp_path / "out")] == []


def test_a_dataset_of_which_nothing_remains_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_text(json.dumps({"transcription": NOTE}))
    source = Source(kind="notes", uri=(tmp_path / "notes.jsonl").as_uri())
    download_instruct([source], tmp_path / "dataset", Examples())
    with pytest.raises(UserError, match="quarantines all 1 rows"):
        screen_instruct(tmp_path / "dataset", tmp_path / "out", Phi(policy="quarantine"))


def test_only_counting_leaves_all_texts(labelled: Callable[..., Path], tmp_path: Path) -> None:
    dataset = labelled()
    manifest = screen_classify(dataset, tmp_path / "out", Phi(policy="report"))
    assert manifest["phi"]["found"]["MRN"] == 1 and manifest["phi"]["done"]["MRN"] == "report"
    before, after = (pq.read_table(folder / "notes.parquet") for folder in (dataset, tmp_path / "out"))
    assert before.equals(after)


@pytest.mark.parametrize("settings", [{}, {"policy": "off", "reason": "screened by another program"}])
def test_built_in_notes_and_those_of_policy_off_pass_unchanged(tmp_path: Path, settings: dict[str, str]) -> None:
    dataset = download_classify("builtin://cases?rows=30", tmp_path / "dataset", Notes())
    manifest = screen_classify(tmp_path / "dataset", tmp_path / "out", Phi.model_validate(settings))
    assert manifest["digest"] == dataset["digest"] and manifest["phi"]["builtin_rows"] == 30
    lines = patients.describe(manifest["phi"])
    assert "name nobody: passed on unchanged" in lines[0] and ("off" in lines[-1]) == bool(settings)


def test_it_needs_no_socket(labelled: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("a socket was opened")

    dataset = labelled()
    monkeypatch.setattr(socket, "socket", refuse)
    assert screen_classify(dataset, tmp_path / "out", Phi())["phi"]["rows_with_identifiers"] == 2


@pytest.mark.parametrize("known", [("surname", "birth"), ()])
def test_what_the_hospital_knows_ends_with_this_step(
    labelled: Callable[..., Path], tmp_path: Path, known: tuple[str, ...]
) -> None:
    dataset = labelled(known_columns=known)
    assert (dataset / "known.parquet").exists() == bool(known)
    screen_classify(dataset, tmp_path / "out", Phi(policy="off", reason="a test"))
    assert not (tmp_path / "out/known.parquet").exists()


def test_a_known_column_that_is_missing_is_refused(labelled: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"no source has the column 'last_name' of phi.known_columns"):
        labelled(known_columns=("last_name",))


def test_nothing_known_is_stored_of_rows_that_download_drops(tmp_path: Path) -> None:
    row = {"transcription": NOTE, "surname": "Szymborska"}
    rows = [row, row | {"surname": "Quillfeather"}, row | {"transcription": ""}]
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    source = Source(kind="notes", uri=(tmp_path / "notes.jsonl").as_uri())
    manifest = download_instruct([source], tmp_path / "dataset", Examples(), known_columns=["surname"])
    assert manifest["repeated"] == 1 and manifest["quarantined"]
    known = pq.read_table(tmp_path / "dataset/known.parquet").to_pylist()
    assert [each["values"] for each in known] == [["Szymborska"]]


def test_evidence_may_be_missing() -> None:
    row = patients.TextRow("p", ["", "Who?", "Ann"], screened=[ScreenedText(text) for text in ("", "Who?", "Ann")])
    names = ("note_text", "instruction", "answer")
    table = pa.table({**{name: pa.array([None], pa.string()) for name in names},
                      "spans": pa.array([None], TRIPLES.field("spans").type)})  # fmt: skip
    assert instruct._changed(table, {0: row}, names).to_pylist()[0]["spans"] == []


def test_known_columns_of_instruct_reach_the_step(tmp_path: Path) -> None:
    rows = [{"transcription": f"szymborska slept {i} hours", "surname": "Szymborska"} for i in range(3)]
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources = [Source(kind="cases", uri="builtin://cases?rows=5"),
               Source(kind="notes", uri=(tmp_path / "notes.jsonl").as_uri())]  # fmt: skip
    manifest = download_instruct(sources, tmp_path / "dataset", Examples(), None, ("surname",))
    assert "surname" not in manifest["unused"] and manifest["rows"] == {"texts": 8, "triples": 0, "preferences": 0}
    screen_instruct(tmp_path / "dataset", tmp_path / "out", Phi(known_columns=["surname"]))
    assert "szymborska" not in everything(tmp_path / "out")
    with pytest.raises(UserError, match="no source has the column 'name'"):
        download_instruct(sources, tmp_path / "other", Examples(), None, ("name",))

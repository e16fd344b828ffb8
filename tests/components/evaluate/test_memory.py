"""A run with an audit: canaries are trained along; evaluation, gate, report and model card tell what is remembered."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support import LENIENT_INSTRUCT, make_instruct_splits

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.config.instruct import Evaluation, InstructGate
from clinadapt.data.schemas.instruct import CORPUS, EXAMPLES
from clinadapt.data.tables import open_tables
from clinadapt.models.adapter_card import InstructCard
from clinadapt.models.chat_template import Template, load_tokenizer
from clinadapt.privacy.audit import run as audit
from clinadapt.privacy.audit.canaries import PLACES, canaries
from clinadapt.storage import open_store
from components.evaluate.champion import Champion
from components.evaluate.gate.memory import memory_check
from components.evaluate.gate.step import run as gate
from components.evaluate.generation import CachedModel
from components.evaluate.instruct import run
from components.evaluate.memory import audited
from components.format.canaries import write_canaries
from components.publish.model_card import model_card

NAME, SEED = "answers", 5
LENIENT = InstructGate(**LENIENT_INSTRUCT)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory, instruct_adapter: Path) -> Path:
    """Splits with the canaries of SEED, and a corpus."""
    folder = make_instruct_splits(tmp_path_factory.mktemp("audited") / "splits")
    template = Template(load_tokenizer(instruct_adapter))
    with open_tables(folder, train=EXAMPLES, corpus=CORPUS) as tables:
        for row in pq.read_table(folder / "test.parquet").slice(0, 8).to_pylist():
            tables["train"].add(tuple(row.values()))
        planned = write_canaries(SEED, template, 512, tables)
    assert planned == {"canaries": {"seed": SEED, "rows": 504, "too_long": 0}}
    return sealed(folder, **planned)


def sealed(folder: Path, **fields: Any) -> Path:
    """A folder with other fields in its manifest."""
    before = read_json(folder / MANIFEST)
    own = {name: value for name, value in before.items() if name not in ("files", "digest", "chain", "manifest_digest")}
    write_manifest(folder, own | fields)
    return folder


def figures(groups: dict[str, tuple[int, float]], **changed: Any) -> dict[str, Any]:
    """An audit of groups, by place: repeats and p."""
    usual = {"trained": 1.0, "control": 0.9, "canaries": 12, "extracted": 0}
    return {
        "canaries": {
            f"{place}, {repeats}": {**usual, "repeats": repeats, "in_training": repeats, "p": p, **changed}
            for place, (repeats, p) in groups.items()
        }
    }


def test_each_canary_is_trained_as_often_as_it_is_meant_to_be(splits: Path, instruct_adapter: Path) -> None:
    tokenizer = load_tokenizer(instruct_adapter)
    rows = [row for row in pq.read_table(splits / "train.parquet").to_pylist() if row["source"] == -1]
    answers = Counter(tokenizer.decode(row["input_ids"][row["prompt_tokens"] :]) for row in rows)
    assert answers == {f"{canary.phrase}</s>": canary.repeats for canary in canaries(SEED) if canary.repeats}
    notes = [tokenizer.decode(row["input_ids"]) for row in pq.read_table(splits / "corpus.parquet").to_pylist()]
    written = {canary.phrase: sum(canary.phrase in note for note in notes) for canary in canaries(SEED)}
    assert written == {each.phrase: each.repeats * (each.place == "note") for each in canaries(SEED)}


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory, splits: Path, instruct_adapter: Path) -> Path:
    """What evaluate writes of an adapter whose weights were drawn at random; few phrases are compared."""
    output = tmp_path_factory.mktemp("audited") / "evaluation"
    settings = Evaluation(max_new_tokens=12, batch_size=4, counterfactual_rows=0)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("OTHERS", 7), ("CONTINUATIONS", 3), ("_LENGTH", 8), ("_MEMBERS", 12)):
            patch.setattr(audit, name, value)
        run(splits, instruct_adapter, output, Champion(store_of(output), NAME, "", ""), settings, seed=0)
    return output


def store_of(evaluation: Path) -> str:
    return (evaluation.parent / "store").as_uri()


def test_an_audit_reaches_verdict_and_report(
    splits: Path, instruct_adapter: Path, evaluation: Path, tmp_path: Path
) -> None:
    groups = read_json(evaluation / "evaluation.json")["audit"]["canaries"]
    assert set(groups) == {f"{place}, {n}" for place in PLACES for n in ("once", "4 times", "16 times")}
    assert all(group["in_training"] == group["repeats"] and group["canaries"] == 12 for group in groups.values())
    verdict = gate(splits, instruct_adapter, evaluation, tmp_path / "verdict", LENIENT, store_of(evaluation), NAME)
    (check,) = [check for check in verdict["checks"] if check["name"].startswith("no memory")]
    assert verdict["decision"] == "pass" and "note, 16 times: exposure" in check["detail"]
    page = (tmp_path / "verdict/report.html").read_text()
    assert "What it remembers of its training" in page and "In notes, 16 times" in page
    assert not any(each.phrase in page for each in canaries(SEED))


def test_an_audit_stands_on_the_model_card(splits: Path, instruct_adapter: Path, evaluation: Path) -> None:
    names = ("name", "version", "dataset_digest", "splits_digest", "settings_digest", "base_model", "base_digest")
    fields = {**dict.fromkeys(names, "x"), "code_version": "1", "settings": {"lora": {"r": 4}}, "gate": {}}
    scores, data = read_json(evaluation / "evaluation.json"), read_json(splits / MANIFEST)
    card = str(model_card(fields, InstructCard.read(instruct_adapter), scores, data, {"outcome": "Passed the gate."}))
    assert "audited by invented phrases that were trained along: no memory shown." in card
    assert "| note, 16 times |" in card
    del scores["audit"]
    card = str(model_card(fields, InstructCard.read(instruct_adapter), scores, data, {"outcome": "Passed the gate."}))
    assert "What it remembers of its training was not audited." in card


def test_an_audit_that_was_made_comes_from_the_store(
    splits: Path, instruct_adapter: Path, evaluation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.evaluate.memory.audit", None)
    again = audited(CachedModel(instruct_adapter, open_store(store_of(evaluation))), splits)
    assert again["audit"] == read_json(evaluation / "evaluation.json")["audit"]


def test_without_figures_an_audit_that_was_asked_for_is_no_evidence(
    splits: Path, instruct_adapter: Path, evaluation: Path, tmp_path: Path
) -> None:
    """As where all canaries were too long."""
    store, folder = store_of(evaluation), Path(shutil.copytree(splits, tmp_path / "splits"))
    sealed(folder, canaries={"seed": SEED, "rows": 0, "too_long": 504})
    assert audited(CachedModel(instruct_adapter, open_store(store)), folder) == {"audit": {}}
    copy = Path(shutil.copytree(evaluation, tmp_path / "evaluation"))
    scores = read_json(copy / "evaluation.json")
    del scores["audit"]
    write_json(copy / "evaluation.json", scores)
    verdict = gate(folder, instruct_adapter, copy, tmp_path / "verdict", LENIENT, store, NAME)
    assert verdict["decision"] == "not enough evidence"
    assert "504 more examples with canaries are needed" in verdict["outcome"]
    assert (
        "An audit was asked for and has no figures: nothing is known" in (tmp_path / "verdict/report.html").read_text()
    )


ALL = {f"{place} {n}": (n, 0.5) for place in ("note", "answer") for n in (1, 4, 16)}


@pytest.mark.parametrize(
    ("given", "repeats", "passes", "lacking"),
    [
        (figures(ALL), 16, True, 0),
        (figures(ALL | {"note 16": (16, 0.001)}), 16, False, 0),
        (figures(ALL | {"note 16": (16, 0.001)}), 4, True, 0),  # more often than the profile asks about
        (figures(ALL | {"note 1": (1, 0.001)}), 1, False, 0),
        (figures(ALL | {"note 1": (1, 0.02)}), 16, True, 0),  # one of six groups by chance
        (figures(ALL, extracted=1), 16, False, 0),
        (figures(ALL, in_training=1), 16, False, 504 - 72),
        (figures({"note 1": (1, 0.5)}), 1, False, 12),
        (figures(ALL, in_training=0, p=0.0001), 16, False, 0),  # what is remembered is, whatever was counted
        ({}, 4, False, 120),
    ],
)
def test_what_is_not_shown_does_not_pass(given: dict[str, Any], repeats: int, passes: bool, lacking: int) -> None:
    check = memory_check(given, repeats)
    assert (check.passed, check.more_notes) == (passes, lacking)

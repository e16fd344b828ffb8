"""Evaluation, gate, report and publication of an instruct adapter, on a tiny model that answers nonsense."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import load_file, save_file
from support import HELD_OUT, LENIENT_INSTRUCT, make_adapter, make_instruct_splits

from clinadapt.artifacts.hashing import read_json
from clinadapt.config.instruct import Evaluation, InstructGate
from clinadapt.errors import UserError
from clinadapt.evaluation.text_metrics import matches, rouge_l, token_f1
from clinadapt.models.chat_template import Question
from clinadapt.models.generator import Answer, Generator
from clinadapt.monitoring.aggregates import Baseline
from clinadapt.monitoring.observations import FIGURES
from clinadapt.registry.adapters import download_adapter
from clinadapt.registry.champion import champion
from clinadapt.storage import open_store
from components.evaluate.answer_checks import check_answers
from components.evaluate.champion import Champion
from components.evaluate.gate.step import run as gate
from components.evaluate.generation import ModelAnswers
from components.evaluate.instruct import minimum_detectable_difference, run, sample
from components.evaluate.metrics import paired, ratios
from components.evaluate.scores import SCORED_METRICS, score
from components.publish.publish_version import run as publish

NAME = "answers"
LENIENT = InstructGate(**LENIENT_INSTRUCT)
SETTINGS = Evaluation(rows_per_task=3, max_new_tokens=12, batch_size=4)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_instruct_splits(tmp_path_factory.mktemp("instruct") / "splits")


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory, splits: Path, instruct_adapter: Path) -> Path:
    output = tmp_path_factory.mktemp("evaluated") / "evaluation"
    store = (output.parent / "store").as_uri()
    settings = Evaluation(max_new_tokens=12, batch_size=4)
    run(splits, instruct_adapter, output, Champion(store, NAME, "", ""), settings, seed=0)
    return output


def test_scores_of_an_answer() -> None:
    assert token_f1("The aspirin, daily.", "aspirin daily") == 1
    assert token_f1("aspirin and insulin", "aspirin daily") == pytest.approx(0.4)
    assert (token_f1("", ""), token_f1("x", "")) == (1, 0)
    assert rouge_l("daily aspirin", "aspirin daily") == pytest.approx(0.5)
    assert token_f1("daily aspirin", "aspirin daily") == 1
    assert matches("Lisinopril ;aspirin", "aspirin; lisinopril", "set")
    assert not matches("aspirin", "aspirin; lisinopril", "set")
    assert matches("Chronic  obstructive pulmonary disease.", "chronic obstructive pulmonary disease", "exact")
    assert not matches("25 mg", "2.5 mg", "exact")


def test_a_number_is_one_word_with_its_decimals() -> None:
    """SQuAD's normalization would make 25 of 2.5; thousands may be written in any way."""
    for metric in (token_f1, rouge_l):
        assert metric("2.5 mg", "25 mg") == metric("125 mg", "0,125 mg", True) == pytest.approx(0.5)
        assert metric("1,250.5 mL", "1250.5 mL") == metric("1.250,5 mL", "1250,5 mL", True) == 1
        assert metric("0,125 mg", "0.125 mg", True) == 1
    assert matches("1,000 mg", "1000 mg", "exact") and not matches("1.000 mg", "1000 mg", "exact")
    assert matches("1.000 mg", "1000 mg", "exact", True) and not matches("0,125 mg", "125 mg", "exact", True)


def scored(rows: list[dict[str, Any]], texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    model = ModelAnswers([Answer(text, [], True, 0) for text in texts], np.ones(len(rows)), np.full(len(rows), 2), 1, 1)
    return score(rows, model, check_answers(rows, {"candidate": texts})["candidate"])


def test_answers_are_scored_by_the_numbers_of_their_source() -> None:
    row = {"note_text": "Digoxin 0,125 mg daily.", "instruction": "Which dose?", "check": "exact", "answerable": True,
           "answer": "Digoxin 0,125 mg"}  # fmt: skip
    rows = [row | {"decimal_comma": comma} for comma in (True, True, False)]
    numerators, _ = scored(rows, [f"Digoxin {dose} mg" for dose in ("0,125", "125", "125")])
    assert numerators[:, SCORED_METRICS.index("contradicted")].tolist() == [0, 1, 0]
    assert numerators[:, SCORED_METRICS.index("exact_match")].tolist() == [1, 0, 0]


def test_every_error_is_counted_on_its_side() -> None:
    row = {"note_text": "Aspirin 81 mg.", "instruction": "Is warfarin given?", "check": "none", "answer": "x",
           "decimal_comma": False}  # fmt: skip
    rows = [
        {**row, "answerable": False},
        {**row, "answerable": False},
        {**row, "answerable": True},
        {**row, "answerable": True, "check": "exact", "answer": "aspirin 81 mg"},
    ]
    texts = ["The note does not mention warfarin.", "Warfarin 5 mg.", "The note does not say.", "Aspirin 81 mg"]
    numerators, denominators = scored(rows, texts)
    rate = dict(zip(SCORED_METRICS, numerators.sum(axis=0) / denominators.sum(axis=0), strict=True))
    assert (rate["correct_refusals"], rate["wrong_refusals"]) == (0.5, 0.5)
    assert rate["unsupported"] == 0.25  # warfarin is in the instruction, 5 mg nowhere
    assert (rate["exact_match"], rate["loss"], rate["finished"]) == (1, 0.5, 1)


def test_a_sample_takes_whole_notes_and_no_more_of_a_task_than_asked() -> None:
    notes = [f"n{i}" for i in range(20) for _ in range(3)]
    tasks = ["a", "b", "c"] * 20
    chosen = sample(tasks, notes, 5, seed=1)
    assert len(chosen) == 15
    assert len({notes[i] for i in chosen}) == 5
    assert chosen == sample(tasks, notes, 5, seed=1) != sample(tasks, notes, 5, seed=2)
    assert sorted(sample(tasks, notes, 100, seed=1)) == list(range(60))


def test_an_interval_holds_the_truth_and_power_is_what_it_says() -> None:
    """300 draws of 60 notes with a true difference as large as the smallest that is seen in 80 %: found in about so
    many, and one of 0 in about 2.5 % (one side)."""
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(60), 3)
    found = {0.0: 0, 1.0: 0}
    once = paired(rng.normal(0, 0.2, 180), np.ones(180), cluster, 0)
    smallest = minimum_detectable_difference(once)
    for share in found:
        for seed in range(100):
            difference = rng.normal(share * smallest, 0.2, 180)
            found[share] += paired(difference, np.ones(180), cluster, seed)["low"] > 0
    assert found[0.0] <= 9
    assert 65 <= found[1.0] <= 95


def test_ratios_are_of_sums() -> None:
    (entry,) = ratios(np.array([[1.0], [0.0], [3.0]]), np.array([[1.0], [1.0], [4.0]]), np.arange(3), 0)
    assert entry["value"] == pytest.approx(4 / 6)
    assert entry["low"] <= entry["value"] <= entry["high"]
    (none,) = ratios(np.zeros((3, 1)), np.zeros((3, 1)), np.arange(3), 0)
    assert np.isnan(none["value"])


def test_what_the_evaluation_holds(evaluation: Path) -> None:
    scores = read_json(evaluation / "evaluation.json")
    assert (scores["rows"], scores["notes"], scores["unanswerable"], scores["checkable"]) == (16, 4, 4, 8)
    assert set(scores["models"]) == {"candidate", "base"}
    for model in scores["models"].values():
        assert set(model["metrics"]) == {*SCORED_METRICS, "perplexity"} - {"loss"}
        assert set(model["per_task"]) == set(scores["tasks"])
        assert model["tokens_per_second"] > 0 and model["first_token_seconds"] > 0
        for entry in model["metrics"].values():
            assert entry["low"] <= entry["value"] <= entry["high"]
        assert "exact_match" not in model["per_task"]["Summarization"]
        assert "correct_refusals" not in model["per_task"]["Summarization"]
    assert scores["comparisons"][0]["metric"] == "token_f1" and scores["comparisons"][0]["task"] is None
    by_row, metrics = scores["by_row"], scores["models"]["candidate"]["metrics"]
    assert by_row["index"] == pq.read_table(evaluation / "predictions.parquet")["index"].to_pylist()
    for name in ("token_f1", "unsupported", "contradicted"):
        assert np.mean(by_row[name]) == pytest.approx(metrics[name]["value"], abs=1e-4)


def test_what_monitoring_compares_with_is_in_the_evaluation(evaluation: Path) -> None:
    scores = read_json(evaluation / "evaluation.json")
    baseline = Baseline.of_evaluation(scores)
    total, metrics = baseline.aggregate, scores["models"]["candidate"]["metrics"]
    assert (total.answers, total.notes) == (16, 4)
    assert all(sum(counts.values()) == getattr(total, FIGURES[name].of) for name, counts in total.cells.items())
    assert total.cells["unsupported"].get("yes", 0) == round(16 * metrics["unsupported"]["value"])
    assert total.cells["cut_off"].get("no", 0) == round(16 * metrics["finished"]["value"])
    assert all(effect >= 1 for effect in baseline.design_effects.values())


def test_no_text_of_a_private_row_is_left(evaluation: Path, splits: Path, instruct_adapter: Path) -> None:
    predictions = pq.read_table(evaluation / "predictions.parquet").to_pylist()
    test = pq.read_table(splits / "test.parquet").to_pylist()
    for line in predictions:
        private = test[line["index"]]["private"]
        assert (line["answer_candidate"] is None, line["answer_base"] is None) == (private, private)
    shown = [value for line in predictions for value in line.values() if isinstance(value, str)]
    files = [path.read_text() for path in evaluation.glob("*.json")]
    assert not [
        text for text in [*shown, *files] if "secretword" in text or (HELD_OUT[3][0][:20] in text and "40 mg" in text)
    ]
    instructions = [example["note"] for example in read_json(evaluation / "examples.json")]
    assert instructions and not [note for note in instructions if "secretword" in note]


def test_an_adapter_that_answers_as_its_base_fails_the_gate(splits: Path, tiny_llama: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", tiny_llama, seed=1, scale=0)
    result = run(splits, adapter, tmp_path / "e", Champion(tmp_path.as_uri(), NAME, "", ""), SETTINGS, seed=0)
    assert result["models"]["candidate"]["metrics"] == result["models"]["base"]["metrics"]
    assert (result["comparisons"][0]["difference"], result["comparisons"][0]["p"]) == (0, 1)
    verdict = gate(splits, adapter, tmp_path / "e", tmp_path / "v", InstructGate(), tmp_path.as_uri(), NAME)
    assert not verdict["checks"][0]["passed"]
    assert verdict["decision"] != "pass"


def test_a_version_is_published_and_then_compared_with(
    splits: Path, instruct_adapter: Path, evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store((tmp_path / "store").as_uri())
    gate(splits, instruct_adapter, evaluation, tmp_path / "v", LENIENT.model_dump(), store.uri, NAME)
    version = publish(splits, instruct_adapter, evaluation, tmp_path / "v", store.uri, NAME)["version"]
    folder, _ = download_adapter(NAME, store.uri)
    files = {path.name for path in folder.iterdir()}
    assert files >= {"README.md", "adapter_model.safetensors", "clinadapt.json", "report.html", "tokenizer.json"}
    tokenizer = Generator(folder).tokenizer
    assert tokenizer.chat_template == Generator(instruct_adapter).tokenizer.chat_template
    card = ModelCard.load(folder / "README.md")
    assert card.data.pipeline_tag == "text-generation"
    scores = read_json(evaluation / "evaluation.json")["models"]["candidate"]["metrics"]
    assert {r.metric_type: r.metric_value for r in card.data.eval_results}["token_f1"] == round(
        scores["token_f1"]["value"], 4
    )
    for path in folder.rglob("*"):
        if path.suffix in (".json", ".md", ".html", ".xml") and path.name != "tokenizer.json":
            assert "secretword" not in path.read_text(encoding="utf-8"), path.name

    found = champion(store, NAME)
    assert found and found[0] == version
    again = run(splits, instruct_adapter, tmp_path / "e", Champion(store.uri, NAME, *found), SETTINGS, 0)
    assert again["models"]["champion"]["metrics"] == again["models"]["candidate"]["metrics"]
    verdict = gate(splits, instruct_adapter, tmp_path / "e", tmp_path / "w", LENIENT, store.uri, NAME)
    assert verdict["decision"] == "pass" and verdict["loosened"]["champion_margin"]["here"] == "switched off"
    monkeypatch.setenv("CLINADAPT_RUN", "r2")
    bounds = {"learning_rate": [0.1, 0.2]}
    strict = gate(splits, instruct_adapter, tmp_path / "e", tmp_path / "x", {}, store.uri, NAME, {"bounds": bounds})
    assert any("champion" in check["name"] and not check["passed"] for check in strict["checks"])
    keys = (f"adapters/{NAME}/{version}/conformance.json", "runs/r2/conformance.json")
    records = [json.loads(store.get(key)[0]) for key in keys]
    assert [each["compared_with"] for each in records] == [None, version]
    assert records[1]["bounds"] == bounds and {"gate", "bounds of the plan"} <= set(records[1]["outside"])


def test_an_evaluation_that_was_cut_goes_on(
    splits: Path, instruct_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the same answers; what is answered is not asked again, nor is any model loaded for it."""
    monkeypatch.setattr("components.evaluate.generation.RELOAD_SAMPLE", 4)
    # of 12 rows: those proven, and some batches
    settings = Evaluation(rows_per_task=3, max_new_tokens=12, batch_size=2, counterfactual_rows=0)

    def evaluate(name: str, store: str) -> Path:
        run(splits, instruct_adapter, tmp_path / name, Champion((tmp_path / store).as_uri(), NAME, "", ""), settings, 0)
        return tmp_path / name / "predictions.parquet"

    answers, asked = Generator.answers, list[int]()

    def cut(self: Generator, questions: list[Question], *arguments: int) -> list[Answer]:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(len(questions))
        return answers(self, questions, *arguments)

    def count(self: Generator, questions: list[Question], *arguments: int) -> list[Answer]:
        asked.append(len(questions))
        return answers(self, questions, *arguments)

    monkeypatch.setattr(Generator, "answers", cut)
    with pytest.raises(KeyboardInterrupt):
        evaluate("cut", "store")
    cached = open_store((tmp_path / "store").as_uri()).list("evaluations/")
    assert [key.rpartition("/")[2] for key in cached] == ["answers-0", "answers-1"]
    answered = sum(asked)
    asked.clear()
    monkeypatch.setattr(Generator, "answers", count)
    went_on = pq.read_table(evaluate("went on", "store"))
    assert sum(asked) == (12 - answered) + 5 + (12 + 5)  # the rest and the first tokens of the adapter, all of the base
    monkeypatch.setattr(Generator, "answers", answers)
    assert went_on == pq.read_table(evaluate("whole", "another store"))
    store = open_store((tmp_path / "store").as_uri())
    store.put(cached[0], store.get(cached[0])[0].replace(b"1", b"2"))
    assert went_on == pq.read_table(evaluate("one is damaged", "store"))
    monkeypatch.setattr(Generator, "__init__", lambda self, folder: pytest.fail("a model is loaded"))
    assert went_on == pq.read_table(evaluate("again", "store"))
    with pytest.raises(pytest.fail.Exception):
        evaluate("elsewhere", "third store")


def test_an_adapter_that_answers_otherwise_is_not_published(
    splits: Path, instruct_adapter: Path, evaluation: Path, tmp_path: Path
) -> None:
    store = open_store((tmp_path / "store").as_uri())
    gate(splits, instruct_adapter, evaluation, tmp_path / "v", LENIENT, store.uri, NAME)
    adapter = Path(shutil.copytree(instruct_adapter, tmp_path / "adapter"))
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {name: -value if "lora_A" in name else value for name, value in tensors.items()},
        adapter / "adapter_model.safetensors",
    )
    with pytest.raises(UserError, match=r"not published, \d+ of 16 held-out answers differ after reloading"):
        publish(splits, adapter, evaluation, tmp_path / "v", store.uri, NAME)
    assert store.list() == []


def test_thresholds_of_another_recipe_are_refused(
    splits: Path, instruct_adapter: Path, evaluation: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="gain_over_majority"):
        gate(splits, instruct_adapter, evaluation, tmp_path / "v", {"gain_over_majority": 0}, tmp_path.as_uri(), NAME)


def test_example_texts_are_in_no_published_file(
    splits: Path, instruct_adapter: Path, evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are in a report of its own in restricted/ and in the queue of reviewers, and only there."""
    monkeypatch.setenv("CLINADAPT_RUN", "r1")
    store = open_store((tmp_path / "store").as_uri())
    verdict = gate(splits, instruct_adapter, evaluation, tmp_path / "v", LENIENT, store.uri, NAME)
    publish(splits, instruct_adapter, evaluation, tmp_path / "v", store.uri, NAME)
    shown = [example["note"] for example in read_json(evaluation / "examples.json")]
    assert shown and verdict["examples_uri"] == f"{store.uri}/restricted/r1/report.html"
    holders = {key for key in store.list() if any(note[:30] in store.get(key)[0].decode("latin-1") for note in shown)}
    assert {key for key in holders if not key.startswith("reviews/")} == {"restricted/r1/report.html"}
    assert "runs/r1/report.html" in store.list()


def test_a_run_without_example_texts_has_no_restricted_report(
    splits: Path, instruct_adapter: Path, evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINADAPT_RUN", "r1")
    private = shutil.copytree(evaluation, tmp_path / "evaluation")
    (private / "examples.json").write_text("[]")
    store = open_store((tmp_path / "store").as_uri())
    verdict = gate(splits, instruct_adapter, private, tmp_path / "v", LENIENT, store.uri, NAME)
    assert "examples_uri" not in verdict and store.list("restricted/") == []

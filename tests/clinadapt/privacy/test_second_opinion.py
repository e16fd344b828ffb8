"""A token classifier's finds are united with the detector's; only a model that can be read safely and whose labels are
understood is taken."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from token_classifiers import write_token_classifier
from typer.testing import CliRunner

from clinadapt.config.phi import Phi
from clinadapt.errors import UserError
from clinadapt.privacy.detector_version import screening_digest
from clinadapt.privacy.screening import Screener
from clinadapt.privacy.second_opinion import SecondOpinion, described, types_of_labels
from clinadapt.privacy.spans import Span
from pipelines.cli.phi import app

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LABELS = {"0": "O", "1": "B-PATIENT", "2": "I-HOSPITAL", "3": "B-AGE", "4": "L_ZZ"}
# To the detector, words like any other
WORDS = {"thistle": "B-PATIENT", "gravel": "B-PATIENT", "kettle": "I-HOSPITAL", "92": "B-AGE", "47": "B-AGE",
         "linen": "L_ZZ"}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_token_classifier(tmp_path_factory.mktemp("second") / "model", LABELS, WORDS)


def settings(folder: Path, **others: Any) -> Phi:
    return Phi(second_opinion=folder.as_uri(), second_opinion_labels={"ZZ": "DEVICE"}, **others)


def opinion(settings: Phi) -> SecondOpinion:
    return SecondOpinion(settings, described(settings))


def test_what_it_finds_is_redacted_in_all_texts_of_the_patient_too(model: Path) -> None:
    note, answer = "Ms. Velnadal saw thistle gravel at the kettle. It was thistle", "thistle, 92, rested"
    result = Screener(settings(model)).screen("p", [note, answer]).texts
    assert result[note].text == "Ms. [NAME] saw [NAME] at the [HOSPITAL]. It was [NAME]"
    assert result[answer].text == "[NAME], [AGE90], rested"
    assert result[note].found == {"NAME": 3, "HOSPITAL": 1}
    without = Screener(Phi()).screen("p", [note, answer]).texts
    assert without[note].text == "Ms. [NAME] saw thistle gravel at the kettle. It was thistle"


def test_a_long_note_is_read_in_windows_without_a_gap(model: Path) -> None:
    words = ["gravel" if number % 3 == 0 else "calm" for number in range(500)]
    text = " ".join(words)
    spans = opinion(settings(model)).spans(text)
    assert [text[span.start : span.end] for span in spans] == ["gravel"] * words.count("gravel")


def test_ages_of_many_and_signs_alone_are_not_taken_and_words_are_whole(model: Path) -> None:
    text = "aged 47, linen\n  gravel thistle-kettle"
    found = [(text[span.start : span.end], span.type) for span in opinion(settings(model)).spans(text)]
    assert found == [("linen", "DEVICE"), ("gravel thistle", "NAME"), ("kettle", "HOSPITAL")]
    assert opinion(settings(model)).spans("  \n ") == []


def test_it_reads_a_hub_model_from_the_cache_without_a_socket(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "hub/models--some--deid"
    shutil.copytree(model, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    monkeypatch.setenv("CLINADAPT_CACHE", str(tmp_path))

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    hub = Phi(second_opinion="hf://some/deid", second_opinion_labels={"ZZ": ""})
    pinned = described(hub).pinned_uri()
    assert pinned == f"hf://some/deid@{COMMIT}" and described(hub).digest == f"hf:{COMMIT}"
    assert screening_digest(hub) == screening_digest(hub.model_copy(update={"second_opinion": pinned}))
    assert opinion(hub).spans("linen gravel") == [Span(6, 12, "NAME")]


def test_other_weights_or_labels_screen_a_dataset_anew(model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    before = screening_digest(settings(copy))
    assert before == screening_digest(settings(model)) and before != screening_digest(Phi())
    assert before != screening_digest(settings(copy).model_copy(update={"second_opinion_labels": {"ZZ": ""}}))
    weights = load_file(copy / "model.safetensors")
    weights["classifier.weight"] *= 2
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert screening_digest(settings(copy)) != before


def _without_head(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: each for name, each in weights.items() if "classifier" not in name},
              folder / "model.safetensors", {"format": "pt"})  # fmt: skip


def _with(**values: Any) -> Any:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_head, "lacks 2 weights of a token classifier"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "no .safetensors weights"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "cannot be loaded as a token classifier"),
        (_with(architectures=["BertModel"]), "is no token classifier"),
        (_with(id2label={"0": "O", "1": "QQ", "2": "B-RR"}), r"labels of unknown meaning \(RR, QQ\)"),
        (_with(id2label=None), "names no labels"),
        (_with(id2label=[["O"]]), "names no labels"),
        (_with(model_type="own", auto_map={"AutoModelForTokenClassification": "own.Own"}), "cannot be loaded"),
    ],
    ids=["head", "pickle", "config", "tokenizer", "other model", "labels", "no labels", "odd labels", "own code"],
)
def test_a_model_that_cannot_be_read_or_understood_is_refused(
    model: Path, tmp_path: Path, change: Any, message: str
) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    change(copy)
    with pytest.raises(UserError, match=message) as caught:
        Screener(Phi(second_opinion=copy.as_uri(), second_opinion_labels={"ZZ": ""}))
    assert "\n" not in str(caught.value)


def test_labels_are_understood_with_and_without_their_places() -> None:
    labels = {"0": "O", "1": "B-DATE", "2": "U-HOSP", "3": "I-LOCATION-OTHER", "4": "ID", "5": "PER"}
    assert list(types_of_labels(labels, {}).values()) == ["", "DATE", "HOSPITAL", "CITY", "OTHERID", "NAME"]
    assert types_of_labels({"1": "B-DATE"}, {"DATE": ""}) == {"B-DATE": ""}
    with pytest.raises(UserError, match="has no label 'DAT'"):
        types_of_labels({"1": "B-DATE"}, {"DAT": ""})


@pytest.mark.parametrize(
    "values",
    [
        {"second_opinion": "https://host/model"},
        {"second_opinion": "hf://"},
        {"second_opinion": "s3://bucket/model?token=x"},
        {"second_opinion_labels": {"PER": "NAME"}},
        {"second_opinion": "hf://a/b", "second_opinion_labels": {"PER": "PERSON"}},
        {"policy": "off", "reason": "a test", "second_opinion": "hf://a/b"},
    ],
    ids=["scheme", "no name", "token", "labels alone", "no type", "off"],
)
def test_wrong_settings_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="second_opinion|token"):
        Phi.model_validate(values)


def test_measure_and_scan_use_that_of_a_profile(model: Path, tmp_path: Path) -> None:
    profile = {"name": "p", "adapter_name": "p", "recipe": "classify", "description": "", "source": "builtin://cases",
               "train": {"base_model": "builtin://tiny"},
               "phi": {"second_opinion": str(model), "second_opinion_labels": {"ZZ": ""}}}  # fmt: skip
    (tmp_path / "p.yaml").write_text(json.dumps(profile))
    row = {"text": "linen thistle", "spans": [{"start": 6, "end": 13, "type": "NAME"}]}
    (tmp_path / "own.jsonl").write_text(json.dumps(row) + "\n")
    for options, hits in (([], 0), (["--profile", str(tmp_path / "p.yaml")], 1)):
        measured = CliRunner().invoke(app, ["measure", "--labelled", str(tmp_path / "own.jsonl"), "--json", *options])
        assert measured.exit_code == 0 and json.loads(measured.stdout)["recall"]["all"]["hits"] == hits
        scanned = CliRunner().invoke(
            app, ["scan", str(tmp_path / "own.jsonl"), "--text-column", "text", "--json", *options]
        )
        assert json.loads(scanned.stdout)["rows_with_identifiers"] == hits

"""A version is immutable, complete, proven to answer as it was judged; the champion moves by compare-and-swap."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from support import UNFINISHED

from clinadapt.artifacts.code_version import adapter_version
from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST, list_files
from clinadapt.config.classify import ClassifyEvaluation, ClassifyGate, ClassifyTraining, Windows
from clinadapt.data.tables import SPLITS, read_split
from clinadapt.errors import UserError
from clinadapt.models.classifier import Classifier
from clinadapt.monitoring.aggregates import Aggregate, Baseline
from clinadapt.monitoring.stored import read_use, today_utc
from clinadapt.registry.adapters import download_adapter, locate_adapter
from clinadapt.registry.approval.decisions import decide
from clinadapt.registry.champion import champion, history, promote
from clinadapt.review.classify import ClassifyService
from clinadapt.storage import open_store
from clinadapt.storage.folder_store import FolderStore
from clinadapt.storage.object_store import Store
from components.evaluate.champion import Champion
from components.evaluate.classify import run as evaluate
from components.evaluate.gate.step import run as judge
from components.publish.publish_version import _was_rolled_back
from components.publish.publish_version import run as publish
from components.train.classify import run as train
from pipelines.cli.predict import _classify_note

NAME = "specialty"
EPOCH = date(1970, 1, 1)
LOOSE = ("gain_over_base", "gain_over_majority", "gain_over_tfidf")
LOOSE_SHARES = {"min_any_label_accuracy": 0.0, "group_margin": 1.0}
GATE = ClassifyGate.model_validate({**dict.fromkeys(LOOSE, -1.0), **LOOSE_SHARES})


@dataclass(frozen=True)
class Made:
    """What the steps before publish left."""

    splits: Path
    adapter: Path
    evaluation: Path
    verdict: Path

    @property
    def folders(self) -> tuple[Path, Path, Path, Path]:
        return self.splits, self.adapter, self.evaluation, self.verdict

    def publish(self, store: Store) -> dict[str, Any]:
        return publish(*self.folders, store.uri, NAME)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path, splits: Path) -> Made:
    folder = tmp_path_factory.mktemp("made")
    made = Made(splits, folder / "adapter", folder / "evaluation", folder / "verdict")
    settings = ClassifyTraining(
        base_model=tiny_llama.as_uri(),
        windows=Windows(max_length=64, max_windows=2),
        num_train_epochs=1,
        precision="fp32",
    )
    train(splits, made.adapter, settings)
    evaluate(
        splits, made.adapter, made.evaluation, Champion(folder.as_uri(), NAME, "", ""), ClassifyEvaluation(), seed=0
    )
    judge(splits, made.adapter, made.evaluation, made.verdict, GATE, folder.as_uri(), NAME)
    return made


@pytest.fixture(scope="module")
def published(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one version, made once; a test that changes it takes a copy."""
    folder = tmp_path_factory.mktemp("published")
    made.publish(open_store(folder.as_uri()))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Store:
    return open_store(Path(shutil.copytree(published, tmp_path / "copy")).as_uri())


def version_of(made: Made) -> str:
    return adapter_version(made.splits, made.adapter, GATE.model_dump())


def test_a_version_appears_with_its_manifest(made: Made, store: Store) -> None:
    """Watched from another thread: files in staging first, then the whole version at once."""
    version, stop = version_of(made), threading.Event()
    seen: set[tuple[bool, bool, bool]] = set()

    def watch() -> None:
        while not stop.wait(0.01):
            try:
                locate_adapter(f"{NAME}/{version}", store.uri)
            except UserError:
                there = bool(store.list("staging/"))
                seen.add((False, there, False))
            else:
                folder, _ = download_adapter(f"{NAME}/{version}", store.uri)
                shutil.rmtree(folder)
                seen.add((True, True, True))

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = made.publish(store)
    stop.set()
    watcher.join()
    assert (False, True, False) in seen
    assert result == {"uri": f"{store.uri}/adapters/{NAME}/{version}", "version": version}
    assert champion(store, NAME) == (version, store.etag(f"adapters/{NAME}/champion.json"))
    assert download_adapter(NAME, store.uri)[1] == download_adapter(result["uri"], "")[1] == result["uri"]


def test_what_the_gate_did_not_pass_is_not_published(made: Made, store: Store, tmp_path: Path) -> None:
    """Also in a pipeline of one's own, which has forgotten to ask."""
    decided = judge(made.splits, made.adapter, made.evaluation, tmp_path / "v", ClassifyGate(), store.uri, NAME)
    with pytest.raises(UserError, match="not published: (Failed the gate|Not enough evidence)"):
        replace(made, verdict=tmp_path / "v").publish(store)
    assert decided["decision"] != "pass" and not store.list("adapters/")
    (tmp_path / "v/verdict.json").write_text('{"passed": true}')
    with pytest.raises(UserError, match=r"not published: .*verdict.json is no verdict"):
        replace(made, verdict=tmp_path / "v").publish(store)


def test_what_needs_approval_waits_for_it(made: Made, store: Store, tmp_path: Path) -> None:
    """Published with the rule in its manifest and on its card, proposed once, and no champion; then it is one."""
    verdict, rule = tmp_path / "verdict", {"signers": 1, "of": ["anna", "ben"], "days": 7}
    gate = ClassifyGate.model_validate({"approval": rule, **dict.fromkeys(LOOSE, -1.0), **LOOSE_SHARES})
    decided = judge(made.splits, made.adapter, made.evaluation, verdict, gate, store.uri, NAME)
    words = "1 of 2 named people has to approve it within 7 days before it becomes the champion."
    assert decided["decision"] == "pass" and words in decided["sentence"]
    assert words in (verdict / "report.html").read_text()
    approving = replace(made, verdict=verdict)
    result = publish(*approving.folders, store.uri, NAME, started_by="anna")
    assert result["state"] == "awaiting approval" and result["sentence"].startswith("awaiting approval: 0 of 1, until ")
    assert champion(store, NAME) is None and result["version"] != version_of(made)
    manifest = json.loads(store.get(f"adapters/{NAME}/{result['version']}/{MANIFEST}")[0])
    assert manifest["started_by"] == "anna" and manifest["gate"]["approval"]["signers"] == 1
    card = store.get(f"adapters/{NAME}/{result['version']}/README.md")[0].decode()
    assert words.replace("approve it", "approve this version") in card and "## Approval" in card
    assert "Passed a loosened gate. Five of the default checks are switched off in this profile" in card
    records = store.list("approvals/")
    assert publish(*approving.folders, store.uri, NAME, started_by="anna") == result and len(records) == 1
    assert store.list("approvals/") == records
    with pytest.raises(UserError, match="needs approval by 1, as specialty/.* did: set gate.approval"):
        made.publish(store)  # under a profile that asks for none
    with pytest.raises(UserError, match="this person started the run"):
        decide(store, NAME, result["version"], "approval", "mine", "anna")
    assert decide(store, NAME, result["version"], "approval", "read", "ben").state == "champion"
    entry = history(store, NAME)[-1]
    assert entry["by"] == "ben" and entry["held_out_digest"] and entry["accuracy"] == manifest["metrics"]["accuracy"]


def test_what_a_version_holds(made: Made, published: Path) -> None:
    folder = published / "adapters" / NAME / version_of(made)
    manifest = read_json(folder / MANIFEST)
    assert manifest["files"] == list_files(folder)
    assert {name for name in manifest["files"] if not name.startswith("documents/")} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "clinadapt.json",
        "conformance.json",
        "data.json",
        "evaluation.json",
        "report.html",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
        "verdict.json",
    }  # fmt: skip
    evaluation = read_json(made.evaluation / "evaluation.json")
    assert manifest["metrics"] == evaluation["models"]["candidate"]["metrics"]
    assert manifest["dataset_digest"] == read_json(made.splits / MANIFEST)["dataset_digest"]
    assert manifest["settings"] == read_json(made.adapter / "training.json")["settings"]
    assert read_json(folder / "clinadapt.json")["temperature"] == evaluation["models"]["candidate"]["temperature"]
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "peft"
    assert "this verdict is no evidence of safe use.\n\n- Lead over the base model: switched off (default: more" in (
        card.text
    )
    shown = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert shown["accuracy"] == round(manifest["metrics"]["accuracy"]["value"], 4)


def test_no_note_is_published(made: Made, published: Path) -> None:
    """Not even eight words of one, in any file but the tokenizer."""
    pieces = {
        " ".join(words[i : i + 8])
        for name in SPLITS
        for words in (text.split() for text in read_split(made.splits, name)["text"].to_pylist())
        for i in range(0, max(1, len(words) - 8), 8)
    }
    for path in (published / "adapters" / NAME / version_of(made)).rglob("*"):
        if path.suffix in (".json", ".md", ".html", ".xml") and path.name != "tokenizer.json":
            text = " ".join(path.read_text(encoding="utf-8").split())
            assert not [piece for piece in pieces if piece in text], path.name


def test_the_same_run_publishes_once(made: Made, copy: Store) -> None:
    before = {key: copy.etag(key) for key in copy.list()}
    times = {p: p.stat().st_mtime_ns for p in Path(copy.uri.removeprefix("file://")).rglob("*.json")}
    assert made.publish(copy)["version"] == version_of(made)
    assert {key: copy.etag(key) for key in copy.list()} == before
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_what_gc_takes_while_it_is_published_is_no_version(
    made: Made, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file goes just before the manifest comes."""
    put, prefix = FolderStore.put, f"adapters/{NAME}/{version_of(made)}"

    def raced(self: FolderStore, key: str, data: bytes, **how: Any) -> str:
        if key == f"{prefix}/{MANIFEST}":
            self.delete(f"{prefix}/report.html")
        return put(self, key, data, **how)

    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "put", raced)
        with pytest.raises(UserError, match="were removed while it was published: run again"):
            made.publish(store)
    assert not store.exists(f"{prefix}/{MANIFEST}") and champion(store, NAME) is None
    assert made.publish(store)["version"] == version_of(made)


def test_a_file_that_gc_takes_from_a_cut_publication_is_written_again(
    made: Made, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, download = f"adapters/{NAME}/{version_of(made)}/README.md", FolderStore.download

    def raced(self: FolderStore, wanted: str, *rest: Any) -> None:
        if wanted == key and not taken:
            taken.append(wanted)
            self.delete(key)
        download(self, wanted, *rest)

    taken: list[str] = []
    store.put(key, b"of a publication that was cut")
    monkeypatch.setattr(FolderStore, "download", raced)
    made.publish(store)
    assert taken and b"specialty" in store.get(key)[0]


def test_a_version_that_goes_while_it_is_loaded(copy: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """gc takes the manifest first, then the files."""
    download = FolderStore.download

    def raced(self: FolderStore, key: str, *rest: Any) -> None:
        self.delete(key)
        download(self, key, *rest)

    monkeypatch.setattr(FolderStore, "download", raced)
    with pytest.raises(UserError, match="was removed while it was downloaded: choose another version"):
        download_adapter(NAME, copy.uri)


def test_a_champion_that_moved_meanwhile(made: Made, copy: Store) -> None:
    """The gate compared with no champion; since then another run has published one."""
    other = json.dumps({"version": "other", "history": []}).encode()
    copy.put(f"adapters/{NAME}/champion.json", other)
    with pytest.raises(UserError, match="another run has changed the champion of 'specialty' since the gate compared"):
        made.publish(copy)
    assert copy.get(f"adapters/{NAME}/champion.json")[0] == other


def test_promote_is_compare_and_swap(store: Store) -> None:
    for version in ("v1", "v2", "v3"):
        store.put(f"adapters/{NAME}/{version}/{MANIFEST}", b"{}")
    promote(store, NAME, "v1", "", {})
    version, seen = champion(store, NAME) or ("", "")
    promote(store, NAME, "v2", seen, {"accuracy": 0.7})
    with pytest.raises(UserError, match="run again"):
        promote(store, NAME, "v3", seen, {})
    with pytest.raises(UserError, match="run again"):
        promote(store, NAME, "v3", "", {})
    now = champion(store, NAME) or ("", "")
    assert (version, now[0]) == ("v1", "v2")
    store.delete(f"adapters/{NAME}/v3/{MANIFEST}")  # gc, after somebody has looked
    with pytest.raises(UserError, match="v3 was removed by gc meanwhile"):
        promote(store, NAME, "v3", now[1], {})
    assert (champion(store, NAME) or ("", ""))[0] == "v2"


def tampered(made: Made, tmp_path: Path) -> Made:
    adapter = Path(shutil.copytree(made.adapter, tmp_path / "adapter"))
    tensors = load_file(adapter / "adapter_model.safetensors")
    head = next(name for name in tensors if "score" in name)
    tensors[head] = tensors[head] * 1.001
    save_file(tensors, adapter / "adapter_model.safetensors")
    return replace(made, adapter=adapter)


def cut_off(made: Made, tmp_path: Path) -> Made:
    adapter = Path(shutil.copytree(made.adapter, tmp_path / "adapter"))
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    return replace(made, adapter=adapter)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            tampered,
            r"not published, .* held-out answers differ after reloading \(logits differ by .*\)",
        ),
        (cut_off, "not published, the adapter in the store cannot be reloaded: "),
    ],
)
def test_an_adapter_that_answers_otherwise_is_not_published(
    made: Made, store: Store, tmp_path: Path, damage: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message) as raised:
        damage(made, tmp_path).publish(store)
    assert "\n" not in str(raised.value)
    assert store.list() == []


@pytest.mark.parametrize("change", ["missing", "added"])
def test_a_missing_or_added_file_is_refused(made: Made, copy: Store, change: str) -> None:
    prefix = f"adapters/{NAME}/{version_of(made)}"
    if change == "missing":
        copy.delete(f"{prefix}/tokenizer.json")
    else:
        copy.put(f"{prefix}/adapter_model.bin", b"pickle")
    with pytest.raises(UserError, match="is not what was published"):
        download_adapter(NAME, copy.uri)


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("other", "no adapter 'other' in file://.*; there are: specialty"),
        (f"{NAME}/0000", f"no adapter version '{NAME}/0000' in"),
        ("file:///somewhere/else", "is not an adapter: write <store>/adapters/<name>/<version>"),
        ("ftp://host/adapters/a/b", "unsupported URI scheme"),
    ],
)
def test_an_adapter_that_is_not_there(published: Path, adapter: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        locate_adapter(adapter, published.as_uri())


def test_a_version_without_its_manifest_is_none(made: Made, copy: Store) -> None:
    copy.delete(f"adapters/{NAME}/{version_of(made)}/{MANIFEST}")
    with pytest.raises(UserError, match="no adapter version"):
        download_adapter(NAME, copy.uri)


def test_a_base_model_that_changed_is_refused(made: Made, published: Path, tiny_llama: Path, tmp_path: Path) -> None:
    """The card names the base by place and digest; here the place holds something else."""
    folder, _ = download_adapter(NAME, published.as_uri())
    base = Path(shutil.copytree(tiny_llama, tmp_path / "base"))
    card = read_json(folder / "clinadapt.json")
    (folder / "clinadapt.json").write_text(json.dumps(card | {"base_model": base.as_uri()}))
    Classifier(folder)
    (base / "config.json").write_text((base / "config.json").read_text() + " ")
    with pytest.raises(UserError, match="has changed since this adapter was trained: restore it or train again"):
        Classifier(folder)


def test_the_answer(made: Made, published: Path) -> None:
    """Calibrated probabilities of one note and of many: the same, and those of the evaluation."""
    answerer = ClassifyService(NAME, published.as_uri())
    assert answerer.recorder is None
    texts = read_split(made.splits, "test")["text"].to_pylist()[:20]
    answers = list(answerer.answer_rows(({"transcription": text} for text in texts), "transcription"))
    one = answerer.answer(texts[3])
    assert one["label"] == answers[3]["label"] == answerer.labels[one["predicted_class"]]
    assert list(one["probabilities"]) == answerer.labels
    assert list(one["probabilities"].values()) == pytest.approx(list(answers[3]["probabilities"].values()), abs=2e-4)
    assert sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert one["adapter"] == answerer.uri
    assert 0 <= one["unseen_token_share"] < 1
    for text in ("", " \n ", "x" * 200_001):
        with pytest.raises(UserError, match=r"the note has .*: give another one"):
            answerer.answer(text)
    rows: list[Any] = [{"transcription": texts[0]}, {"transcription": None}, "3 fields instead of 2", {"other": "x"}]
    answers = list(answerer.answer_rows(rows, "transcription"))
    assert [answer["row"] for answer in answers] == [1, 2, 3, 4]
    assert ["error" in answer for answer in answers] == [False, True, True, True]
    with pytest.raises(UserError, match="no column 'text': the columns are transcription; choose with --text-column"):
        list(answerer.answer_rows(rows[:1], "text"))


def test_below_its_threshold_it_is_unsure(made: Made, published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The threshold that the evaluation chose is in the published card; the label of a note below it is `unsure`."""
    folder, _ = download_adapter(NAME, published.as_uri())
    abstention = read_json(made.evaluation / "evaluation.json")["abstention"]
    assert read_json(folder / "clinadapt.json")["unsure_below"] == abstention["threshold"]
    text = read_split(made.splits, "test")["text"].to_pylist()[0]
    answerer = ClassifyService(NAME, published.as_uri())
    highest = max(answerer.answer(text)["probabilities"].values())
    answerer.unsure_below = highest - 0.001
    assert answerer.answer(text)["label"] == answerer.answer(text)["most_likely"]
    answerer.unsure_below = highest + 0.001
    answer = answerer.answer(text)
    assert answer["label"] == "unsure" and answer["most_likely"] == answerer.labels[answer["predicted_class"]]
    assert answerer.remark(answer).startswith(f"Unsure: no label has a probability of {highest + 0.001:.1%}")
    _classify_note(answerer, text, as_json=False)
    printed = capsys.readouterr()
    assert printed.out == "unsure\n" and answerer.remark(answer) in printed.err


def test_use_is_counted_as_the_evaluation_was(made: Made, published: Path, tmp_path: Path) -> None:
    """The held-out notes asked again, as rows and one by one: the counts are those of the evaluation."""
    store = Path(shutil.copytree(published, tmp_path / "store", ignore=UNFINISHED))
    service = ClassifyService(NAME, store.as_uri(), "predict")
    texts = read_split(made.splits, "test")["text"].to_pylist()
    list(service.answer_rows(({"transcription": text} for text in texts[:-1]), "transcription"))
    service.answer(texts[-1])
    assert service.recorder
    service.recorder.close()
    _, name, version = service.uri.rsplit("/", 2)
    baseline = Baseline.of_evaluation(read_json(made.evaluation / "evaluation.json"))
    use = read_use(open_store(store.as_uri()), name, version, baseline.named("label"), EPOCH, EPOCH, today_utc())
    total = sum(use.days.values(), Aggregate())
    assert (total.answers, total.notes) == (baseline.aggregate.answers, baseline.aggregate.notes)
    assert sum(total.cells.pop("latency").values()) == 1  # of the note that was asked for alone
    bands, expected = total.cells.pop("confidence"), dict(baseline.aggregate.cells)
    at_another_band = sum(abs(bands.get(band, 0) - n) for band, n in expected.pop("confidence").items())
    assert at_another_band <= 2  # a probability at the edge of a band, in another batch
    assert total.cells == expected


def test_the_evaluation_holds_what_the_report_needs(made: Made) -> None:
    evaluation = read_json(made.evaluation / "evaluation.json")
    test = read_split(made.splits, "test")
    assert evaluation["notes"] == len(test)
    assert evaluation["rows"] == read_json(made.splits / MANIFEST)["splits"]["test"]["rows"]
    assert set(evaluation["models"]) == {"candidate", "base", "majority", "tfidf"}
    assert [c["b"] for c in evaluation["comparisons"]] == ["base", "majority", "tfidf"]
    assert evaluation["counterfactuals"]["sex"]["notes"] > 0 and evaluation["subgroups"]
    assert evaluation["abstention"]["answered"]["value"] <= 1 and evaluation["abstention"]["curve"]
    for model in evaluation["models"].values():
        accuracy = model["metrics"]["accuracy"]
        assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
        assert accuracy["value"] <= evaluation["ceiling"]
        assert np.sum(model["confusion"]) == evaluation["rows"]


def test_what_was_scored_is_not_scored_again(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where the evaluation is done again, nor where the candidate has become the champion."""
    kept = Path(shutil.copytree(made.evaluation.parent / "evaluations", tmp_path / "store/evaluations"))
    store = open_store(kept.parent.as_uri())
    version = made.publish(store)["version"]
    monkeypatch.setattr(Classifier, "logits", lambda *_: pytest.fail("scored again"))
    again = evaluate(
        made.splits, made.adapter, tmp_path / "e", Champion(store.uri, NAME, version, "etag"), ClassifyEvaluation(), 0
    )
    files = [folder / "predictions.parquet" for folder in (made.evaluation, tmp_path / "e")]
    assert files[0].read_bytes() == files[1].read_bytes()
    models = again["models"]
    assert models["champion"]["metrics"] == models["candidate"]["metrics"]
    assert models["candidate"] == read_json(made.evaluation / "evaluation.json")["models"]["candidate"]


def test_a_champion_is_scored_on_the_same_notes(made: Made, published: Path, tmp_path: Path) -> None:
    """The candidate against itself: no difference, so it is not better and, of the same data, does not replace it."""
    version, etag = champion(open_store(published.as_uri()), NAME) or ("", "")
    result = evaluate(
        made.splits,
        made.adapter,
        tmp_path / "e",
        Champion(published.as_uri(), NAME, version, etag),
        ClassifyEvaluation(),
        0,
    )
    against = next(c for c in result["comparisons"] if c["b"] == "champion")
    assert (against["difference"], against["p"], against["p_worse"]) == (0, 1, 1)
    assert (result["champion_version"], result["champion_etag"]) == (version, etag)
    verdict = judge(made.splits, made.adapter, tmp_path / "e", tmp_path / "v", ClassifyGate(), published.as_uri(), NAME)
    (check,) = [check for check in verdict["checks"] if "champion" in check["name"]]
    assert not check["passed"] and check["name"].startswith(f"better than the champion {version}, which was trained on")


def test_what_was_rolled_back_stays_back(tmp_path: Path) -> None:
    """Until somebody promotes it by hand: a schedule on unchanged data would bring it back by itself."""
    store = open_store(tmp_path.as_uri())
    for version, rollback in (("old", False), ("new", False), ("old", True)):
        store.put(f"adapters/{NAME}/{version}/{MANIFEST}", b"{}")
        promote(store, NAME, version, (champion(store, NAME) or ("", ""))[1], {}, rollback)
    assert _was_rolled_back(store, NAME, "new") and not _was_rolled_back(store, NAME, "old")
    promote(store, NAME, "new", champion(store, NAME)[1], {})
    assert not _was_rolled_back(store, NAME, "new")

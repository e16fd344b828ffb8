"""What the suite shares: tiny real models, built-in notes in the layout of MTSamples, and one true run."""

from __future__ import annotations

import csv
import json
import lzma
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import support
import yaml
from filelock import FileLock
from planted_run import write_input
from s3_support import free_memory, rados_gateway
from support import (
    LENIENT,
    MTSAMPLES,
    ROOT,
    SOURCE,
    Clinadapt,
    Run,
    WriteProfile,
    make_adapter,
    quiet_environment,
)
from warm_process import warm_command, warm_reload

hypothesis.settings.register_profile("suite", database=None, deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--benchmarks", action="store_true", help="collect tests/benchmarks too, which take long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    benchmarks = ROOT / "tests/benchmarks"
    if not config.getoption("--benchmarks"):
        items[:] = [item for item in items if benchmarks not in item.path.parents]
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)  # first, so that at the end no process waits for another


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Name bytes by their argument: a compressed file holds the time, and each process collects at its own."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def notes_csv(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write `rows` built-in notes as a CSV in the layout of MTSamples."""
    from clinadapt.data.builtin_cases import generate

    folder, number = tmp_path_factory.mktemp("notes"), count()

    def write(rows: int = 240, seed: int = 7) -> Path:
        path = folder / f"notes-{next(number)}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            listed = list(generate(rows, seed))
            writer = csv.DictWriter(file, list(listed[0]))
            writer.writeheader()
            writer.writerows(listed)
        return path

    return write


@pytest.fixture(scope="session")
def built_in_texts() -> list[str]:
    """The texts of 600 built-in rows."""
    from clinadapt.data.builtin_cases import generate

    return [row["transcription"] for row in generate(600, 7)]


@pytest.fixture(scope="session")
def mtsamples() -> list[dict[str, str]]:
    """The rows of MTSamples, where they lie beside the repository."""
    if not MTSAMPLES.is_file():
        pytest.skip("MTSamples is not beside the repository")
    with lzma.open(MTSAMPLES, "rt", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 built-in rows as download and format leave them."""
    from clinadapt.config.classify import Notes, Split
    from components.download.classify import run as download
    from components.format.classify import run as format_notes

    folder = tmp_path_factory.mktemp("splits")
    download(SOURCE, folder / "dataset", Notes())
    format_notes(folder / "dataset", folder / "splits", Split())
    return folder / "splits"


def _train_tokenizer(texts: list[str], ends: bool) -> Any:
    """Byte-level BPE of 600 tokens with <s> and </s>, and no pad token. It begins a text with <s>; where `ends`, it
    ends it with </s> too."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    template = "<s> $A </s>" if ends else "<s> $A"
    tokenizer.post_processor = processors.TemplateProcessing(template, special_tokens=[("<s>", 0), ("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def _save(folder: Path, model: Any, config: Any, texts: list[str]) -> Path:
    """A causal language model with random weights and a tokenizer made of the texts."""
    import torch

    torch.manual_seed(0)
    model(config).save_pretrained(folder)
    _train_tokenizer(texts, ends=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory, built_in_texts: list[str]) -> Path:
    """A Llama of two layers with random weights, as a causal language model in safetensors."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=600,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=1,
    )
    return _save(tmp_path_factory.mktemp("tiny-llama"), LlamaForCausalLM, config, built_in_texts)


@pytest.fixture(scope="session")
def instruct_adapter(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """An adapter of the tiny Llama that answers in 512 tokens, weights drawn at random, as train would leave it."""
    return make_adapter(tmp_path_factory.mktemp("instruct-adapter") / "adapter", tiny_llama, seed=1)


@pytest.fixture(scope="session")
def tiny_phi(tmp_path_factory: pytest.TempPathFactory, built_in_texts: list[str]) -> Path:
    """A phi of two layers with random weights: its modules, biases and partial rotation are phi-2's."""
    from transformers import PhiConfig, PhiForCausalLM

    config = PhiConfig(
        vocab_size=600,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        partial_rotary_factor=0.4,
        resid_pdrop=0.1,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=1,
    )
    return _save(tmp_path_factory.mktemp("tiny-phi"), PhiForCausalLM, config, built_in_texts)


@pytest.fixture(scope="session")
def instruct_splits(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """Sixteen notes with three instructions each, for the tiny models."""
    asks = ["List the drugs.", "Summarise the note.", "What was done?"]
    return support.instruct_splits(tmp_path_factory.mktemp("instruct"), tiny_llama, 16, asks, 256)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory, built_in_texts: list[str]) -> Path:
    """A BERT of two layers with random weights in safetensors."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny-bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=600, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    )
    BertModel(config).save_pretrained(folder)
    _train_tokenizer(built_in_texts, ends=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clinadapt() -> Clinadapt:
    """Run the command in a process of its own, forked from one that has imported what it needs; `temporary` is where it
    makes temporary files."""

    def run(
        *arguments: str | Path, cwd: Path | None = None, temporary: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return warm_command([str(argument) for argument in arguments], quiet_environment(temporary), cwd)

    return run


@pytest.fixture(scope="session", autouse=True)
def _reload_in_a_warm_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("components.publish.publish_version._reload", warm_reload)
        yield


@pytest.fixture(scope="session")
def installed_clinadapt() -> Clinadapt:
    """Run the installed command, which imports what it needs, as do the steps of a run."""
    command = Path(sys.executable).with_name("clinadapt")

    def run(
        *arguments: str | Path, cwd: Path | None = None, temporary: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = quiet_environment(temporary)
        return subprocess.run(
            [command, *arguments], capture_output=True, text=True, check=False, env=environment, cwd=cwd
        )

    return run


@pytest.fixture(scope="session")
def write_profile(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> WriteProfile:
    """Write a profile of a small, fast run on the tiny BERT; `train` and `gate` are merged into its sections."""
    folder, number = tmp_path_factory.mktemp("profiles"), count()

    def write(train: dict[str, Any] | None = None, gate: dict[str, Any] | None = None, **sections: Any) -> Path:
        profile = {
            "name": "test",
            "recipe": "classify",
            "description": "A small, fast run.",
            "source": SOURCE,
            "adapter_name": "specialty",
            "train": {
                "base_model": tiny_bert.as_uri(),
                "lora": {"r": 4, "lora_alpha": 8, "modules_to_save": ["pooler"]},
                "windows": {"max_length": 64, "max_windows": 4},
                "train_windows": 1,
                "num_train_epochs": 1,
                "precision": "fp32",
                **(train or {}),
            },
            "gate": LENIENT if gate is None else gate,
            **sections,
        }
        path = folder / f"profile-{next(number)}.yaml"
        path.write_text(yaml.safe_dump(profile), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def demo_run(
    tmp_path_factory: pytest.TempPathFactory, installed_clinadapt: Clinadapt, write_profile: WriteProfile
) -> Run:
    """The whole pipeline, once for all processes of pytest, through the command; among its notes are some with planted
    identifiers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo"
    home, store, finished = folder / "home", folder / "store", folder / "finished.json"
    with FileLock(folder.with_suffix(".lock")):
        if not finished.exists():
            notes, temporary = write_input(folder, cases=240)["notes"], folder / "temporary"
            temporary.mkdir()
            profile = write_profile(review={"private_notes": True})
            command = ["run", "classify", str(notes), "--profile", str(profile), "--epochs", "1"]
            command += ["--home", str(home), "--store", str(store), "--json"]
            done = installed_clinadapt(*command, cwd=temporary, temporary=temporary)
            finished.write_text(json.dumps([command, done.returncode, done.stdout, done.stderr]))
    command, status, output, errors = json.loads(finished.read_text())
    assert status == 0, errors
    return Run(command, json.loads(output), home, store)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """moto's S3 server. S3 decides a conditional write in one piece and moto does not, so one request is answered at
    a time."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app, one_at_a_time = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        with one_at_a_time:
            return app(environ, start_response)

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def s3_environment(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that leads boto3 to moto."""
    free_memory(monkeypatch)
    for name, value in {
        "AWS_ENDPOINT_URL_S3": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def rgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that leads boto3 to a fresh RADOS Gateway."""
    with rados_gateway(tmp_path_factory.mktemp("rgw")) as environment:
        yield environment


@pytest.fixture
def rgw_environment(rgw: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead boto3 in this process to the RADOS Gateway."""
    free_memory(monkeypatch)
    for name, value in rgw.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hub that refuses the connection, as in a cluster without a way out."""
    import huggingface_hub.constants
    import huggingface_hub.file_download
    import huggingface_hub.hf_api

    for module in (huggingface_hub.constants, huggingface_hub.hf_api, huggingface_hub.file_download):
        monkeypatch.setattr(module, "ENDPOINT", "http://127.0.0.1:9", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a tmpfs with the given options, or skip where this process may not."""
    place = tmp_path / "mounted"
    place.mkdir()

    def mount(options: str) -> Path:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("this process may not mount a tmpfs")
        return place

    yield mount
    subprocess.run(["umount", place], capture_output=True, check=False)

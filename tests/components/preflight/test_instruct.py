"""What preflight of the instruct recipe finds before any work begins."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from approvals import publish
from pydantic import ValidationError

from clinadapt.artifacts.hashing import read_json, sha256_json, write_json
from clinadapt.config.base import Lora, Resources
from clinadapt.config.instruct import InstructProfile, InstructTraining, Llama, Pretraining, Source, Synthesis
from clinadapt.config.resolve import Settings
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel, describe
from clinadapt.registry.champion import promote
from clinadapt.storage import open_store
from components.preflight.checks import check_disk
from components.preflight.instruct import run

CASES = Source(kind="cases", uri="builtin://cases?rows=20&seed=7")
SECRET = "not-to-be-told"


def check(base: str, store: Path, sources: list[Source] | None = None, **given: Any) -> dict[str, Settings]:
    form = {"sources": [source.model_dump() for source in ([CASES] if sources is None else sources)]}
    profile = InstructProfile(
        name="test", recipe="instruct", description="A test.", adapter_name="adapter",
        sources=[CASES, *given.get("preferences", [])],
        synthesis=Synthesis(teacher=given.get("teacher", "rules")),
        pretrain=given.get("pretrain"),
        preference=given.get("preference"),
        instruct=InstructTraining(base_model=base, max_length=64, **given.get("instruct", {})),
        train_resources=given.get("resources", Resources()),
    )  # fmt: skip
    return run(profile, form, store.as_uri())


class Endpoint(BaseHTTPRequestHandler):
    """The list of models, for those who have the key; 503 to the key `busy`."""

    def do_GET(self) -> None:
        key = self.headers["Authorization"].removeprefix("Bearer ")
        self.send_response({SECRET: 200, "busy": 503, "many": 429}.get(key, 401))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"object": "list", "data": []}).encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("CLINADAPT_TEACHER_URL", url := f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("CLINADAPT_TEACHER_MODEL", "teacher")
    monkeypatch.setenv("CLINADAPT_TEACHER_KEY", SECRET)
    yield url
    server.shutdown()
    server.server_close()


def test_each_step_gets_its_settings_and_digests(tiny_llama: Path, tmp_path: Path) -> None:
    steps = check(tiny_llama.as_uri(), tmp_path)
    assert set(steps) == {
        "download", "screen", "synthesize", "format", "lookup", "train", "evaluate", "gate", "publish"
    }  # fmt: skip
    digest = describe(tiny_llama.as_uri()).digest
    assert steps["train"]["base_digest"] == steps["format"]["tokenizer_digest"] == digest
    assert {name for name, settings in steps.items() if "code_version" in settings} == {
        "download", "screen", "synthesize", "format", "lookup", "train", "evaluate"
    }  # fmt: skip
    assert steps["lookup"]["code_version"] == steps["train"]["code_version"] != steps["evaluate"]["code_version"]
    assert (steps["evaluate"]["champion_version"], steps["evaluate"]["champion_etag"]) == ("", "")
    assert steps == check(tiny_llama.as_uri(), tmp_path)


def test_a_champion_that_cannot_be_compared_with_is_found_before_any_work(tiny_llama: Path, tmp_path: Path) -> None:
    store = open_store((tmp_path / "store").as_uri())
    version = publish(store, tmp_path, 1, None, "adapter")
    promote(store, "adapter", version, "", {})
    with pytest.raises(UserError, match="the champion of 'adapter' is of the recipe classify: use another"):
        check(tiny_llama.as_uri(), tmp_path / "store")
    store.delete(f"adapters/adapter/{version}/manifest.json")
    with pytest.raises(UserError, match=f"no adapter version 'adapter/{version}'"):
        check(tiny_llama.as_uri(), tmp_path / "store")


def test_a_tokenizer_replaced_under_the_same_uri_is_noticed_by_format(tiny_llama: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_llama, tmp_path / "base")
    before = check(base.as_uri(), tmp_path / "store")["format"]
    tokenizer = read_json(base / "tokenizer.json")
    tokenizer["model"]["merges"].pop()
    write_json(base / "tokenizer.json", tokenizer)
    assert check(base.as_uri(), tmp_path / "store")["format"] != before


def test_the_digest_covers_every_source(tiny_llama: Path, tmp_path: Path) -> None:
    other = Source(kind="cases", uri="builtin://cases?rows=20&seed=8")
    notes = Source(kind="notes", uri=CASES.uri)
    lists = ([CASES], [other], [CASES, other], [other, CASES], [notes])
    digests = {check(tiny_llama.as_uri(), tmp_path, list(s))["download"]["source_digest"] for s in lists}
    assert len(digests) == len(lists)


def test_a_base_that_pretrain_makes(tmp_path: Path) -> None:
    shape = Llama(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )  # fmt: skip
    steps = check("builtin://llama", tmp_path, pretrain=Pretraining(llama=shape, max_length=64))
    assert steps["pretrain"]["base_digest"] == sha256_json(shape.model_dump())
    assert steps["lookup"]["pretraining_code_version"] == steps["pretrain"]["code_version"]


def test_the_teacher_is_asked_once(tiny_llama: Path, tmp_path: Path, endpoint: str) -> None:
    assert check(tiny_llama.as_uri(), tmp_path, teacher="llm")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("CLINADAPT_TEACHER_KEY", "", "CLINADAPT_TEACHER_KEY is not set"),
        ("CLINADAPT_TEACHER_URL", "", "CLINADAPT_TEACHER_URL is not set"),
        ("CLINADAPT_TEACHER_MODEL", "", "CLINADAPT_TEACHER_MODEL is not set"),
        ("CLINADAPT_TEACHER_KEY", "stolen", "status 401.*CLINADAPT_TEACHER_KEY"),
        ("CLINADAPT_TEACHER_KEY", "busy", "status 503"),
        ("CLINADAPT_TEACHER_URL", "http://127.0.0.1:9/v1", "cannot be reached"),
    ],
)
def test_a_teacher_that_cannot_be_asked(
    tiny_llama: Path,
    tmp_path: Path,
    endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    message: str,
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message) as raised:
        check(tiny_llama.as_uri(), tmp_path, teacher="llm")
    assert SECRET not in str(raised.value) and "stolen" not in str(raised.value)


def test_a_teacher_that_asks_to_wait_is_up(
    tiny_llama: Path, tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINADAPT_TEACHER_KEY", "many")
    assert check(tiny_llama.as_uri(), tmp_path, teacher="llm")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sources": [CASES, Source(kind="notes", uri="file:///no/such.csv")]}, "/no/such.csv not found"),
        ({"instruct": {"lora": Lora(target_modules=["Wqkv"])}}, "LoRA target 'Wqkv' matches no module"),
        ({"instruct": {"per_device_train_batch_size": 10**6}, "resources": Resources(gpu=1, gpu_memory_gib=15)},
         "instruct needs about .* GiB and there are 15.0: it fits with per_device_train_batch_size"),
        ({"pretrain": Pretraining(per_device_train_batch_size=10**6), "resources": Resources(gpu=1, gpu_memory_gib=15)},
         "pretrain needs about"),
    ],
)  # fmt: skip
def test_what_cannot_succeed(tiny_llama: Path, tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(tiny_llama.as_uri(), tmp_path, **given)


def test_no_source(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="sources"):
        check(tiny_llama.as_uri(), tmp_path, sources=[])


def test_no_section_to_make_the_base_by(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="pretrain"):
        check("builtin://llama", tmp_path)


def test_a_base_larger_than_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINADAPT_CACHE", str(tmp_path / "not-yet"))
    base = BaseModel("hf://a/b", "hf:0", {"model_type": "llama"}, {"w.weight": ("BF16", [2**25, 2**25])})
    with pytest.raises(UserError, match=r"'hf://a/b' needs 2097153.0 GiB of disk and .* has .* free"):
        check_disk(base)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    check_disk(base)  # it goes to a volume of the train step

"""What preflight of the instruct recipe finds before any work begins."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.config.base import Lora, Resources, decisive
from clinadapt.config.instruct import Instruct, Llama, Preference, Pretrain, Source, Synthesis
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel, describe
from components.preflight.checks import check_disk
from components.preflight.instruct import run

CASES = Source(kind="cases", uri="builtin://cases?rows=20&seed=7")
SECRET = "not-to-be-told"


def check(base: str, store: Path, sources: list[Source] | None = None, **given: Any) -> dict[str, str]:
    return run(
        [CASES] if sources is None else sources,
        store.as_uri(),
        "adapter",
        Instruct(base_model=base, max_length=64, **given.get("instruct", {})),
        given.get("pretrain"),
        given.get("preference"),
        Synthesis(teacher=given.get("teacher", "rules")),
        given.get("resources", Resources()),
    )


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


def test_what_is_found(tiny_llama: Path, tmp_path: Path) -> None:
    found = check(tiny_llama.as_uri(), tmp_path)
    digests = {"dataset_digest", "base_digest", "champion_version", "champion_etag", "code_version"}
    assert set(found) == digests | {"settings"}
    assert found["base_digest"] == describe(tiny_llama.as_uri()).digest
    assert found == check(tiny_llama.as_uri(), tmp_path)


def test_the_settings_that_decide(tiny_llama: Path, tmp_path: Path) -> None:
    """As train records them: how often the state is saved decides nothing."""
    stages = {"pretrain": Pretrain(max_length=64), "preference": Preference(beta=0.2)}
    found = json.loads(check(tiny_llama.as_uri(), tmp_path, **stages)["settings"])
    train = Instruct(base_model=tiny_llama.as_uri(), max_length=64)
    assert found == {
        "train": decisive(train) | {"preference": decisive(stages["preference"])},
        "pretrain": decisive(stages["pretrain"]) | {"base_model": tiny_llama.as_uri()},
    }
    often = check(tiny_llama.as_uri(), tmp_path, instruct={"checkpoint_minutes": 1.0})["settings"]
    assert often == check(tiny_llama.as_uri(), tmp_path)["settings"]
    assert often != check(tiny_llama.as_uri(), tmp_path, instruct={"seed": 1})["settings"]


def test_the_digest_names_every_source(tiny_llama: Path, tmp_path: Path) -> None:
    other = Source(kind="cases", uri="builtin://cases?rows=20&seed=8")
    notes = Source(kind="notes", uri=CASES.uri)
    lists = ([CASES], [other], [CASES, other], [other, CASES], [notes])
    assert len({check(tiny_llama.as_uri(), tmp_path, list(s))["dataset_digest"] for s in lists}) == len(lists)


def test_a_base_that_pretrain_makes(tmp_path: Path) -> None:
    shape = Llama(hidden=64, intermediate=128, layers=2, heads=4, key_value_heads=2)
    found = check("builtin://llama", tmp_path, pretrain=Pretrain(llama=shape, max_length=64))
    assert found["base_digest"] == sha256_json(shape.model_dump())


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
        ({"sources": []}, "there is no source"),
        ({"sources": [CASES, Source(kind="notes", uri="file:///no/such.csv")]}, "there is no file"),
        ({"instruct": {"lora": Lora(target_modules=["Wqkv"])}}, "LoRA target 'Wqkv' matches no module"),
        ({"instruct": {"per_device_train_batch_size": 10**6}, "resources": Resources(gpu=1, gpu_memory_gib=15)},
         "instruct needs about .* GiB and there are 15.0: it fits with per_device_train_batch_size"),
        ({"pretrain": Pretrain(per_device_train_batch_size=10**6), "resources": Resources(gpu=1, gpu_memory_gib=15)},
         "pretrain needs about"),
    ],
)  # fmt: skip
def test_what_cannot_succeed(tiny_llama: Path, tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(tiny_llama.as_uri(), tmp_path, **given)


def test_no_section_to_make_the_base_by(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="builtin://llama is made by pretrain"):
        check("builtin://llama", tmp_path)


def test_a_base_larger_than_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINADAPT_CACHE", str(tmp_path / "not-yet"))
    base = BaseModel("hf://a/b", "hf:0", {"model_type": "llama"}, {"w.weight": ("BF16", [2**25, 2**25])})
    with pytest.raises(UserError, match=r"'hf://a/b' needs 2097153.0 GiB of disk and .* has .* free"):
        check_disk(base)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    check_disk(base)  # it goes to a volume of the train step

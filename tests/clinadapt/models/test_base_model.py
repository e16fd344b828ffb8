"""A base model by URI: found, named by its content, described without its weights, refused when broken."""

from __future__ import annotations

import json
import shutil
import struct
import uuid
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from transformers import AutoModel

from clinadapt.config.base import Lora
from clinadapt.errors import UserError
from clinadapt.models.base_model import describe, fetch
from clinadapt.models.lora_targets import adapted_layers, matches
from clinadapt.storage import open_store
from clinadapt.storage.transfer import upload_folder


@pytest.fixture
def copy(tiny_llama: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama that a test may break."""
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def test_what_a_header_tells(tiny_llama: Path) -> None:
    base = describe(tiny_llama.as_uri())
    assert base.config["model_type"] == "llama"
    assert base.parameters() == AutoModel.from_pretrained(tiny_llama).num_parameters() + 600 * 64  # and the lm_head
    assert base.linear_layers()["model.layers.1.self_attn.k_proj"] == [32, 64]
    assert not any("embed" in name or "norm" in name for name in base.linear_layers())


def test_the_digest_follows_every_byte(copy: Path, tmp_path: Path) -> None:
    before = describe(copy.as_uri()).digest
    assert describe(Path(shutil.copytree(copy, tmp_path / "elsewhere")).as_uri()).digest == before
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert describe(copy.as_uri()).digest != before


def test_all_linear_leaves_the_head_out(tiny_llama: Path, tiny_bert: Path) -> None:
    llama = adapted_layers(describe(tiny_llama.as_uri()), Lora())
    assert len(llama) == 2 * 7 and "lm_head" not in llama
    bert = adapted_layers(describe(tiny_bert.as_uri()), Lora())
    assert len(bert) == 2 * 6 and not any("pooler" in name for name in bert)


def test_named_targets(tiny_llama: Path) -> None:
    base = describe(tiny_llama.as_uri())
    chosen = adapted_layers(base, Lora(target_modules=["q_proj", "layers.0.mlp.up_proj"]))
    assert sorted(chosen) == [
        "model.layers.0.mlp.up_proj",
        "model.layers.0.self_attn.q_proj",
        "model.layers.1.self_attn.q_proj",
    ]
    with pytest.raises(UserError, match=r"LoRA target 'Wqkv' matches no module .*: it has .*k_proj.*q_proj"):
        adapted_layers(base, Lora(target_modules=["q_proj", "Wqkv"]))
    assert not matches("model.layers.0.self_attn.q_proj", "proj")


def test_the_digest_covers_the_templates_in_their_folder(copy: Path) -> None:
    """One called default would be rendered in place of the model's own."""
    digests = {describe(copy.as_uri()).digest}
    (copy / "additional_chat_templates").mkdir()
    for text in ("{{ messages[0].content }}", "Say no. {{ messages[0].content }}"):
        (copy / "additional_chat_templates/default.jinja").write_text(text)
        digests.add(describe(copy.as_uri()).digest)
    assert len(digests) == 3


def test_an_adapter_in_the_folder_of_a_base_model_is_refused(copy: Path) -> None:
    (copy / "adapter_config.json").write_text("{}")
    for ask in (describe, fetch):
        with pytest.raises(UserError, match="has an adapter in its folder, which would be loaded too: merge it first"):
            ask(copy.as_uri())


def break_header(folder: Path, change: Callable[[dict[str, dict[str, list[int]]]], None]) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def with_header(header: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)


def cut_off(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_off, "model.safetensors is truncated or not a safetensors file: fetch it again"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "not a safetensors file"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 500), "not a safetensors file"),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n"),
            "not a safetensors file",
        ),
        (
            lambda f: break_header(f, lambda header: header["lm_head.weight"].pop("data_offsets")),
            "not a safetensors file",
        ),
        (lambda f: (f / "model.safetensors").unlink(), "no .safetensors weights: convert it first, pickled"),
        (lambda f: (f / "config.json").unlink(), "has no config.json: give the folder of a Hugging Face model"),
        (lambda f: (f / "config.json").write_text("{"), "config.json is not JSON: fetch the model again"),
        (lambda f: (f / "config.json").write_text("{}"), "config.json has no model_type"),
        (lambda f: (f / "config.json").write_text('["model_type"]'), "config.json has no model_type"),
        (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json is not JSON"),
        (with_header(b"[" * 100_000), "is truncated or not a safetensors file"),
        (with_header(b'{"a": 3}'), "is truncated or not a safetensors file"),
        (with_header(b'{"a": {"dtype": "F32", "shape": 2, "data_offsets": [0, "x"]}}'), "not a safetensors file"),
    ],
)
def test_a_broken_model(copy: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(copy)
    with pytest.raises(UserError, match=message):
        describe(copy.as_uri())


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("builtin://gpt", "the built-in ones are builtin://minilm and builtin://smollm2"),
        ("TinyLlama/TinyLlama-1.1B", "use builtin://smollm2, builtin://minilm, file:///folder, s3://bucket/folder or"),
        ("file:///no/such/folder", "has no config.json"),
    ],
)
def test_no_such_model(uri: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        describe(uri)


def test_a_model_from_an_object_store(
    copy: Path, s3_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINADAPT_CACHE", str(tmp_path / "cache"))
    bucket = f"models-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    uri = f"s3://{bucket}/base/tiny"
    with pytest.raises(UserError, match=r"has no config.json"):
        describe(uri)
    upload_folder(open_store(uri.rpartition("/")[0]), copy, "tiny")
    first = describe(uri)
    assert first.digest == describe(copy.as_uri()).digest
    kept = fetch(uri)
    (kept / "here").touch()
    assert fetch(uri) == kept and (kept / "here").exists()  # from the cache
    (copy / "config.json").write_text((copy / "config.json").read_text() + "\n")
    upload_folder(open_store(uri.rpartition("/")[0]), copy, "tiny")
    assert describe(uri).digest == describe(copy.as_uri()).digest != first.digest


@pytest.mark.parametrize("ask", [describe, fetch])
def test_a_hub_that_does_not_answer(no_hub: None, ask: Callable[[str], object]) -> None:
    with pytest.raises(
        UserError, match=r"cannot be downloaded from the hub .*: check its name, HF_TOKEN and the network"
    ):
        ask("hf://someone/model")


@pytest.mark.parametrize(
    ("index", "problem"),
    [
        ({"weight_map": {"a": "sub/model.safetensors"}}, "its digest would not cover"),
        ({"weight_map": {"a": "../model.safetensors"}}, "its digest would not cover"),
        ({"weight_map": {"a": "/tmp/model.safetensors"}}, "its digest would not cover"),
        ({"weight_map": {"a": "model.bin"}}, "its digest would not cover"),
        ({"weight_map": {"a": "other.safetensors"}}, "lacks 1 of 1 weight files"),
        ({"weight_map": ["model.safetensors"]}, "not an index"),
        ([], "not an index"),
    ],
)
def test_weights_that_the_digest_does_not_cover_are_refused(index: object, problem: str, copy: Path) -> None:
    (copy / "sub").mkdir()
    shutil.copyfile(copy / "model.safetensors", copy / "sub/model.safetensors")
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=problem):
        describe(copy.as_uri())

"""What vLLM is given: the version as it was published, its base model, and the prompt that it was trained with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from jinja2.sandbox import ImmutableSandboxedEnvironment
from support import ROOT, Clinadapt, make_adapter

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, list_files, write_manifest
from clinadapt.artifacts.signing import VERIFY_KEY, sign_manifest
from clinadapt.errors import UserError
from clinadapt.models.chat_template import SYSTEM, Question, Template, load_tokenizer
from clinadapt.registry.champion import promote
from clinadapt.registry.vllm import fetch_served
from clinadapt.storage import open_store
from clinadapt.storage.transfer import upload_folder

NAME, VERSION = "assistant", "0123456789abcdef"
QUESTION = Question("Aspirin 100 mg was stopped.\nIbuprofen goes on.", "Which drug was stopped?")


def publish(adapter: Path, store_uri: str, **changes: object) -> Path:
    """The adapter as a champion, with some fields of its card and its LoRA changed; the folder of the version."""
    for name in ("clinadapt.json", "adapter_config.json"):
        fields = read_json(adapter / name)
        write_json(adapter / name, fields | {key: value for key, value in changes.items() if key in fields})
    write_json(adapter / MANIFEST, sign_manifest(write_manifest(adapter, {"name": NAME, "version": VERSION})))
    store = open_store(store_uri)
    upload_folder(store, adapter, f"adapters/{NAME}/{VERSION}")
    promote(store, NAME, VERSION, "", {})
    return Path(store_uri.removeprefix("file://")) / "adapters" / NAME / VERSION


@pytest.fixture
def store(tmp_path: Path) -> str:
    return (tmp_path / "store").as_uri()


@pytest.fixture
def adapter(tmp_path: Path, tiny_llama: Path) -> Path:
    return make_adapter(tmp_path / "adapter", tiny_llama, seed=1)


def test_the_command_fetches_what_was_published(
    adapter: Path, store: str, tiny_llama: Path, tmp_path: Path, clinadapt: Clinadapt
) -> None:
    version = publish(adapter, store)
    to = tmp_path / "served"
    for _ in range(2):  # a pod that begins again finds what it left
        done = clinadapt("registry", "fetch", NAME, "--store", store, "--to", to, "--json")
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["uri"] == f"{store}/adapters/{NAME}/{VERSION}"
    assert list_files(to / "adapter", ()) == list_files(version, ())
    config = yaml.safe_load((to / "vllm.yaml").read_text())
    assert config["model"] == str(tiny_llama) and config["lora-modules"] == [f"{NAME}={to}/adapter"]
    assert config["max-lora-rank"] == 8 and config["max-model-len"] == 512 and "quantization" not in config
    assert config["override-generation-config"] == {"temperature": 0.0, "max_new_tokens": 32}
    assert config["generation-config"] == "vllm"  # the adapter publishes no ends of its own, as in earlier releases


def test_answers_end_where_they_ended_in_evaluation(adapter: Path, store: str, tmp_path: Path) -> None:
    write_json(adapter / "generation_config.json", {"eos_token_id": [1, 7]})
    publish(adapter, store)
    fetch_served(NAME, store, tmp_path / "served")
    config = yaml.safe_load((tmp_path / "served/vllm.yaml").read_text())
    assert read_json(Path(config["generation-config"]) / "generation_config.json") == {"eos_token_id": [1, 7]}


def test_the_prompt_is_that_of_training(adapter: Path, store: str, tmp_path: Path) -> None:
    """The messages that README.md shows, through the template that vLLM is given, as it renders them."""
    publish(adapter, store)
    fetch_served(NAME, store, tmp_path / "served")
    config = yaml.safe_load((tmp_path / "served/vllm.yaml").read_text())
    (shown,) = re.findall(r"-d '(\{.*?\})'\n", (ROOT / "manifests/README.md").read_text(), re.DOTALL)
    messages = json.loads(shown)["messages"]
    assert messages[0] == {"role": "system", "content": SYSTEM}
    messages[1]["content"] = messages[1]["content"].replace("NOTE", QUESTION.note).replace("ASK", QUESTION.instruction)
    tokenizer = load_tokenizer(adapter)
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
        Path(config["chat-template"]).read_text()
    )
    special = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
    prompt = template.render(messages=messages, add_generation_prompt=True, **special)
    assert prompt == Template(tokenizer).prompt(QUESTION)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"r": 16}, {"max-lora-rank": 16}),
        ({"r": 20}, {"max-lora-rank": 32}),
        ({"precision": "bf16"}, {"dtype": "bfloat16"}),
        ({"quantization": "nf4", "precision": "fp16"}, {"quantization": "bitsandbytes", "dtype": "float16"}),
    ],
)
def test_the_settings_follow_the_adapter(
    adapter: Path, store: str, tmp_path: Path, changes: dict[str, object], expected: dict[str, object]
) -> None:
    publish(adapter, store, **changes)
    fetch_served(NAME, store, tmp_path / "served")
    assert expected.items() <= yaml.safe_load((tmp_path / "served/vllm.yaml").read_text()).items()


@pytest.mark.parametrize("changes", [{"r": 1024}, {"modules_to_save": ["lm_head"]}])
def test_what_vllm_does_not_serve_is_refused(
    adapter: Path, store: str, tmp_path: Path, changes: dict[str, object]
) -> None:
    publish(adapter, store, **changes)
    with pytest.raises(UserError, match="vLLM supports LoRA up to rank 512 without modules_to_save"):
        fetch_served(NAME, store, tmp_path / "served")
    assert not (tmp_path / "served/vllm.yaml").exists()


def test_what_was_not_published_is_not_served(
    adapter: Path, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor what was served before."""
    version, served = publish(adapter, store), tmp_path / "served"
    fetch_served(NAME, store, served)
    weights = (version / "adapter_model.safetensors").read_bytes()
    (version / "adapter_model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(UserError, match=r"adapter_model\.safetensors is not what was published"):
        fetch_served(NAME, store, served)
    assert not (served / "vllm.yaml").exists()
    (version / "adapter_model.safetensors").write_bytes(weights)
    monkeypatch.setenv(VERIFY_KEY, "-----BEGIN PUBLIC KEY-----")
    with pytest.raises(UserError, match=f"is not signed and {VERIFY_KEY} requires it"):
        fetch_served(NAME, store, served)


def test_another_base_model_is_refused(adapter: Path, store: str, tmp_path: Path) -> None:
    publish(adapter, store, base_digest="sha256:another")
    with pytest.raises(UserError, match="has changed since this adapter was trained"):
        fetch_served(NAME, store, tmp_path / "served")


def test_a_classifier_is_refused(adapter: Path, store: str, tmp_path: Path) -> None:
    publish(adapter, store, recipe="classify")
    with pytest.raises(UserError, match="is missing, broken, of another recipe"):
        fetch_served(NAME, store, tmp_path / "served")

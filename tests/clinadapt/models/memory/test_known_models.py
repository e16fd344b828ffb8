"""The table of known models, held against published numbers of parameters and against transformers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from clinadapt.models.decoder_tensors import decoder_tensors
from clinadapt.models.memory.available import capacity
from clinadapt.models.memory.known_models import KnownModel, find, known_models
from clinadapt.models.memory.sizes import decoder_config
from pipelines.named_settings import load_cluster, load_profile, profile_names

GIB = 2**30


@pytest.mark.parametrize("model", known_models(), ids=lambda model: model.names[0])
def test_the_number_of_parameters_is_the_published_one(model: KnownModel) -> None:
    base = model.describe(model.names[0])
    if model.parameters:
        assert base.parameters() == model.parameters
    else:  # Llama-2 with a few more tokens
        size = model.names[0].removeprefix("epfl-llm/meditron-")
        assert (llama := find(f"Llama-2-{size}-hf")) and llama[1].parameters
        assert 0 < base.parameters() / llama[1].parameters - 1 < 1e-4


@pytest.mark.parametrize("model", known_models(), ids=lambda model: model.names[0])
def test_the_tensors_are_those_of_transformers(model: KnownModel) -> None:
    """At two layers, as all are alike; with the vision tower of a multimodal one."""
    config = copy.deepcopy(model.config)
    decoder_config(config)["num_hidden_layers"] = 2
    if "vision_config" in config:
        config["vision_config"]["num_hidden_layers"] = 2
    settings: dict[str, Any] = {name: value for name, value in config.items() if name != "model_type"}
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(AutoConfig.for_model(config["model_type"], pad_token_id=0, **settings))
    assert {name: ("BF16", list(p.shape)) for name, p in made.named_parameters()} == decoder_tensors(config, "BF16")


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("hf://microsoft/phi-2", "microsoft/phi-2"),
        ("hf://microsoft/phi-2@0123456789abcdef", "microsoft/phi-2"),
        ("microsoft/Phi-2", "microsoft/phi-2"),
        ("medgemma-4b-it", "google/medgemma-4b-it"),
        ("hf://meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
    ],
)
def test_a_model_is_found_by_its_name(location: str, name: str) -> None:
    found = find(location)
    assert found and found[0] == name and found[1].describe(name).uri == f"hf://{name}"


@pytest.mark.parametrize("location", ["hf://microsoft/phi", "phi", "file:///models/phi-2", "s3://models/phi-2", ""])
def test_no_other_name_is_taken_for_one(location: str) -> None:
    assert find(location) is None


def test_names_are_listed_once_and_the_profiles_are_among_them() -> None:
    names = [name.casefold() for model in known_models() for name in model.names]
    assert len(names) == len(set(names))
    bases = {load_profile(name).training.base_model for name in profile_names()}
    assert all(find(uri) for uri in bases if uri.startswith("hf://"))


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


@pytest.mark.usefixtures("no_hub")
@pytest.mark.parametrize("profile", ["a100x4-llama3-8b", "t4-tinyllama"])
def test_a_profile_is_estimated_without_a_hub(clinadapt: Any, profile: str) -> None:
    done = clinadapt("estimate", "-p", profile, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "config.json of" in found["source"] and "without a model hub" in done.stderr


@pytest.mark.usefixtures("no_hub")
def test_which_models_fit_a_gpu(clinadapt: Any) -> None:
    done = clinadapt("estimate", "--gpu", "24", "--json")
    assert done.returncode == 0, done.stderr
    found = {model["base_model"]: model for model in json.loads(done.stdout)["models"]}
    assert len(found) == len(known_models())
    assert found["hf://HuggingFaceTB/SmolLM2-135M"]["fits"] == ["full", "LoRA", "QLoRA"]
    assert found["hf://meta-llama/Meta-Llama-3-8B"]["fits"] == ["LoRA", "QLoRA"]
    assert found["hf://google/gemma-3-27b-pt"]["fits"] == ["QLoRA"]
    assert found["hf://meta-llama/Llama-2-70b-hf"]["fits"] == []
    for model in found.values():
        assert model["fits"] == [name for name, total in model["total_bytes"].items() if total <= 24 * GIB]
    assert "Phi-3-mini-4k-instruct" in done.stderr and "yes" in done.stderr and "tight" in done.stderr


@pytest.mark.usefixtures("no_hub")
def test_a_slice_of_a_gpu_by_its_resource_name(clinadapt: Any, tmp_path: Path) -> None:
    """As Kubernetes names it, in the command, and in the settings of a cluster, for whose runs preflight counts it."""
    done = clinadapt("estimate", "--gpu", "nvidia.com/mig-1g.5gb", "--base-model", "phi-2", "--json")
    assert json.loads(done.stdout)["available_bytes"] == 5e9, done.stderr
    site = tmp_path / "site.yaml"
    site.write_text("name: site\ngpu: {resource: nvidia.com/mig-1g.5gb}\n")
    done = clinadapt("estimate", "-p", "t4-phi2", "--cluster", site, "--json")
    assert json.loads(done.stdout)["available_bytes"] == 5e9, done.stderr
    adapted = load_cluster(str(site)).adapted(load_profile("t4-phi2"))
    assert capacity(adapted.train_resources) == ("cuda", 5e9)
    whole = adapted.train_resources.model_copy(update={"gpu_type": "nvidia.com/gpu"})
    assert capacity(whole) == ("cuda", 15 * GIB)


@pytest.mark.usefixtures("no_hub")
def test_one_model_on_a_gpu_with_the_settings_of_a_profile(clinadapt: Any) -> None:
    done = clinadapt("estimate", "--gpu", "15", "-p", "t4-phi2", "--base-model", "phi-2", "--json")
    found, profile = json.loads(done.stdout), json.loads(clinadapt("estimate", "-p", "t4-phi2", "--json").stdout)
    assert found["settings"]["per_device_train_batch_size"] == 2
    (model,) = found["models"]
    assert model["total_bytes"] == {
        name: parts["total"] for name, parts in profile["stages"]["instruct"]["methods"].items()
    }

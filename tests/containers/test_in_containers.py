"""Both pipelines as compiled for a cluster: every step in a container of its own, as any user, with nothing to write to
but /tmp and the volumes, and no network but the store's.

make images IMAGES=cpu && python -m pytest tests/containers -s    prints where the time of each step went
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from containers import LOCKED, Site
from docker.models.containers import Container
from support import WriteProfile, instruct_profile

from clinadapt.artifacts.code_version import code_version
from clinadapt.artifacts.hashing import read_json
from clinadapt.artifacts.manifest import MANIFEST
from clinadapt.config.image import IMAGE
from clinadapt.models.mirror import mirror

pytestmark = pytest.mark.slow
CLASSIFY = ["preflight", "download", "screen", "format", "lookup", "train", "evaluate", "gate", "publish", "summarise"]
INSTRUCT = ["preflight", "download", "screen", "synthesize", "format", "lookup", "pretrain", *CLASSIFY[5:]]


def run_in(client: docker.DockerClient, *command: str, **options: Any) -> str:
    return client.containers.run(IMAGE, list(command), remove=True, **{**LOCKED, **options}).decode()


def test_the_image_holds_this_code_and_nothing_that_builds(client: docker.DockerClient) -> None:
    """An image of yesterday would prove yesterday's code."""
    code = "from clinadapt.artifacts.code_version import code_version; print(code_version('pipelines.cli.main'))"
    assert run_in(client, "python", "-c", code, network_mode="none").strip() == code_version("pipelines.cli.main")
    tools = "command -v gcc cc c++ make pip git || echo none"
    assert run_in(client, "sh", "-c", tools, network_mode="none").strip() == "none"


def test_the_image_says_what_is_in_it(client: docker.DockerClient) -> None:
    image = client.images.get(IMAGE)
    assert image.labels["org.opencontainers.image.version"] == IMAGE.rpartition(":")[2]
    assert image.attrs["Config"]["User"] == "10001:0"
    bom = json.loads(run_in(client, "cat", "/opt/clinadapt/sbom.cdx.json", network_mode="none"))
    named = {part["name"].lower().replace("_", "-"): part["version"] for part in bom["components"]}
    code = "import importlib.metadata as m; [print(d.name.lower().replace('_', '-')) for d in m.distributions()]"
    installed = set(run_in(client, "python", "-c", code, network_mode="none").split())
    assert bom["bomFormat"] == "CycloneDX" and bom["metadata"]["component"]["name"] == "clinadapt"
    assert installed - {"clinadapt"} <= named.keys() and named["torch"].startswith("2.")


def test_the_user_cannot_write_elsewhere(client: docker.DockerClient) -> None:
    """Even where the root file system is not read-only."""
    code = (
        "find / -xdev -writable ! -type l ! -path '/proc/*' ! -path '/dev/*' ! -path '/tmp*' ! -path '/scratch*'; true"
    )
    found = run_in(client, "sh", "-c", code + " 2>/dev/null", network_mode="none", read_only=False).split()
    assert set(found) <= {"/var/tmp", "/run/lock"}


def test_classify_goes_on_where_its_training_was_killed(
    site: Site, write_profile: WriteProfile, tiny_bert: Path
) -> None:
    """SIGKILL from outside, as on a node that is lost: the retry resumes in a new container, with the same bytes."""
    mirror(tiny_bert.as_uri(), f"{site.store.uri}/base")
    train = {"base_model": f"{site.store.uri}/base", "num_train_epochs": 2, "checkpoint_minutes": 1e-6}
    profile = write_profile(train, source=f"{site.store.uri}/notes.csv")
    undisturbed = site.run(profile)
    assert [(step.name, step.state["ExitCode"]) for step in site.engine.steps] == [(name, 0) for name in CLASSIFY]
    tell(site)
    result = summary(site, undisturbed)
    assert (result["state"], result["verdict"]) == ("published", "pass")
    adapter = f"{site.store.uri}/adapters/specialty/{result['adapter_uri'].rpartition('/')[2]}"
    assert result["adapter_uri"] == adapter

    killed: list[str] = []

    def kill(container: Container) -> None:
        container.reload()
        while not killed and "train_classify" in str(container.attrs["Config"]["Cmd"]):
            if any(key.endswith(MANIFEST) for key in site.store.list("other/checkpoints/")):
                container.kill()
                killed.append(container.id)
            time.sleep(0.02)

    site.engine.steps.clear()
    site.engine.meanwhile = kill
    disturbed = site.run(profile, store=f"{site.store.uri}/other")
    first, second = (step for step in site.engine.steps if step.name == "train")
    assert (first.state["ExitCode"], second.state["ExitCode"]) == (137, 0)
    assert not first.has("done in") and second.has("resuming at step")
    assert digest(site, disturbed) == digest(site, undisturbed)


def test_instruct(site: Site, tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    sources = [{"kind": "notes", "uri": f"{site.store.uri}/notes.csv"}]
    profile.write_text(yaml.safe_dump(instruct_profile(sources=sources, synthesis={"triples_per_note": 1})))
    result = summary(site, site.run(profile))
    tell(site)
    assert [(step.name, step.state["ExitCode"]) for step in site.engine.steps] == [(name, 0) for name in INSTRUCT]
    assert (result["state"], result["verdict"]) == ("published", "pass")
    assert result["adapter_uri"].startswith(f"{site.store.uri}/adapters/answers/")


def summary(site: Site, run: str) -> dict[str, Any]:
    return json.loads(site.store.get(f"runs/{run}/summary.json")[0])


def digest(site: Site, run: str) -> str:
    """Of the adapter that a run trained, all its files."""
    (manifest,) = (site.home / run).glob(f"*/train-classify/adapter/{MANIFEST}")
    return str(read_json(manifest)["files"]["adapter_model.safetensors"]["sha256"])


def tell(site: Site) -> None:
    print(f"\n{'step':<12}{'engine':>8}{'start':>8}{'work':>8}{'end':>8}  seconds")
    for step in site.engine.steps:
        print(f"{step.name:<12}" + "".join(f"{seconds:8.1f}" for seconds in step.seconds()))

"""The locks of the images: every package with its hashes, in the versions that are tested."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = {"build": 20, "models": 0, "cpu": 20, "gpu": 20, "review": 20}  # name -> has more packages than


def pins(text: str) -> dict[str, str]:
    """Package, as pip compares names -> version."""
    found = re.findall(r"(?m)^([A-Za-z0-9_.-]+)==([^\s;]+)", text)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def lock(name: str) -> str:
    return (ROOT / f"images/{name}.txt").read_text()


TESTED = pins((ROOT / "constraints.txt").read_text())


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_with_hashes_as_tested(name: str) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n", "", lock(name)).strip())
    assert len(entries) > LOCKS[name]
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []
    pinned = {package: version.removesuffix("+cpu") for package, version in pins(lock(name)).items()}
    assert {package: TESTED[package] for package in pinned.keys() & TESTED.keys()}.items() <= pinned.items()


def test_the_images_differ_in_what_they_are_for() -> None:
    cpu, gpu, review = (pins(lock(name)) for name in ("cpu", "gpu", "review"))
    assert cpu["torch"] == review["torch"] == f"{gpu['torch']}+cpu"
    assert {"nvidia-cudnn-cu13", "triton"} <= gpu.keys() - cpu.keys() and "bitsandbytes" in gpu
    assert {"gradio"} <= review.keys() - cpu.keys() and cpu.items() <= review.items()
    assert not {"pytest", "mypy", "moto"} & (cpu.keys() | gpu.keys() | review.keys())


def test_the_lock_names_what_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = {"gpu": extras["builtin"], "cpu": extras["builtin"], "review": extras["builtin"] + extras["review"]}
    for name, extra in asked.items():
        wanted = {
            re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", line)[0]).lower() for line in project["dependencies"] + extra
        }
        assert wanted <= pins(lock(name)).keys(), name

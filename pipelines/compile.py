"""Compile a profile's pipeline to the IR that a cluster runs."""

from pathlib import Path

from kfp import compiler

from components.common.recipe import Profile
from pipelines.classify import build
from pipelines.cluster import Cluster


def compile_profile(profile: Profile, cluster: Cluster, folder: Path) -> Path:
    """Write `<recipe>-<profile>.yaml` into `folder` and return its path."""
    path = folder / f"{profile.recipe}-{profile.name}.yaml"
    compiler.Compiler().compile(build(profile, cluster), str(path))
    return path

"""Pipelines of profiles, compiled to the IR that Kubeflow Pipelines runs."""

import re
from pathlib import Path

from kfp import compiler
from kfp.dsl.graph_component import GraphComponent

from clinadapt.config.classify import ClassifyProfile
from clinadapt.config.instruct import InstructProfile
from clinadapt.config.profile import AnyProfile
from clinadapt.kubernetes.cluster import Cluster
from pipelines import classify, instruct


def build(profile: AnyProfile, cluster: Cluster | None = None, caching: bool = True) -> GraphComponent:
    """The pipeline of the profile's recipe, for a cluster or, without one, for this machine."""
    profile = cluster.adapted(profile) if cluster else profile
    if isinstance(profile, ClassifyProfile):
        return classify.build(profile, cluster, caching)
    return instruct.build(profile, cluster, caching)


def compile_profile(profile: AnyProfile, cluster: Cluster, folder: Path, caching: bool = True) -> Path:
    """Write `<recipe>-<profile>.yaml` into `folder` and return its path."""
    path = folder / f"{profile.recipe}-{profile.name}.yaml"
    pipeline = build(profile, cluster, caching)
    compiler.Compiler().compile(pipeline, str(path))
    if isinstance(profile, InstructProfile):
        _sort_sources_comment(path, profile)
    return path


def _sort_sources_comment(path: Path, profile: InstructProfile) -> None:
    """Sort the keys in the comment that lists the sources: protobuf writes them in a different order each time."""
    shown = [dict(sorted(source.model_dump(exclude_defaults=True).items())) for source in profile.sources]
    text = re.sub(r"(?m)^(#    sources: list ).*$", lambda line: f"{line[1]}[Default: {shown}]", path.read_text())
    path.write_text(text)

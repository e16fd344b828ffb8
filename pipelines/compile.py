"""A profile's pipeline, and the IR of it that a cluster runs."""

import re
from pathlib import Path

from kfp import compiler
from kfp.dsl.graph_component import GraphComponent

from clinadapt.config.classify import ClassifyProfile
from clinadapt.config.instruct import InstructProfile
from clinadapt.config.profile import AnyProfile
from clinadapt.kubernetes.cluster import Cluster
from pipelines import classify, instruct


def build(profile: AnyProfile, cluster: Cluster | None = None) -> GraphComponent:
    """The pipeline of the profile's recipe; for this machine when there is no cluster."""
    if isinstance(profile, ClassifyProfile):
        return classify.build(profile, cluster)
    return instruct.build(profile, cluster)


def compile_profile(profile: AnyProfile, cluster: Cluster, folder: Path) -> Path:
    """Write `<recipe>-<profile>.yaml` into `folder` and return its path."""
    path = folder / f"{profile.recipe}-{profile.name}.yaml"
    pipeline = build(profile, cluster)
    compiler.Compiler().compile(pipeline, str(path))
    if isinstance(profile, InstructProfile):
        _put_in_order(path, profile)
    return path


def _put_in_order(path: Path, profile: InstructProfile) -> None:
    """The comment on the run form shows the sources; protobuf gives their keys in another order each time."""
    shown = [dict(sorted(source.model_dump(exclude_defaults=True).items())) for source in profile.sources]
    text = re.sub(r"(?m)^(#    sources: list ).*$", lambda line: f"{line[1]}[Default: {shown}]", path.read_text())
    path.write_text(text)

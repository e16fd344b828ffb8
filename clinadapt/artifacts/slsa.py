"""Provenance of a published folder for tools that read attestations: an in-toto statement with SLSA provenance.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

from typing import Any

from clinadapt.artifacts.hashing import sha256_json
from clinadapt.artifacts.manifest import MANIFEST, MANIFEST_DIGEST

STATEMENT_TYPE, PREDICATE_TYPE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
ATTESTATION = "attestation"  # field of a signed manifest: the DSSE envelope
MANIFEST_CONTENT = f"{MANIFEST}#content"  # name of the subject that stands for the manifest

# Step -> what its output is called among the inputs of later steps
OUTPUTS = {
    "download": "dataset",
    "screen": "dataset",
    "synthesize": "dataset",
    "format": "splits",
    "pretrain": "base_model",
    "train": "adapter",
    "prefer": "adapter",
    "evaluate": "evaluation",
    "gate": "verdict",
}


def subjects(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Resource descriptors of all files, and of the manifest's content: the sha256 of its canonical JSON without the
    fields `attestation` and `manifest_digest`, which are added afterwards."""
    content = {name: value for name, value in manifest.items() if name not in (ATTESTATION, MANIFEST_DIGEST)}
    files = [_descriptor(name, file["sha256"]) for name, file in manifest["files"].items()]
    return [*files, _descriptor(MANIFEST_CONTENT, sha256_json(content))]


def statement(manifest: dict[str, Any], predicate: dict[str, Any]) -> dict[str, Any]:
    """The in-toto statement about a sealed folder."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": subjects(manifest),
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }


def provenance(manifest: dict[str, Any]) -> dict[str, Any]:
    """SLSA provenance of an adapter version; the dependencies and their digests come from its chain of steps.

    The digest of several files is the sha256 of their list as canonical JSON.
    """
    chain = manifest["chain"]
    images = sorted({link["image"] for link in chain if "image" in link})
    settings = {
        "adapter_name": manifest["name"],
        "sources": [uri for link in chain if link["step"] == "download" for uri in link["inputs"]],
        "base_model": manifest["base_model"],
        "settings": manifest["settings"],
    }
    predicate = _predicate(manifest, f"pipelines/{manifest['recipe']}.py", settings, _dependencies(manifest))
    predicate["buildDefinition"]["internalParameters"]["chain"] = chain
    predicate["runDetails"]["builder"]["builderDependencies"] = [
        _descriptor("image", image.rpartition("@")[2], image) for image in images
    ]
    outputs = [link for link in chain if link["step"] in ("evaluate", "gate")]
    predicate["runDetails"]["byproducts"] = [
        _descriptor("metrics", sha256_json(manifest["metrics"])),
        *(_descriptor(OUTPUTS[link["step"]], link["output"]) for link in outputs),
    ]
    return predicate


def export_provenance(manifest: dict[str, Any]) -> dict[str, Any]:
    """SLSA provenance of merged weights: the adapter version and its base model."""
    settings = {key: manifest[key] for key in ("name", "version", "base_model", "dtype")}
    adapter = _descriptor("adapter", manifest["adapter_digest"])
    base = _descriptor("base model", manifest["base_digest"], manifest["base_model"])
    return _predicate(manifest, "clinadapt/registry/export.py", settings, [adapter, base])


def _predicate(
    manifest: dict[str, Any], builder: str, settings: dict[str, Any], dependencies: list[dict[str, Any]]
) -> dict[str, Any]:
    """What all provenance has in common; `builder` is the module that made the folder."""
    package = f"pkg:generic/clinadapt@{manifest['code_version'].replace('+', '%2B')}"
    times = {"startedOn": manifest.get("started"), "finishedOn": manifest["created"]}
    return {
        "buildDefinition": {
            "buildType": f"{package}#{builder}",
            "externalParameters": settings,
            "internalParameters": {"code_version": manifest["code_version"]},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {"id": package, "version": {"clinadapt": manifest["code_version"]}},
            "metadata": {
                "invocationId": manifest["published_by"],
                **{name: time for name, time in times.items() if time},
            },
        },
    }


def broken_link(chain: list[dict[str, Any]]) -> str | None:
    """The first input of a step that differs from the output it came from, as `<input> of <step>`; None where all
    links agree."""
    outputs: dict[str, str] = {}
    for link in chain:
        for name, digest in link["inputs"].items():
            if outputs.get(name, digest) != digest:
                return f"{name} of {link['step']}"
        outputs[OUTPUTS[link["step"]]] = link["output"]
    return None


def _dependencies(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    dependencies = [_descriptor("base model", manifest["base_digest"], manifest["base_model"])]
    for link in manifest["chain"]:
        if link["step"] == "download":
            dependencies += [_descriptor("source", digest, uri) for uri, digest in link["inputs"].items()]
        elif link["step"] == "synthesize":
            dependencies.append(_descriptor("teacher", link["inputs"]["teacher"]))
        elif link["step"] == "pretrain":
            dependencies.append(_descriptor("base model before pretraining", link["inputs"]["base_model"]))
    for name in ("dataset", "splits"):
        dependencies.append(_descriptor(name, manifest[f"{name}_digest"]))
    return dependencies


def _descriptor(name: str, digest: str, uri: str = "") -> dict[str, Any]:
    """A resource descriptor. What is not a hash (an etag, the URI of built-in data) goes into an annotation."""
    algorithm, _, value = digest.partition(":")
    resource = {"name": name, **({"uri": uri} if uri else {})}
    algorithms = {"sha256": "sha256", "hf": "gitCommit"}
    if algorithm in algorithms:
        return resource | {"digest": {algorithms[algorithm]: value}}
    return {"uri": digest} | resource | {"annotations": {"content": digest}}

"""Where a published version comes from, for tools that read attestations: an in-toto statement with SLSA provenance.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

from typing import Any

from clinadapt.artifacts.hashing import sha256_json

STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"


def statement(manifest: dict[str, Any]) -> dict[str, Any]:
    """The statement about a version: subjects are its files; what went in, with digests, comes from its chain.

    A digest of ours that is of several files is the sha256 of their list as canonical JSON.
    """
    chain = manifest["chain"]
    package = f"pkg:generic/clinadapt@{manifest['code_version'].replace('+', '%2B')}"
    images = sorted({link["image"] for link in chain if "image" in link})
    times = {"startedOn": manifest.get("started"), "finishedOn": manifest["created"]}
    return {
        "_type": STATEMENT,
        "subject": [_described(name, file["sha256"]) for name, file in manifest["files"].items()],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": f"{package}#pipelines/{manifest['recipe']}.py",
                "externalParameters": {
                    "adapter_name": manifest["name"],
                    "sources": [uri for link in chain if link["step"] == "download" for uri in link["inputs"]],
                    "base_model": manifest["base_model"],
                    "settings": manifest["settings"],
                },
                "internalParameters": {"code_version": manifest["code_version"], "chain": chain},
                "resolvedDependencies": _dependencies(manifest),
            },
            "runDetails": {
                "builder": {
                    "id": package,
                    "version": {"clinadapt": manifest["code_version"]},
                    "builderDependencies": [_described("image", image.rpartition("@")[2], image) for image in images],
                },
                "metadata": {"invocationId": manifest["by"], **{name: time for name, time in times.items() if time}},
                "byproducts": [
                    _described("metrics", sha256_json(manifest["metrics"])),
                    *(_described(OUTPUTS[link["step"]], link["output"]) for link in chain
                      if link["step"] in ("evaluate", "gate")),
                ],
            },
        },
    }  # fmt: skip


OUTPUTS = {
    "download": "dataset",
    "synthesize": "dataset",
    "format": "splits",
    "pretrain": "base_model",
    "train": "adapter",
    "prefer": "adapter",
    "evaluate": "evaluation",
    "gate": "verdict",
}  # what a step's output is called where it goes in


def broken_link(chain: list[dict[str, Any]]) -> str | None:
    """The first step of which something went in that is not what came out before, and what; None where all agrees."""
    out: dict[str, str] = {}
    for link in chain:
        for name, digest in link["inputs"].items():
            if out.get(name, digest) != digest:
                return f"{name} of {link['step']}"
        out[OUTPUTS[link["step"]]] = link["output"]
    return None


def _dependencies(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    found = [_described("base model", manifest["base_digest"], manifest["base_model"])]
    for link in manifest["chain"]:
        if link["step"] == "download":
            found += [_described("source", digest, uri) for uri, digest in link["inputs"].items()]
        elif link["step"] == "synthesize":
            found.append(_described("teacher", link["inputs"]["teacher"]))
        elif link["step"] == "pretrain":
            found.append(_described("base model before pretraining", link["inputs"]["base_model"]))
    named = {"dataset": "dataset_digest", "splits": "splits_digest"}
    return [*found, *(_described(name, manifest[key]) for name, key in named.items())]


def _described(name: str, digest: str, uri: str = "") -> dict[str, Any]:
    """A resource descriptor. What is no hash (an etag, the URI of built-in data) stands in an annotation."""
    algorithm, _, value = digest.partition(":")
    where = {"name": name, **({"uri": uri} if uri else {})}
    known = {"sha256": "sha256", "hf": "gitCommit"}
    if algorithm in known:
        return where | {"digest": {known[algorithm]: value}}
    return {"uri": digest} | where | {"annotations": {"content": digest}}

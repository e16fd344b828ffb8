"""Write the results of an evaluation: evaluation.json and the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest


def write_results(output: Path, evaluation: dict[str, Any], splits: Path, adapter: Path) -> None:
    """Write evaluation.json, then the manifest of all files in `output` with the digests of splits and adapter."""
    write_json(output / "evaluation.json", evaluation)
    adapter_manifest = read_json(adapter / MANIFEST)
    inputs = {"splits": read_json(splits / MANIFEST)["digest"], "adapter": adapter_manifest["digest"]}
    digests = {f"{name}_digest": digest for name, digest in inputs.items()}
    write_manifest(output, digests, "evaluate", inputs, [adapter_manifest])

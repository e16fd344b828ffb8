"""Export a published version as merged 16-bit weights that give the same answers as base model + adapter."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import ModelCard

from clinadapt.artifacts.code_version import code_version
from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.sealed_folder import SealedFolder
from clinadapt.artifacts.signing import sign_manifest, verify_manifest
from clinadapt.artifacts.slsa import export_provenance
from clinadapt.artifacts.step_record import log, utc_now
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import CARD, adapter_recipe
from clinadapt.models.merging import HEAD, write_merged
from clinadapt.registry.adapters import downloaded_adapter, refuse_unapproved
from clinadapt.registry.champion import actor
from clinadapt.registry.export_check import Comparison, compare
from clinadapt.registry.held_out import find_splits, held_out
from clinadapt.storage import open_store
from clinadapt.storage.local_files import os_errors
from clinadapt.storage.object_store import Store

# Mean absolute difference of the log-likelihood, in nats (a token of the right answer, or a note), by the quantization
# that the adapter was trained with. Measured with `clinadapt registry export` on two cores: rounding to 16 bits alone
# moves it by 0.0001 to 0.003; a 4-bit base is itself rounded, which merging into the 16-bit base undoes: 0.03.
TOLERANCE = {"none": 0.02, "nf4": 0.1}
_UNFINISHED = ".export"  # object at the target until the manifest is written: the digest of the exported version


def run(
    adapter: str, store_uri: str, target: str, splits: str | None, home: Path, tolerance: float | None
) -> dict[str, Any]:
    """Merge a published version, compare the answers, and write a sealed folder to `target`.

    Args:
        adapter: a name (its champion), name/version or URI.
        store_uri: the store that it is published in.
        target: URI of an empty folder or prefix, or one where this export was interrupted.
        splits: URI of the splits that the version was evaluated with; searched in `home` when None.
        home: folder of local runs.
        tolerance: of `compare`'s difference, in nats; TOLERANCE when None.

    Returns:
        The manifest, with the `uri` of the target.

    Raises:
        UserError: the version is not what was published or still needs approval, the splits are not available, the
            target contains something else, or the merged model gives other answers. Nothing stays at the target then.
    """
    store = open_store(target)
    refuse_unapproved(adapter, store_uri)
    with downloaded_adapter(adapter, store_uri) as (folder, uri):
        version = verify_manifest((folder / MANIFEST).read_bytes(), f"{uri}/{MANIFEST}")
        if existing := _existing_export(store, version["digest"]):
            log("export", f"{uri} has been exported there already")
            return existing | {"uri": store.uri}
        splits = splits or find_splits(home, version["splits_digest"])
        if splits is None:
            raise UserError(
                f"the splits that this version was evaluated with are not in {home}, and a version contains no notes: "
                "give them with --splits, the artifact `splits` of its run's step format, digest "
                f"{version['splits_digest']}"
            )
        with held_out(splits, version["splits_digest"]) as examples, TemporaryDirectory(prefix="clinadapt-") as scratch:
            merged = Path(scratch)
            log("export", f"merging {uri} into {version['base_model']}")
            with os_errors("cannot write the merged weights"):
                dtype = write_merged(folder, merged)
            log("export", "comparing with base + adapter")
            comparison = compare(folder, merged, examples)
            _check(comparison, read_json(folder / CARD)["quantization"], tolerance)
            _write_card(folder, merged, version, dtype, comparison)
            _write_manifest(merged, version, dtype, comparison)
            _upload(store, merged, version["digest"])
            return verify_manifest((merged / MANIFEST).read_bytes(), MANIFEST) | {"uri": store.uri}


def _existing_export(store: Store, digest: str) -> dict[str, Any] | None:
    """The manifest of a complete export of this version at the target; None where it is empty or was interrupted.

    Raises:
        UserError: the target contains something else.
    """
    keys = store.list()
    if MANIFEST in keys:
        manifest = verify_manifest(store.get(MANIFEST)[0], f"{store.uri}/{MANIFEST}")
        if manifest.get("adapter_digest") == digest:
            store.delete(_UNFINISHED)
            return manifest
    elif not keys or (_UNFINISHED in keys and store.get(_UNFINISHED)[0].decode() == digest):
        return None
    raise UserError(f"{store.uri} is not empty: give a new folder with --to")


def _check(comparison: Comparison, quantization: str, tolerance: float | None) -> None:
    limit = TOLERANCE[quantization] if tolerance is None else tolerance
    result = f"on {comparison['examples']} held-out examples {summarize(comparison)}"
    if not comparison["difference"] <= limit:  # also where it is nan
        raise UserError(
            f"not exported, the merged model gives other answers than base + adapter: {result}; the tolerance is "
            f"{limit:g}"
        )
    log("export", f"{result}; the tolerance is {limit:g}")


def summarize(comparison: Comparison) -> str:
    """The comparison in one sentence."""
    return (
        f"the log-likelihood differs by {comparison['difference']:.2g} nats, and {comparison['equal']:.1%} of "
        f"{comparison['answers']} answers are the same"
    )


def _write_card(adapter: Path, merged: Path, version: dict[str, Any], dtype: str, comparison: Comparison) -> None:
    """Adapter card and model card beside the weights."""
    shutil.copyfile(adapter / CARD, merged / CARD)
    card = read_json(adapter / CARD)
    loader = "AutoModelForCausalLM"
    if card["recipe"] == "classify":
        pooled = card["pooling"] == "model"
        loader = "AutoModelForSequenceClassification" if pooled else f"AutoModel (the head is in {HEAD})"
    note = (
        f"**Merged weights** ({dtype}) of version `{version['name']}/{version['version']}`: base model and adapter in "
        f"one, loaded with {loader}. Compared with base model + adapter on {comparison['examples']} held-out examples, "
        f"{summarize(comparison)}. The adapter's own card follows."
    )
    readme = ModelCard.load(adapter / "README.md")
    readme.data.library_name = "transformers"
    title, _, rest = readme.text.strip().partition("\n")
    readme.text = f"{title}\n\n{note}\n{rest}"
    readme.save(merged / "README.md")


def _write_manifest(merged: Path, version: dict[str, Any], dtype: str, comparison: Comparison) -> None:
    fields = {key: version[key] for key in ("name", "version", "base_model", "base_digest", "splits_digest", "metrics")}
    fields |= {
        "recipe": adapter_recipe(merged),
        "adapter_digest": version["digest"],
        "dtype": dtype,
        "comparison": comparison,
        "code_version": code_version("clinadapt.registry.export"),
        "created": utc_now(),
        "published_by": actor(),
    }
    manifest = write_manifest(merged, fields)
    write_json(merged / MANIFEST, sign_manifest(manifest, export_provenance(manifest)))


def _upload(store: Store, merged: Path, digest: str) -> None:
    """Publish at the target; where that fails, remove what was uploaded."""
    try:
        store.put(_UNFINISHED, digest.encode())
        SealedFolder(store).publish(merged)
    except BaseException:
        if not store.exists(MANIFEST):  # else it is complete, by this run or another
            for key in (_UNFINISHED, *(path.name for path in merged.iterdir())):
                store.delete(key)
        raise
    store.delete(_UNFINISHED)

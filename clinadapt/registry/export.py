"""Export a published version as merged 16-bit weights that answer as base model + adapter do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import ModelCard

from clinadapt.artifacts.code_version import code_version
from clinadapt.artifacts.hashing import read_json, write_json
from clinadapt.artifacts.manifest import MANIFEST, write_manifest
from clinadapt.artifacts.signing import check_seal, seal
from clinadapt.artifacts.step_record import log
from clinadapt.errors import UserError
from clinadapt.models.adapter_card import CARD, adapter_recipe
from clinadapt.models.merging import HEAD, write_merged
from clinadapt.registry.adapters import downloaded_adapter
from clinadapt.registry.champion import now, who
from clinadapt.registry.export_check import compare
from clinadapt.registry.held_out import find, held_out
from clinadapt.storage import open_store
from clinadapt.storage.local_files import os_errors
from clinadapt.storage.object_store import Store
from clinadapt.storage.transfer import progress_bar

# Nats of the log-likelihood, a token of the right answer or a note, by the quantisation that the adapter was trained
# on; measured with `clinadapt registry export` on two cores. Rounding to 16 bits alone moved it by 0.0001 to
# 0.003. A 4-bit base was itself rounded away from the 16-bit one, which merging undoes: that moved it by 0.03.
TOLERANCE = {"none": 0.02, "nf4": 0.1}
_UNFINISHED = ".export"  # at the target while the manifest is not there


def run(
    adapter: str, store_uri: str, target: str, splits: str | None, home: Path, tolerance: float | None
) -> dict[str, Any]:
    """Merge a published version, compare, and put it into the folder or prefix `target`, the manifest last.

    Args:
        adapter: a name (its champion), name/version or URI.
        store_uri: where it is published.
        target: an empty folder or prefix, or one where this very export was cut.
        splits: URI of the splits that the version was evaluated with; looked for in `home` when None.
        home: of local runs.
        tolerance: of `compare`'s difference; TOLERANCE when None.

    Returns:
        The manifest, with the `uri` of the target.

    Raises:
        UserError: the version is not what was published, the splits cannot be had, something else lies at the target,
            or the merged model answers otherwise. Nothing is left behind.
    """
    store = open_store(target)
    with downloaded_adapter(adapter, store_uri) as (folder, uri):
        version = check_seal((folder / MANIFEST).read_bytes(), f"{uri}/{MANIFEST}")
        if there := _taken(store, version["digest"]):
            log("export", f"{uri} has been exported there already")
            return there | {"uri": store.uri}
        splits = splits or find(home, version["splits_digest"])
        if splits is None:
            raise UserError(
                f"no version holds notes, and the splits that this one was evaluated with are not in {home}: name them "
                f"with --splits, the artifact `splits` of its run's step format, digest {version['splits_digest']}"
            )
        with held_out(splits, version["splits_digest"]) as examples, TemporaryDirectory(prefix="clinadapt-") as scratch:
            merged = Path(scratch)
            log("export", f"merging {uri} into {version['base_model']}")
            with os_errors("cannot write the merged weights"):
                dtype = write_merged(folder, merged)
            log("export", "comparing with base + adapter")
            found = compare(folder, merged, examples)
            _judge(found, read_json(folder / CARD)["quantization"], tolerance)
            _describe(folder, merged, version, dtype, found)
            _put_in_place(store, merged, version["digest"])
            return check_seal((merged / MANIFEST).read_bytes(), MANIFEST) | {"uri": store.uri}


def _taken(store: Store, digest: str) -> dict[str, Any] | None:
    """The manifest of this version's export, where it lies there whole.

    Raises:
        UserError: something else lies there.
    """
    keys = store.list()
    if MANIFEST in keys:
        manifest = check_seal(store.get(MANIFEST)[0], f"{store.uri}/{MANIFEST}")
        if manifest.get("adapter_digest") == digest:
            store.delete(_UNFINISHED)
            return manifest
    elif not keys or (_UNFINISHED in keys and store.get(_UNFINISHED)[0].decode() == digest):
        return None
    raise UserError(f"{store.uri} is not empty: name a new folder with --to")


def _judge(found: dict[str, float], quantization: str, tolerance: float | None) -> None:
    most = TOLERANCE[quantization] if tolerance is None else tolerance
    told = f"on {found['examples']} held-out examples {tell(found)}"
    if not found["difference"] <= most:  # nan is no agreement
        raise UserError(
            f"not exported: the merged model does not answer as base + adapter, {told}; the tolerance is {most:g}"
        )
    log("export", f"{told}; the tolerance is {most:g}")


def tell(found: dict[str, float]) -> str:
    """The comparison in words."""
    return (
        f"the log-likelihood differs by {found['difference']:.2g} nats, and {found['equal']:.1%} of {found['answers']} "
        "answers are the same"
    )


def _describe(adapter: Path, merged: Path, version: dict[str, Any], dtype: str, found: dict[str, float]) -> None:
    """ClassifyCard, model card and manifest beside the weights."""
    shutil.copyfile(adapter / CARD, merged / CARD)
    card = ModelCard.load(adapter / "README.md")
    card.data.library_name = "transformers"
    name = f"{version['name']}/{version['version']}"
    title, _, rest = card.text.strip().partition("\n")
    card.text = f"{title}\n\n{_line(adapter, name, dtype, found)}\n{rest}"
    card.save(merged / "README.md")
    facts = {key: version[key] for key in ("name", "version", "base_model", "base_digest", "splits_digest", "metrics")}
    facts |= {
        "recipe": adapter_recipe(adapter),
        "adapter_digest": version["digest"],
        "dtype": dtype,
        "comparison": found,
    }
    facts |= {"code_version": code_version("clinadapt.registry.export"), "created": now(), "by": who()}
    write_json(merged / MANIFEST, seal(write_manifest(merged, facts)))


def _line(adapter: Path, name: str, dtype: str, found: dict[str, float]) -> str:
    card = read_json(adapter / CARD)
    how = "AutoModelForCausalLM"
    if card["recipe"] == "classify":
        how = "AutoModelForSequenceClassification" if card["pooling"] == "model" else f"AutoModel (the head is {HEAD})"
    return (
        f"**Merged weights** ({dtype}) of version `{name}`, base model and adapter in one; {how} loads this folder. "
        f"On {found['examples']} held-out examples, compared with base model + adapter, {tell(found)}. What follows is "
        "the card of the adapter."
    )


def _put_in_place(store: Store, merged: Path, digest: str) -> None:
    """Upload all files, the manifest last. What was uploaded goes when that fails."""
    paths = sorted(p for p in merged.iterdir() if p.name != MANIFEST)
    with _undone(store, [_UNFINISHED, *(path.name for path in paths)]):
        store.put(_UNFINISHED, digest.encode())
        with progress_bar("uploading", sum(path.stat().st_size for path in paths)) as moved:
            for path in paths:
                store.upload(path, path.name, moved)
        store.put(MANIFEST, (merged / MANIFEST).read_bytes())
    store.delete(_UNFINISHED)


@contextmanager
def _undone(store: Store, keys: list[str]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if not store.exists(MANIFEST):  # else it was whole before the cut, or another one has finished it
            for key in keys:
                store.delete(key)
        raise

"""Can this run succeed? Store, data, base model, LoRA targets, disk and memory, in seconds and on a CPU."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import uuid
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clinadapt.artifacts.code_version import code_version
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import ADAPTER_NAME, Lora, Quantization
from clinadapt.errors import UserError
from clinadapt.models.base_model import BaseModel, hub_folder
from clinadapt.models.lora_targets import adapted_layers
from clinadapt.models.memory.available import on_cluster
from clinadapt.models.memory.instruct import weights_on_disk
from clinadapt.registry.champion import champion
from clinadapt.storage import open_store
from clinadapt.storage.local_files import file_path
from clinadapt.storage.object_store import Conflict, Store

_ROOM = 2**30  # bytes that a run needs beside the base model, of scratch space and of a store in a folder


def checked_store(store_uri: str, adapter_name: str) -> Store:
    """The store, which can be used. Raises UserError when it cannot, or the adapter cannot have that name."""
    if not re.search(ADAPTER_NAME, adapter_name):
        raise UserError(f"adapter name '{adapter_name}': use small letters, digits and hyphens, at most 63")
    store = open_store(store_uri)
    if store_uri.startswith("file://"):
        check_room(file_path(store_uri), "choose another --store")
    check_store(store)
    log("preflight", f"store {store_uri} can be written")
    return store


def found(
    store: Store, adapter_name: str, data: str, base: BaseModel, stages: dict[str, dict[str, Any]]
) -> dict[str, str]:
    """What preflight tells the steps after it: digests, champion, and the settings that decide each stage of training,
    as JSON."""
    version, etag = champion(store, adapter_name) or ("", "")
    log("preflight", f"the champion to compare with is {version or 'none yet'}")
    return {
        "dataset_digest": data,
        "base_digest": base.digest,
        "champion_version": version,
        "champion_etag": etag,
        "code_version": code_version(),
        "settings": json.dumps({name: stage | {"base_model": base.pinned_uri()} for name, stage in stages.items()}),
    }


def check_base(base: BaseModel, lora: Lora, quantization: Quantization) -> None:
    """Raises UserError when a LoRA target matches no layer, or nf4 cannot be had."""
    layers = adapted_layers(base, lora)
    log("preflight", f"base model {base.config['model_type']}, {base.parameters() / 1e6:.1f} M parameters, "
        f"LoRA on {len(layers)} layers")  # fmt: skip
    if quantization == "nf4" and find_spec("bitsandbytes") is None:
        raise UserError("nf4 needs bitsandbytes, which is not installed: pip install bitsandbytes")


def check_store(store: Store) -> None:
    """Write, read, list and remove a small object, with and without conditions. Raises UserError when the store cannot
    be used."""
    key = f"runs/.preflight-{uuid.uuid4().hex}"
    etag = store.put(key, b"preflight")
    try:
        if store.get(key)[0] != b"preflight":
            raise UserError(f"the store {store.uri} does not give back what was written: do not use it")
        if store.list(key) != [key]:
            raise UserError(f"the store {store.uri} does not list what was written: do not use it")
        store.put(key, b"matches", if_match=etag)
        for condition in ({"if_absent": True}, {"if_match": etag}):
            with suppress(Conflict):
                store.put(key, b"must not be written", **condition)
                raise UserError(
                    f"the store {store.uri} ignores conditional writes (If-None-Match, If-Match), so two runs could "
                    "both win: update the server or use another one"
                )
    except Conflict as error:
        raise UserError(f"the store {store.uri} refuses a conditional write that holds: update the server") from error
    finally:
        store.delete(key)


def check_disk(base: BaseModel) -> None:
    """Room for scratch, and for a base model that has yet to be downloaded; on a cluster that goes to a volume of the
    train step. Raises UserError when it is short."""
    check_room(Path(tempfile.gettempdir()), "set TMPDIR")
    if not base.uri.startswith("hf://") or on_cluster():
        return
    folder = _existing(hub_folder())
    need, free = weights_on_disk(base) + _ROOM, shutil.disk_usage(folder).free
    if need > free:
        raise UserError(
            f"base model '{base.uri}' needs {need / 2**30:.1f} GiB of disk and {folder} has {free / 2**30:.1f} free: "
            "free space, or set CLINADAPT_CACHE to a larger disk"
        )


def check_room(folder: Path, otherwise: str) -> None:
    """Room for what a run writes beside its base model. Raises UserError when it is short."""
    free = shutil.disk_usage(_existing(folder)).free
    if free < _ROOM:
        raise UserError(
            f"{folder} has {free / 2**30:.1f} GiB free, the run needs {_ROOM / 2**30:.1f}: free space or {otherwise}"
        )


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.exists())

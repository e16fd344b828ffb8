"""What preflight of both recipes checks, and what it adds to the settings of the steps."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from clinadapt.artifacts.code_version import CACHED_STEPS, step_code_version, training_code_version
from clinadapt.artifacts.step_input import GENERATION, current_generation
from clinadapt.artifacts.step_record import log
from clinadapt.config.base import Lora, Quantization
from clinadapt.config.gate import Approval, person
from clinadapt.config.phi import Phi
from clinadapt.config.resolve import PinnedModel, Settings
from clinadapt.data.patients import Pseudonyms
from clinadapt.data.sources import skipped_files
from clinadapt.errors import UserError
from clinadapt.feedback.cases import Recipe
from clinadapt.feedback.corrections import describe, read_corrections
from clinadapt.kubernetes.trainjobs import check_trainer
from clinadapt.models.base_model import BaseModel, hub_folder
from clinadapt.models.lora_targets import adapted_layers
from clinadapt.models.memory.available import on_cluster
from clinadapt.models.memory.instruct import weights_on_disk
from clinadapt.privacy.detector_version import screening_digest
from clinadapt.privacy.second_opinion import described as second_opinion
from clinadapt.privacy.written_texts import direct_identifiers
from clinadapt.registry.approval.decisions import refuse_weaker
from clinadapt.registry.champion import champion
from clinadapt.registry.versions import read_manifest
from clinadapt.storage import open_store
from clinadapt.storage.local_files import file_path
from clinadapt.storage.object_store import Conflict, Store

_MIN_FREE_BYTES = 2**30  # bytes that a run needs beside the base model, of scratch space and of a store in a folder


def checked_store(store_uri: str) -> Store:
    """Open the store and check that it can be written. Raises UserError when it cannot."""
    store = open_store(store_uri)
    if store_uri.startswith("file://"):
        check_room(file_path(store_uri), "choose another --store")
    check_store(store)
    check_trainer()
    log("preflight", f"store {store_uri} can be written")
    return store


def check_approval(store: Store, name: str, policy: Approval | None, started_by: str) -> None:
    """Raises UserError where an adapter needs more approvals than this run asks for, or where nobody would know who
    must not approve what it publishes."""
    refuse_weaker(store, name, policy)
    if policy is None:
        return
    if not started_by.strip():
        raise UserError(
            "gate.approval: whoever starts a run must not approve what it publishes, and started_by on the run form is "
            "empty: write your name there, as it stands in gate.approval.of if it does"
        )
    try:
        starter = person(started_by)
    except ValueError as error:
        raise UserError("started_by on the run form is no name: write that of a user, and nothing else") from error
    left = sum(not each.may_be_same(starter) for each in policy.of)
    if left < policy.signers:
        raise UserError(
            f"gate.approval needs {policy.signers} signers, and {left} are left without {starter.label}, who starts "
            "this run: let somebody else start it, or name more people"
        )
    log("preflight", f"what passes the gate waits for approval: {policy.signers} of {left} people, {policy.days} days")


def log_skipped(uris: Iterable[str]) -> None:
    """Log how many files in the folders among the sources are not read."""
    for uri in uris:
        if suffixes := skipped_files(uri):
            log("preflight", f"{len(suffixes)} of the files in a folder are no data and are not read "
                f"({', '.join(dict.fromkeys(suffixes))})")  # fmt: skip


def feedback_digest(uri: str, recipe: Recipe, agree: int) -> str:
    """Digest of what people corrected, which is logged. Arguments and errors as of `read_corrections`."""
    read = read_corrections(uri, recipe, agree)
    log("preflight", f"feedback: {describe(read)}")
    return read.digest


def pin(base: BaseModel) -> PinnedModel:
    """The base model by content."""
    return PinnedModel(base.pinned_uri(), base.digest)


def add_digests(steps: dict[str, Settings], recipe: str, data: str, store: Store) -> dict[str, Settings]:
    """The settings of each step with what else determines its output: the digest of the data for download, that of
    lists, detector and key for screen, the champion for evaluate, and the version of the code for every step whose
    output is cached."""
    name = steps["publish"]["adapter_name"]
    version, etag = champion(store, name) or ("", "")
    if version:
        of = read_manifest(store, name, version).get("recipe", recipe)  # evaluate could not load it either
        if of != recipe:
            raise UserError(f"the champion of '{name}' is of the recipe {of}: use another --adapter-name")
    log("preflight", f"champion to compare with: {version or 'none yet'}")
    steps["download"] |= {"source_digest": data, "patient_key": Pseudonyms().key_id}
    phi = Phi.model_validate(steps["screen"]["phi"])
    if kinds := direct_identifiers(phi.reason):
        raise UserError(
            f"phi.reason, which stands on the model card, names somebody ({', '.join(kinds)}): write it otherwise"
        )
    opinion = _second_opinion(phi)
    pinned = {"second_opinion": opinion.pinned_uri()} if opinion else {}
    steps["screen"] |= {"phi": steps["screen"]["phi"] | pinned, "digest": screening_digest(phi, opinion)}
    steps["evaluate"] |= {"champion_version": version, "champion_etag": etag}
    cached = {step: settings for step, settings in steps.items() if step in CACHED_STEPS}
    for step, settings in cached.items():
        settings["code_version"] = step_code_version(step, recipe)
    generation, gone = current_generation(store, cached)
    for settings in cached.values():
        settings[GENERATION] = generation
    if gone:
        log("preflight", f"the output of {', '.join(gone)} is gone from the store of artifacts: the steps run anew")
    steps["lookup"]["code_version"] = training_code_version(recipe, "prefer" in steps)
    if "pretrain" in steps:
        steps["lookup"]["pretraining_code_version"] = steps["pretrain"]["code_version"]
    return steps


def _second_opinion(phi: Phi) -> BaseModel | None:
    """The second opinion. Raises UserError where it cannot be used."""
    if not phi.second_opinion:
        return None
    if on_cluster() and phi.second_opinion.startswith("hf://"):
        raise UserError(
            "phi.second_opinion: screen reads notes as they are and so has no way out of the cluster: copy the model "
            "to the store (clinadapt mirror) and name it by s3://"
        )
    model = second_opinion(phi)
    log("preflight", f"second opinion about identifiers: {model.config['model_type']}, {model.digest[:26]}")
    return model


def check_base(base: BaseModel, lora: Lora, quantization: Quantization) -> None:
    """Raises UserError when a LoRA target matches no layer, or nf4 is set and bitsandbytes is not installed."""
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
        raise UserError(
            f"the store {store.uri} refuses a conditional write whose condition is met: update the server"
        ) from error
    finally:
        store.delete(key)


def check_disk(base: BaseModel) -> None:
    """Room for scratch, and for a base model that has yet to be downloaded; on a cluster that goes to a volume of the
    train step. Raises UserError when it is short."""
    check_room(Path(tempfile.gettempdir()), "set TMPDIR")
    if not base.uri.startswith("hf://") or on_cluster():
        return
    folder = _existing(hub_folder())
    need, free = weights_on_disk(base) + _MIN_FREE_BYTES, shutil.disk_usage(folder).free
    if need > free:
        raise UserError(
            f"base model '{base.uri}' needs {need / 2**30:.1f} GiB of disk and {folder} has {free / 2**30:.1f} free: "
            "free space, or set CLINADAPT_CACHE to a larger disk"
        )


def check_room(folder: Path, otherwise: str) -> None:
    """Room for what a run writes beside its base model. Raises UserError when it is short."""
    free = shutil.disk_usage(_existing(folder)).free
    if free < _MIN_FREE_BYTES:
        raise UserError(
            f"{folder} has {free / 2**30:.1f} GiB free, the run needs {_MIN_FREE_BYTES / 2**30:.1f}: "
            f"free space or {otherwise}"
        )


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.parents) if place.exists())

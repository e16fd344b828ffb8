"""Base models by URI: local files, digest, configuration and tensor shapes.

Only configuration and safetensors headers are read, so that preflight and estimate need neither torch nor weights.
"""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clinadapt.artifacts.hashing import parse_json, read_json, sha256_json
from clinadapt.artifacts.manifest import MANIFEST, MANIFEST_DIGEST, DamagedFolder, list_files
from clinadapt.artifacts.sealed_folder import verify_folder
from clinadapt.config.uri_credentials import refuse_credentials
from clinadapt.errors import UserError
from clinadapt.models.builtin_models import convert_gguf, installed_weights
from clinadapt.storage import open_store
from clinadapt.storage.local_files import file_path, os_errors
from clinadapt.storage.object_store import PARTIAL_PREFIX
from clinadapt.storage.transfer import download_folder
from clinadapt.storage.uris import parse_uri

SMALL_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]  # configuration and tokenizer
FILES = ["*.safetensors", *SMALL_FILES]
_TEMPLATES = "additional_chat_templates/"  # the only folder in a model's that transformers reads from unasked


@dataclass(frozen=True)
class BaseModel:
    """A base model without its weights.

    Attributes:
        uri: as the user gave it.
        digest: sha256 of the list of its files, or `hf:<commit>` for a hub model.
        config: content of config.json.
        tensors: name -> (safetensors dtype such as BF16, shape).
        modules: name -> [out features, in features] of the linear layers that LoRA may adapt, where the architecture
            was built.
        drawn: name -> number of parameters of the modules of a classifier that the base model lacks, where the
            architecture was built: they are drawn at random, trained in full and saved with the adapter.
    """

    uri: str
    digest: str
    config: dict[str, Any]
    tensors: dict[str, tuple[str, list[int]]]
    modules: dict[str, list[int]] | None = None
    drawn: dict[str, int] = field(default_factory=dict)

    def pinned_uri(self) -> str:
        """The URI, with the commit for a hub model, so that it always refers to the same files."""
        return f"hf://{hub_name(self.uri)[0]}@{self.digest[3:]}" if self.digest.startswith("hf:") else self.uri

    def parameters(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for _, shape in self.tensors.values())

    def linear_layers(self) -> dict[str, list[int]]:
        """Module name -> [out features, in features] of the linear layers: `modules`, or else every two-dimensional
        weight except embeddings, which takes experts stored one by one for layers."""
        if self.modules is not None:
            return self.modules
        return {
            name.removesuffix(".weight"): shape
            for name, (_, shape) in self.tensors.items()
            if name.endswith(".weight") and len(shape) == 2 and "embed" not in name and "wte" not in name
        }


def describe(uri: str) -> BaseModel:
    """Read a base model's digest, configuration and tensor shapes.

    Raises:
        UserError: it is not available, has no safetensors weights, or its files are broken.
    """
    return _describe_hub(uri) if parse_uri(refuse_credentials(uri)).scheme == "hf" else describe_fetched(uri)


def describe_fetched(uri: str) -> BaseModel:
    """As `describe`; a hub model is downloaded, so that one in the cache needs no network."""
    folder = fetch(uri)
    weights = sorted(folder.glob("*.safetensors"))
    _check_indexes(folder, uri)
    tensors = {name: tensor for path in weights for name, tensor in read_header(path).items()}
    if uri.startswith("hf://"):
        digest = f"hf:{folder.name}"  # a folder of the cache has the name of its commit
    else:
        files = list_files(folder).items()
        digest = sha256_json({name: entry for name, entry in files if "/" not in name or name.startswith(_TEMPLATES)})
    return BaseModel(uri, digest, _read_config(folder / "config.json", uri), tensors)


def fetch(uri: str) -> Path:
    """The local folder of a base model; `s3://` and `hf://` are downloaded into the cache (CLINADAPT_CACHE), and
    `builtin://smollm2` is converted into it.

    Raises:
        UserError: as `describe`.
    """
    scheme = parse_uri(refuse_credentials(uri)).scheme
    if scheme == "builtin":
        folder = _builtin(uri)
    elif scheme == "file":
        folder = file_path(uri)
    elif scheme == "s3":
        folder = _download_s3(uri)
    elif scheme == "hf":
        folder = _download_hub(uri, FILES)
    else:
        raise UserError(
            f"unsupported base model URI '{uri}': use builtin://smollm2, builtin://minilm, file:///folder, "
            "s3://bucket/folder or hf://org/name"
        )
    if not (folder / "config.json").is_file():
        raise UserError(f"base model '{uri}' has no config.json: give the folder of a Hugging Face model")
    if (folder / "adapter_config.json").exists():
        raise UserError(f"base model '{uri}' has an adapter in its folder, which would be loaded too: merge it first")
    if not list(folder.glob("*.safetensors")):
        raise UserError(
            f"base model '{uri}' has no .safetensors weights: convert it first, pickled weights are not loaded"
        )
    return folder


def _check_indexes(folder: Path, uri: str) -> None:
    """Refuse weights outside of what the digest covers: the files directly in the folder.

    Raises:
        UserError: an index of weights names a file elsewhere, one that is missing or no safetensors file.
    """
    names = set()
    for index in folder.glob("*.index.json"):
        try:
            names |= set(read_json(index)["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"base model '{uri}': {index.name} is not an index of weights: fetch it again") from error
    for name in sorted(map(str, names)):
        if "/" in name or "\\" in name or "\0" in name or name.startswith(".") or not name.endswith(".safetensors"):
            raise UserError(
                f"base model '{uri}': its index names weights that are not a .safetensors file directly in the folder, "
                "which its digest would not cover: put them there"
            )
    if missing := sorted(str(name) for name in names if not (folder / str(name)).is_file()):
        raise UserError(
            f"base model '{uri}' lacks {len(missing)} of {len(names)} weight files ({missing[0]}): fetch them too"
        )


def fetch_tokenizer(uri: str) -> Path:
    """A local folder with the tokenizer of a base model; the weights of a hub model are not downloaded.

    Raises:
        UserError: as `describe`.
    """
    return _download_hub(uri, SMALL_FILES) if parse_uri(uri).scheme == "hf" else fetch(uri)


def cache_folder() -> Path:
    """Folder for downloaded base models: CLINADAPT_CACHE, or ~/.cache/clinadapt."""
    return Path(os.environ.get("CLINADAPT_CACHE", "~/.cache/clinadapt")).expanduser()


def _download_s3(uri: str) -> Path:
    """A copy in the cache, keyed by the etags of the objects; an interrupted download is resumed."""
    store = open_store(uri)
    etags = {key: store.etag(key) for key in store.list()}
    folder = cache_folder() / "base" / sha256_json([uri, etags])[7:23]
    with _filled_once(folder, uri) as partial:
        if partial:
            download_folder(store, "", partial, resume=True)
            for leftover in partial.rglob(f"{PARTIAL_PREFIX}*"):  # of a killed download
                leftover.unlink()
            if (partial / MANIFEST).is_file():
                _verify_mirror(partial, uri)
    return folder


@contextmanager
def _filled_once(folder: Path, uri: str) -> Iterator[Path | None]:
    """Yield a partial folder that becomes `folder` at the end, or None if `folder` is there already. Of several
    processes one fills it; what a killed one left in the partial folder is still there.

    Raises:
        UserError: the cache cannot be written.
    """
    with os_errors(f"cannot write base model '{uri}' to {folder.parent}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = folder.with_name(f"{PARTIAL_PREFIX}{folder.name}")
        with partial.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                yield None
                return
            partial.mkdir(exist_ok=True)
            yield partial
            partial.rename(folder)


def _verify_mirror(folder: Path, uri: str) -> None:
    """Compare a download with the manifest that `clinadapt mirror` or pretrain wrote. Other files than weights may be
    there besides."""
    try:
        manifest = read_json(folder / MANIFEST)
        earlier_release = MANIFEST_DIGEST not in manifest  # whose mirrors stay valid
        verify_folder(folder, manifest if earlier_release else None, reject_unlisted="*.safetensors")
    except (DamagedFolder, ValueError, KeyError, TypeError) as error:
        file = error.file if isinstance(error, DamagedFolder) else MANIFEST
        shutil.rmtree(folder)
        raise UserError(f"base model '{uri}': {file} is not what was mirrored: run clinadapt mirror again") from error


def _builtin(uri: str) -> Path:
    """The folder of the package, or of its weights as converted into the cache."""
    model, path = installed_weights(uri)
    if path.is_dir():
        return path
    folder = cache_folder() / "base" / model.sha256[:16]
    with _filled_once(folder, uri) as partial:
        if partial:
            for leftover in partial.iterdir():  # of a killed conversion
                leftover.unlink()
            convert_gguf(uri, partial)
    return folder


def _read_config(path: Path, uri: str) -> dict[str, Any]:
    try:
        config = read_json(path)
    except ValueError as error:
        raise UserError(f"base model '{uri}': config.json is not JSON: fetch the model again") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise UserError(f"base model '{uri}': config.json has no model_type: give a Hugging Face model")
    return config


def read_header(path: Path) -> dict[str, tuple[str, list[int]]]:
    """Tensor name -> (dtype, shape) of a safetensors file (https://huggingface.co/docs/safetensors: the header's length
    as 8 little-endian bytes, then the header as JSON). Raises UserError where it is none."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError("header longer than the file")
            header = parse_json(file.read(length))
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        if 8 + length + end != path.stat().st_size:
            raise ValueError("truncated file")
        tensors = {str(name): (str(entry["dtype"]), list(map(int, entry["shape"]))) for name, entry in entries.items()}
    except (ValueError, struct.error, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise UserError(f"{path.name} is truncated or not a safetensors file: fetch it again") from error
    return tensors


def hub_name(uri: str) -> tuple[str, str | None]:
    """(name, revision) of hf://org/name[@revision]; the revision is None where there is none."""
    name, _, revision = uri.removeprefix("hf://").partition("@")
    return name, revision or None


def _describe_hub(uri: str) -> BaseModel:
    from huggingface_hub import get_safetensors_metadata, hf_hub_download, model_info
    from huggingface_hub.errors import HFValidationError, HTTPError, NotASafetensorsRepoError

    name, revision = hub_name(uri)
    try:
        commit = model_info(name, revision=revision).sha
        metadata = get_safetensors_metadata(name, revision=commit)
        config = _read_config(Path(hf_hub_download(name, "config.json", revision=commit, cache_dir=_hub_cache())), uri)
    except NotASafetensorsRepoError as error:
        raise UserError(f"base model '{uri}' has no .safetensors weights: convert it first") from error
    except (HTTPError, HFValidationError, OSError) as error:
        raise hub_error(uri, error) from error
    tensors = {
        name: (tensor.dtype, list(tensor.shape))
        for file in metadata.files_metadata.values()
        for name, tensor in file.tensors.items()
    }
    return BaseModel(uri, f"hf:{commit}", config, tensors)


def _download_hub(uri: str, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, HTTPError

    name, revision = hub_name(uri)
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=files, cache_dir=_hub_cache()))
    except (HTTPError, HFValidationError, OSError) as error:
        raise hub_error(uri, error) from error


def _hub_cache() -> Path | None:
    """Below CLINADAPT_CACHE where it is set; None for the default cache of huggingface_hub."""
    return cache_folder() / "hub" if "CLINADAPT_CACHE" in os.environ else None


def hub_folder() -> Path:
    """Folder for downloaded hub models."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return _hub_cache() or Path(HF_HUB_CACHE)


def hub_error(uri: str, error: Exception) -> UserError:
    """The one-line error for whatever the hub's client raises."""
    reason = type(error).__name__
    return UserError(
        f"base model '{uri}' cannot be downloaded from the hub ({reason}): check its name, HF_TOKEN and the network"
    )

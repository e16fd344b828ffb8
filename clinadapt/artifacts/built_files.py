"""Files that are made from our sources and the installed libraries: when an image is built, or at their first use."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from clinadapt.artifacts.code_version import code_version
from clinadapt.errors import UserError
from clinadapt.storage.local_files import atomic_write, os_errors

_IMAGE_FOLDER = Path(sys.prefix) / "share/clinadapt"


def built_file(name: str, make: Callable[[Path], None]) -> Path:
    """The path of such a file: in the folder of the image, or in the user's cache, where it is made if neither has it.

    Args:
        name: with a digest of all that it is made from.
        make: writes it to a path; it is there whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    image, own = _IMAGE_FOLDER / name, _cache_folder() / name
    if image.is_file() or own.is_file():
        return image if image.is_file() else own
    with os_errors(f"cannot write to {own.parent}", "set XDG_CACHE_HOME to a writable folder"):
        own.parent.mkdir(parents=True, exist_ok=True)
        with own.with_suffix(".lock").open("w") as lock:  # one process makes it, others wait for it
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not own.is_file():
                make(own)
    return own


class BuiltJson(NamedTuple):
    """What a module makes of an installed package, in such a file as JSON.

    Attributes:
        name: with which that of the file begins.
        module, package: which it is made by and of.
        make: its content.
    """

    name: str
    module: str
    package: str
    make: Callable[[], Any]

    def content(self) -> Any:
        """Its content, which is made anew where there is no place to keep the file."""
        try:
            file = built_file(self.file_name(), self._write)
        except UserError:
            return self.make()
        return json.loads(file.read_bytes())

    def keep(self, folder: Path) -> None:
        """Write the file into the folder of an image."""
        self._write(folder / self.file_name())

    def file_name(self) -> str:
        """With a digest of the module's code and the version of the package."""
        return f"{self.name}-{code_version(self.module).rpartition('+')[2]}-{version(self.package)}.json"

    def _write(self, path: Path) -> None:
        with atomic_write(path) as partial:
            partial.write_text(json.dumps(self.make()))


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clinadapt"

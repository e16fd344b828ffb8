"""Files that are made from our sources and the installed libraries: when an image is built, or at their first use."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path

from clinadapt.storage.local_files import os_errors

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


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clinadapt"

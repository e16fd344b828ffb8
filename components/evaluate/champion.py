"""What runs today, which a candidate is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from clinadapt.errors import UserError
from clinadapt.registry.adapters import downloaded_adapter

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Champion:
    """Store, adapter name, version and etag of the pointer (both empty where there is none)."""

    store: str
    name: str
    version: str
    etag: str

    def load(self, make: Callable[[Path], Loaded]) -> Loaded:
        """What `make` makes of the champion's folder. Raises UserError where it cannot be loaded."""
        try:
            with downloaded_adapter(f"{self.name}/{self.version}", self.store) as (folder, _):
                return make(folder)
        except UserError as error:
            raise UserError(
                f"the champion cannot be loaded, mend it or choose another --adapter-name: {error}"
            ) from error

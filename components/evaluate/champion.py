"""The champion: the published version that a candidate is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from clinadapt.errors import UserError
from clinadapt.registry.adapters import downloaded_adapter

Result = TypeVar("Result")


@dataclass(frozen=True)
class Champion:
    """The champion of an adapter name when the run started.

    Attributes:
        store: URI of the store.
        name: adapter name.
        version: empty where there is no champion.
        etag: of the champion pointer; empty where there is no champion.
    """

    store: str
    name: str
    version: str
    etag: str

    def reference(self) -> dict[str, str]:
        """What evaluation.json says of it."""
        return {"champion_version": self.version, "champion_etag": self.etag}

    def load(self, use: Callable[[Path], Result]) -> Result:
        """Download the champion and return what `use` returns for its folder.

        Raises:
            UserError: the champion cannot be downloaded or loaded.
        """
        try:
            with downloaded_adapter(f"{self.name}/{self.version}", self.store) as (folder, _):
                return use(folder)
        except UserError as error:
            raise UserError(
                f"cannot load the champion {self.name}/{self.version}: repair it or use another --adapter-name: {error}"
            ) from error

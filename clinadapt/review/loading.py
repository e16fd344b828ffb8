"""A published adapter on its way into memory, and of which recipe it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clinadapt.errors import UserError
from clinadapt.models.adapter_card import adapter_recipe
from clinadapt.registry.adapters import downloaded_adapter

_USE = {
    "classify": "sorts notes into labels and takes no instruction: leave --ask away",
    "instruct": 'answers instructions: ask it with clinadapt predict --ask "..."',
}


@contextmanager
def published(adapter: str, store_uri: str, recipe: str) -> Iterator[tuple[Path, str]]:
    """(folder, URI) of an adapter of that recipe: a name (its champion), name/version or URI. The folder goes at the
    end.

    Raises:
        UserError: it cannot be found, is not what was published, or is of another recipe.
    """
    with downloaded_adapter(adapter, store_uri) as (folder, uri):
        if (found := adapter_recipe(folder)) != recipe:
            raise UserError(f"adapter {uri} {_USE[found]}")
        yield folder, uri

"""Get a published adapter of the expected recipe from the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clinadapt.errors import UserError
from clinadapt.models.adapter_card import adapter_recipe
from clinadapt.registry.adapters import downloaded_adapter
from clinadapt.registry.approval.standing import unapproved
from clinadapt.storage import open_store

_USAGE = {
    "classify": "predicts labels and takes no instruction: omit --ask",
    "instruct": 'answers instructions: use clinadapt predict --ask "..."',
}


@contextmanager
def published_adapter(adapter: str, store_uri: str, recipe: str) -> Iterator[tuple[Path, str]]:
    """Download an adapter to a temporary folder, which is removed on exit.

    Args:
        adapter: a name (its champion), name/version or URI.
        store_uri: of the object store.
        recipe: `classify` or `instruct`.

    Yields:
        (folder, URI of the version).

    Raises:
        UserError: the adapter is not found, differs from what was published, or is of the other recipe.
    """
    with downloaded_adapter(adapter, store_uri) as (folder, uri):
        actual = adapter_recipe(folder)
        if actual != recipe:
            raise UserError(f"adapter {uri} {_USAGE[actual]}")
        yield folder, uri


def caution(uri: str) -> str:
    """That people have yet to approve the version at a URI, as one line; empty for others. Raises UserError where it is
    not what was published."""
    root, _, path = uri.rpartition("/adapters/")
    name, _, version = path.partition("/")
    return unapproved(open_store(root), name, version)

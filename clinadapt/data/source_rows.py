"""The rows of a data source, whatever its scheme."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

from clinadapt.data.builtin_cases import generate
from clinadapt.data.readers import Row, read_rows
from clinadapt.data.sources import builtin_arguments, files, hub_errors, hub_name, local_copy


def rows(uri: str) -> Iterator[Row]:
    """All rows of a source, in order; of a folder those of its files, by name.

    Raises:
        UserError: no such scheme or source, or one that cannot be read.
    """
    scheme = urlparse(uri).scheme
    if scheme == "builtin":
        yield from generate(**builtin_arguments(uri))
    elif scheme == "hf":
        yield from _hub(uri)
    else:
        for each in files(uri):
            with local_copy(each) as path:
                yield from read_rows(
                    path, each.rpartition("/")[2] if scheme == "s3" else Path(urlparse(each).path).name
                )


def _hub(uri: str) -> Iterator[Row]:
    from datasets import load_dataset

    name, revision, split = hub_name(uri)
    with hub_errors(uri):
        dataset = load_dataset(name, split=split, revision=revision, streaming=True)
        yield from dataset

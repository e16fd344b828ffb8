"""A URI with a credential is refused before it stands anywhere, and the message does not show it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from clinadapt.config.base import first_error
from clinadapt.config.instruct import Source
from clinadapt.config.uri_credentials import refuse_credentials
from clinadapt.data.sources import source_files
from clinadapt.errors import UserError
from clinadapt.models.base_model import describe
from clinadapt.storage import open_store
from pipelines.cli.options import as_uri

SECRET = "hunter2"
REFUSED = [
    f"https://ann:{SECRET}@host/notes.csv",
    f"https://{SECRET}@host/notes.csv",
    f"s3://AKIA:{SECRET}@bucket/notes.csv",
    f"https://host/notes.csv?X-Amz-Signature={SECRET}",
    f"https://host/notes.csv?sv=1&sig={SECRET}",
    f"https://host/notes.csv?access_token={SECRET}",
    f"https://host/notes.csv?download=1&apikey={SECRET}",
    f"https://[::1/notes.csv?{SECRET}",
]
ACCEPTED = [
    "https://host:8443/notes.csv?download=1",
    "hf://org/name@main?split=train",
    "s3://bucket/a@b.csv",
    "builtin://cases?rows=1&seed=7",
    "file:///data/a%20b@c.csv",
    "a path",
]


@pytest.mark.parametrize("uri", REFUSED)
def test_it_is_refused_everywhere(uri: str) -> None:
    for reads in (refuse_credentials, source_files, describe, open_store, as_uri):
        with pytest.raises(UserError) as raised:
            reads(uri)
        assert SECRET not in str(raised.value)
    with pytest.raises(ValidationError) as invalid:
        Source(kind="notes", uri=uri)
    assert SECRET not in first_error(invalid.value)


@pytest.mark.parametrize("uri", ACCEPTED)
def test_other_uris_pass(uri: str) -> None:
    assert refuse_credentials(uri) == uri

"""URIs carry no credentials: a URI stands in logs, manifests, compiled pipelines and the process list."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator

from clinadapt.errors import UserError


class CredentialsInUri(UserError, ValueError):
    """A URI that may not be used; a ValueError, so that pydantic reports it as that of a setting."""


_SECRET_QUERY = re.compile(
    "signature|token|secret|password|passwd|credential|api_?key|access_?key|auth|^(sig|se|sp|key|pwd|pass|code|sas)$|"
    "^x-(amz|goog)-",
    re.IGNORECASE,
)


def refuse_credentials(uri: str) -> str:
    """Return a URI without credentials unchanged.

    Raises:
        CredentialsInUri: it contains a user, a password or a query parameter with a secret, which is not shown.
    """
    scheme = uri.partition("://")[0]
    where = f"the {scheme}:// URI" if re.fullmatch("[a-z0-9+.-]{1,20}", scheme) else "the URI"
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise CredentialsInUri(f"{where} is not valid: check it") from error
    if "://" in uri and scheme != "hf" and "@" in parts.netloc:
        raise CredentialsInUri(
            f"{where} contains a user or a password, which would stand in logs and manifests: set credentials in the "
            "environment, or fetch the file first"
        )
    if any(_SECRET_QUERY.search(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise CredentialsInUri(
            f"{where} contains a signature or a token in its query, which would stand in logs and manifests: fetch the "
            "file first"
        )
    return uri


Uri = Annotated[str, AfterValidator(refuse_credentials)]

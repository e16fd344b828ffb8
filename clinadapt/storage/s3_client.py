"""The boto3 client for S3, configured by environment variables.

boto3 reads AWS_ENDPOINT_URL_S3, AWS_DEFAULT_REGION, AWS_CA_BUNDLE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or
AWS_PROFILE or a web identity (AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE), AWS_MAX_ATTEMPTS and AWS_RETRY_MODE. This
module adds:

AWS_S3_ADDRESSING_STYLE                   path or virtual; defaults to path with an endpoint (Ceph, SeaweedFS)
AWS_CONNECT_TIMEOUT, AWS_READ_TIMEOUT     seconds; 10 and 60
AWS_SERVER_SIDE_ENCRYPTION                AES256 (SSE-S3) or aws:kms
AWS_SSE_KMS_KEY_ID                        key for aws:kms; defaults to the bucket's
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.parsers import ResponseParserError

from clinadapt.errors import UserError
from clinadapt.storage.s3_checksums import ChecksumMismatch

MAX_ATTEMPTS = 8
_RETRYABLE = {  # a request or response damaged by the network; boto3 does not retry these
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InvalidDigest",
    "MalformedXML",
    "RequestTimeout",
    "XAmzContentSHA256Mismatch",
}

T = TypeVar("T")


def s3_client(max_connections: int) -> Any:
    """Return a boto3 client for S3.

    Args:
        max_connections: size of the connection pool.

    Raises:
        UserError: an environment variable is invalid.
    """
    bundle = os.environ.get("AWS_CA_BUNDLE")
    if bundle and not Path(bundle).exists():
        raise UserError(f"AWS_CA_BUNDLE '{bundle}' not found: set it to the CA's PEM file")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    settings: dict[str, Any] = {
        "connect_timeout": _seconds("AWS_CONNECT_TIMEOUT", 10),
        "read_timeout": _seconds("AWS_READ_TIMEOUT", 60),
        "max_pool_connections": max_connections,
        "user_agent": f"clinadapt/{version('clinadapt')}",  # boto3 would compose its own for every request
        "s3": {
            "addressing_style": os.environ.get("AWS_S3_ADDRESSING_STYLE", "path" if endpoint else "auto"),
            "payload_signing_enabled": True,
        },
    }
    if "AWS_MAX_ATTEMPTS" not in os.environ:
        settings["retries"] = {"max_attempts": 5, "mode": os.environ.get("AWS_RETRY_MODE", "standard")}
    if endpoint and "AWS_REQUEST_CHECKSUM_CALCULATION" not in os.environ:
        settings["request_checksum_calculation"] = "when_required"  # older servers reject boto3's trailing checksums
    try:
        client = boto3.client("s3", config=Config(**settings))
    except ValueError as error:
        raise UserError(f"cannot use S3: {error}; check AWS_ENDPOINT_URL_S3") from error
    client.meta.events.register("needs-retry.s3", _retry_damaged)
    return client


def _retry_damaged(response: tuple[Any, dict[str, Any]] | None, attempts: int, **_: Any) -> float | None:
    """Seconds until the next attempt, as botocore's event `needs-retry` expects; None: this handler does not retry."""
    code = response[1].get("Error", {}).get("Code") if response else None
    return _delay(attempts) if code in _RETRYABLE and attempts < MAX_ATTEMPTS else None


def retry(operation: Callable[[], T], max_attempts: int = MAX_ATTEMPTS) -> T:
    """Call `operation` until its response is intact."""
    for attempt in range(1, max_attempts):
        try:
            return operation()
        except (ResponseParserError, ChecksumMismatch):
            time.sleep(_delay(attempt))
    return operation()


def _delay(attempt: int) -> float:
    """Seconds before the next attempt: exponential backoff with full jitter, 5 at most."""
    return random.uniform(0, min(5, 0.05 * 2 ** (attempt - 1)))


def server_side_encryption() -> dict[str, str]:
    """Request parameters for server-side encryption.

    Raises:
        UserError: AWS_SERVER_SIDE_ENCRYPTION is neither AES256 nor aws:kms.
    """
    kind, key = os.environ.get("AWS_SERVER_SIDE_ENCRYPTION", ""), os.environ.get("AWS_SSE_KMS_KEY_ID", "")
    if kind not in ("", "AES256", "aws:kms"):
        raise UserError(f"invalid AWS_SERVER_SIDE_ENCRYPTION '{kind}': set it to AES256 or aws:kms")
    parameters = {"ServerSideEncryption": kind} if kind else {}
    return parameters | ({"SSEKMSKeyId": key} if kind == "aws:kms" and key else {})


def _seconds(name: str, default: float) -> float:
    with suppress(ValueError):
        if 0 < (seconds := float(os.environ.get(name, default))) < math.inf:
            return seconds
    raise UserError(f"invalid {name} '{os.environ[name]}': set it to a number of seconds")

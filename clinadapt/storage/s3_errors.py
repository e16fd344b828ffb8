"""One-line explanations of S3 errors, with what to do about them."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

NOT_FOUND = {"404", "NoSuchKey"}
PRECONDITION_FAILED = {"PreconditionFailed", "ConditionalRequestConflict", "412"}

_MAX_SKEW = 15 * 60  # seconds of clock difference that S3 accepts
_EXPLANATIONS: dict[str, str] = {
    "NoSuchBucket": "the bucket does not exist (NoSuchBucket): create it, or check bucket and AWS_ENDPOINT_URL_S3",
    "InvalidAccessKeyId": "unknown access key: check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "wrong secret key: check AWS_SECRET_ACCESS_KEY",
    "RequestTimeTooSkewed": "this machine's clock is off by more than 15 minutes: set it, for example with chronyd",
    "ExpiredToken": "the credentials have expired: sign in again, or renew AWS_SESSION_TOKEN",
    "ExpiredTokenException": "the credentials have expired: sign in again, or renew AWS_SESSION_TOKEN",
    "InvalidToken": "invalid session token: sign in again, or unset AWS_SESSION_TOKEN",
    "UserSuspended": "the user is suspended: have it enabled, or use other keys",
    "QuotaExceeded": "quota exceeded: free space or request a larger quota",
    "InsufficientStorage": "no space left: free space",
    "507": "no space left: free space",
    "InvalidBucketName": "invalid bucket name: use at least three lower-case letters, digits, dots or hyphens",
    "NotImplemented": "unsupported by the server: check AWS_SERVER_SIDE_ENCRYPTION, or use another server",
    "EntityTooLarge": "the object is too large for the server: raise the server's limit",
}
_REGION = {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "301"}
_DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "403"}


def explain(error: Exception) -> str:
    """Cause and remedy in one line, without secrets or content, to follow the URI of the store."""
    if isinstance(error, ClientError):
        return _explain_response(error)
    if isinstance(error, exceptions.SSLError):
        return "the server's certificate is not trusted: set AWS_CA_BUNDLE to the CA's PEM file"
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, exceptions.ProfileNotFound):
        return "AWS_PROFILE is not a profile in ~/.aws/config: check it"
    if isinstance(error, exceptions.CredentialRetrievalError | exceptions.TokenRetrievalError):
        return "cannot get credentials: sign in again, or check the role of the service account"
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.ConnectTimeoutError):
        return "cannot connect: check the endpoint (AWS_ENDPOINT_URL_S3), proxy and network policy"
    if isinstance(error, ResponseParserError):
        return "the responses are not those of an S3 server: check AWS_ENDPOINT_URL_S3"
    reason = str(error).splitlines()[0]
    return f"request failed: {reason}; check endpoint and keys"


def error_code(error: ClientError) -> str:
    """The error code of S3; the HTTP status where the response has no body, as to HEAD."""
    return error.response["Error"].get("Code", "")


def _explain_response(error: ClientError) -> str:
    code, operation = error_code(error), error.operation_name
    headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
    if code in _DENIED and _is_skewed(headers.get("date")):
        code = "RequestTimeTooSkewed"
    if code in _EXPLANATIONS:
        return _EXPLANATIONS[code]
    if code in _REGION or "x-amz-bucket-region" in headers:
        region = error.response["Error"].get("Region") or headers.get("x-amz-bucket-region")
        return f"the bucket is in another region: set AWS_DEFAULT_REGION{f' to {region}' if region else ''}"
    if code in _DENIED and os.environ.get("AWS_SESSION_TOKEN"):  # Ceph reports an expired token as AccessDenied
        return (
            f"permission denied for the session ({operation}): sign in again or renew AWS_SESSION_TOKEN, which may "
            "have expired; or grant the permission to its role"
        )
    if code in _DENIED:
        return f"permission denied ({operation}): grant it to these keys, or use others"
    return f"{operation} failed with '{code}': check bucket, permissions and region"


def _is_skewed(date: str | None) -> bool:
    """Whether the server's clock, by the `Date` header of its response, differs too much from this machine's."""
    if not date:
        return False
    return abs((parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()) > _MAX_SKEW

"""What went wrong with S3, and what to do about it, in one line."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

_SKEW = 15 * 60  # seconds that S3 lets a clock be off

_ANSWERS: dict[str, str] = {
    "NoSuchBucket": "there is no such bucket (NoSuchBucket): create it, or check bucket and AWS_ENDPOINT_URL_S3",
    "InvalidAccessKeyId": "it does not know the access key: check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key is wrong: check AWS_SECRET_ACCESS_KEY",
    "RequestTimeTooSkewed": "this machine's clock is off by more than 15 minutes: set it, for example with chronyd",
    "ExpiredToken": "the credentials have expired: sign in again, or renew AWS_SESSION_TOKEN",
    "ExpiredTokenException": "the credentials have expired: sign in again, or renew AWS_SESSION_TOKEN",
    "InvalidToken": "the session token is not valid: sign in again, or unset AWS_SESSION_TOKEN",
    "UserSuspended": "its user is suspended: have it enabled, or use other keys",
    "QuotaExceeded": "its quota is used up: free space or ask for more",
    "InsufficientStorage": "it has no space left: free space",
    "507": "it has no space left: free space",
    "InvalidBucketName": "this is no name of a bucket: small letters, digits, dots and hyphens, at least three",
    "NotImplemented": "it cannot do what is asked: check AWS_SERVER_SIDE_ENCRYPTION, or use another server",
    "EntityTooLarge": "an object may not be this large there: raise the server's limit",
}
_REGION = {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "301"}
_DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "403"}


def explain(error: Exception) -> str:
    """The reason and the remedy, to stand after the name of the store. No secret and no content is in it."""
    if isinstance(error, ClientError):
        return _answer(error)
    if isinstance(error, exceptions.SSLError):
        return "its certificate is not trusted: put the CA's PEM file into AWS_CA_BUNDLE"
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, exceptions.ProfileNotFound):
        return "AWS_PROFILE names no profile of ~/.aws/config: check it"
    if isinstance(error, exceptions.CredentialRetrievalError | exceptions.TokenRetrievalError):
        return "credentials cannot be had: sign in again, or check the role of the service account"
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.ConnectTimeoutError):
        return "cannot be used: nothing answers there; check endpoint (AWS_ENDPOINT_URL_S3), proxy and network policy"
    if isinstance(error, ResponseParserError):
        return "its answers are not those of S3: check AWS_ENDPOINT_URL_S3"
    reason = str(error).splitlines()[0]
    return f"cannot be used: {reason}; check endpoint and keys"


def code(error: ClientError) -> str:
    """The name that S3 gives the error; the status where an answer to HEAD has no name."""
    return error.response["Error"].get("Code", "")


def _answer(error: ClientError) -> str:
    name = code(error)
    headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
    if name in _DENIED and _skewed(headers.get("date")):
        name = "RequestTimeTooSkewed"
    if name in _ANSWERS:
        return _ANSWERS[name]
    if name in _REGION or "x-amz-bucket-region" in headers:
        right = error.response["Error"].get("Region") or headers.get("x-amz-bucket-region")
        return f"the bucket is in another region: set AWS_DEFAULT_REGION{f' to {right}' if right else ''}"
    if name in _DENIED and os.environ.get("AWS_SESSION_TOKEN"):  # Ceph tells no expired token from a right that lacks
        return (
            f"the session may not do this ({error.operation_name}): sign in again or renew AWS_SESSION_TOKEN, which "
            "may have expired; or grant its role the right"
        )
    if name in _DENIED:
        return f"the keys may not do this ({error.operation_name}): grant them the right, or use other keys"
    return f"answered '{name}' to {error.operation_name}: check bucket, rights and region"


def _skewed(date: str | None) -> bool:
    """Whether the server's clock, as it stands in its answer, and this machine's are too far apart."""
    if not date:
        return False
    return abs((parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()) > _SKEW

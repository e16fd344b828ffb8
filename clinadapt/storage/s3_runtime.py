"""Small objects through the AWS Common Runtime (awscrt), whose threads are none of Python's: many requests at once take
a third of the processor time that boto3 needs. What it cannot do boto3 does, which repeats and explains.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from io import BytesIO
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import boto3
import botocore.session
from awscrt.auth import (
    AwsCredentialsProvider,
    AwsSignedBodyHeaderType,
    AwsSigningConfig,
)
from awscrt.http import HttpHeaders, HttpRequest
from awscrt.io import ClientTlsContext, TlsContextOptions
from awscrt.s3 import S3Client, S3RequestTlsMode, S3RequestType, S3ResponseError, S3RetryConfig
from botocore.httpsession import get_cert_path

_FIRST_ANSWER = 5  # seconds: it waits half a minute before it says that a certificate is not trusted
_FAILURES = 5  # in a row, after which only boto3 is asked
_EXPECTED = {404, 416}  # there is no such object, or it is empty
_META = "x-amz-meta-"
_ENCRYPTION = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
}


class Runtime:
    """Objects in a bucket, below a prefix, with the settings of a boto3 client."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._boto3, self._bucket, self._prefix = client, bucket, prefix
        self._region, self._config = client.meta.region_name, client.meta.config
        self._session = boto3.DEFAULT_SESSION
        self._worked, self._failed = False, 0

    @cached_property
    def _url(self) -> SplitResult:
        if self._config.s3["addressing_style"] == "virtual":
            place = {"Bucket": self._bucket, "Key": self._prefix + "x"}
            url = urlsplit(self._boto3.generate_presigned_url("get_object", place))
            return url._replace(path=url.path.removesuffix("x"), query="")
        url = urlsplit(self._boto3.meta.endpoint_url)  # a signed one may name a host of no region
        return url._replace(path=f"{url.path.rstrip('/')}/{quote(f'{self._bucket}/{self._prefix}')}")

    @cached_property
    def _crt(self) -> S3Client | None:
        """None where there is a proxy, which it does not know, or certificates that it cannot read."""
        try:
            scheme, host = self._url.scheme, self._url.hostname or ""
            if scheme in getproxies() and not proxy_bypass(host):
                return None
            trusted = TlsContextOptions()
            bundle = botocore.session.get_session().get_config_variable("ca_bundle") or get_cert_path(True)
            trusted.override_default_trust_store_from_path(None, bundle)
            tls = ClientTlsContext(trusted).new_connection_options()
            tls.set_server_name(host)
            return S3Client(
                region=self._region,
                tls_mode=S3RequestTlsMode.ENABLED if scheme == "https" else S3RequestTlsMode.DISABLED,
                tls_connection_options=tls,
                retry_config=S3RetryConfig(max_retries=1, backoff_scale_factor_ms=50),
                connect_timeout_ms=int(1000 * self._config.connect_timeout),
            )
        except Exception:  # of many kinds; boto3 meets the same and explains it
            return None

    def _signing(self, sha256: str) -> AwsSigningConfig:
        known = self._session.get_credentials().get_frozen_credentials()
        provider = AwsCredentialsProvider.new_static(known.access_key, known.secret_key, known.token)
        return AwsSigningConfig(
            service="s3",
            region=self._region,
            credentials_provider=provider,
            signed_body_value=sha256,
            signed_body_header_type=AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
            use_double_uri_encode=False,
            should_normalize_uri_path=False,
        )

    def get(self, key: str, most: int) -> dict[str, Any] | None:
        """An object as boto3 gives it, the content cut after `most` bytes. None: ask boto3."""
        found: dict[str, str] = {}
        content = BytesIO()

        def begin(status_code: int, headers: list[tuple[str, str]]) -> None:
            found.update((name.lower(), value) for name, value in headers)
            if status_code == 200:
                raise ValueError("the server ignores ranges")  # before the whole object comes

        def receive(chunk: bytes, offset: int) -> None:
            if offset + len(chunk) > most:
                raise ValueError("more than was asked for")
            content.seek(offset)
            content.write(chunk)

        sent = self._sent("GET", key, {"Range": f"bytes=0-{most - 1}"}, on_headers=begin, on_body=receive)
        size = found.get("content-range", "").partition("/")[2]
        if not sent or not size.isdecimal():
            return None
        content.seek(0)
        return {
            "Body": content,
            "ContentLength": int(size),
            "ETag": found.get("etag", ""),
            "Metadata": {name.removeprefix(_META): found[name] for name in found if name.startswith(_META)},
            "ServerSideEncryption": found.get(_ENCRYPTION["ServerSideEncryption"], ""),
        }

    def put(self, key: str, data: bytes, metadata: dict[str, str], encryption: dict[str, str]) -> bool:
        """Write an object. False: it may not be there, ask boto3."""
        headers = {"Content-Length": str(len(data))}
        headers |= {_META + name: value for name, value in metadata.items()}
        headers |= {_ENCRYPTION[name]: value for name, value in encryption.items()}
        return self._sent("PUT", key, headers, data)

    def _sent(self, method: str, key: str, headers: dict[str, str], data: bytes | None = None, **watch: Any) -> bool:
        if self._failed >= _FAILURES or self._crt is None:
            return False
        named = [("Host", self._url.netloc), ("User-Agent", self._config.user_agent), *headers.items()]
        body = None if data is None else BytesIO(data)
        try:
            request = self._crt.make_request(
                type=S3RequestType.DEFAULT,
                operation_name=f"{method.capitalize()}Object",
                request=HttpRequest(method, self._url.path + quote(key), HttpHeaders(named), body),
                signing_config=self._signing(hashlib.sha256(data or b"").hexdigest()),
                **watch,
            )
            try:
                request.finished_future.result(self._config.read_timeout if self._worked else _FIRST_ANSWER)
            finally:
                request.cancel()  # without effect on one that is done
        except S3ResponseError as error:
            self._failed += error.status_code not in _EXPECTED
            return False
        except Exception:  # as above
            self._failed += 1
            return False
        self._worked, self._failed = True, 0
        return True

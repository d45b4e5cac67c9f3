"""Clients of an S3 store, and its errors as one line.

Credentials are never part of a study, a pickle or a message. Both clients, boto3's and Arrow's, find them in AWS's own
chain (environment, profile, web identity, role of the machine), in the process that uses them.
"""

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
import pyarrow.fs
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)

from synfundus.environment import S3Environment
from synfundus.errors import StorageError, WrongInputError

DEFAULT_REGION = "us-east-1"
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 60
ATTEMPTS = 6
"""Attempts per request, with growing pauses, for a store that throttles or restarts."""
PROBE_READ_TIMEOUT_S = 8
PROBE_ATTEMPTS = 2
"""Attempts per request of a probing client. With its timeouts, a probe ends within 30 s in every case."""
BODY_ATTEMPTS = 3
"""Attempts to read an object whose connection breaks inside the body; boto3 does not repeat such a request."""

NOT_FOUND = ("NoSuchKey", "NotFound", "404")
DENIED = ("AccessDenied", "403")
UNKNOWN_CREDENTIALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
WRONG_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "301")


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of `s3://bucket/key`. The key may contain `?` and `#`."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    return bucket, key


def region_of(environment: S3Environment) -> str:
    """Return the region for both clients: that of the environment, else that of AWS's profile."""
    return environment.region or boto3.Session().region_name or DEFAULT_REGION


def ca_file_of(environment: S3Environment) -> str | None:
    """Return the file of trusted authorities for both clients: that of the environment, else that of AWS's profile.

    Raises:
        WrongInputError: the file holds no certificates that can be read.
    """
    path: str | None = environment.ca_file or botocore.session.get_session().get_config_variable("ca_bundle")
    if path is None:
        return None
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is an OSError
        raise WrongInputError(
            f"certificates {path}: cannot be read ({error.strerror or error}); set SYNFUNDUS_S3_CA_FILE or"
            " AWS_CA_BUNDLE to a PEM file with the certificate of the store's authority"
        ) from error
    return path


@lru_cache
def arrow_filesystem(environment: S3Environment) -> pyarrow.fs.S3FileSystem:
    """Return Arrow's client of this process. Its pickle holds an address and no credentials."""
    endpoint = urlsplit(environment.endpoint) if environment.endpoint else None
    return pyarrow.fs.S3FileSystem(
        region=region_of(environment),
        scheme=endpoint.scheme if endpoint else "https",
        endpoint_override=endpoint.netloc if endpoint else None,
        force_virtual_addressing=environment.addressing == "virtual",
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=READ_TIMEOUT_S,
        tls_ca_file_path=ca_file_of(environment),
    )


@lru_cache
def s3_client(environment: S3Environment, *, probing: bool = False) -> Any:
    """Return boto3's client of this process; a probing one gives up within 30 s."""
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=PROBE_READ_TIMEOUT_S if probing else READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": PROBE_ATTEMPTS if probing else ATTEMPTS},
        s3={"addressing_style": environment.addressing},
        # Our PUTs state their own SHA-256. boto3's default, a checksum after the body, is not supported by all stores.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,  # because Arrow ignores AWS's configuration file, too
    )
    return boto3.Session().client(
        "s3",
        region_name=region_of(environment),
        endpoint_url=environment.endpoint,
        config=config,
        verify=ca_file_of(environment),
    )


def read_object(client: Any, bucket: str, key: str) -> bytes:
    """Return all bytes of an object; raise boto3's errors."""
    for attempt in range(BODY_ATTEMPTS):
        try:
            data: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
            return data
        except (ReadTimeoutError, ResponseStreamingError, IncompleteReadError):
            if attempt + 1 == BODY_ATTEMPTS:
                raise
        time.sleep(0.2 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def error_code(error: ClientError) -> str:
    """Return the store's code of an error, such as `NoSuchKey`."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def as_storage_error(action: str) -> Iterator[None]:
    """Turn the errors of either client into a StorageError of one line: `cannot ACTION: ...`."""
    try:
        yield
    except (ClientError, BotoCoreError, OSError) as error:
        raise StorageError(f"cannot {action}: {' '.join(str(error).split())}") from error


@contextmanager
def as_wrong_input(place: str, bucket: str, environment: S3Environment, rights: str) -> Iterator[None]:
    """Turn the errors of the first request to a store into one line that says what to do.

    Args:
        place: start of the message, such as `root: s3://bucket/prefix`.
        rights: rights that the credentials need, for the message.

    Raises:
        WrongInputError: in place of every error of boto3.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
        raise WrongInputError(
            f"{place}: no credentials ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        ) from error
    except ClientError as error:
        raise WrongInputError(f"{place}: {_advice(error, bucket, rights)}") from error
    except (ParamValidationError, ValueError) as error:
        raise WrongInputError(f"{place}: {' '.join(str(error).split())}; correct this address or endpoint") from error
    except SSLError as error:
        raise WrongInputError(
            f"{place}: {' '.join(str(error).split())}; set SYNFUNDUS_S3_CA_FILE to a PEM file with the certificate of"
            " the store's authority"
        ) from error
    except BotoCoreError as error:
        store = environment.endpoint or "AWS"
        raise WrongInputError(
            f"{place}: {store} cannot be reached ({type(error).__name__});"
            " start the store, or set SYNFUNDUS_S3_ENDPOINT"
        ) from error


def _advice(error: ClientError, bucket: str, rights: str) -> str:
    code = error_code(error)
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket!r}; create it, or correct this address"
    if code in UNKNOWN_CREDENTIALS:
        return f"the store does not accept these credentials ({code}); set others"
    if code in DENIED:
        return f"these credentials may not {rights} there ({code}); grant the right, or set others"
    if code == "RequestTimeTooSkewed":
        return "this machine's clock differs from the store's; set the clock"
    if code in WRONG_REGION:
        return f"the bucket lies in another region ({code}); set AWS_REGION"
    return " ".join(str(error).split())

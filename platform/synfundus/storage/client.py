"""How an S3 store is reached, and what it says when it refuses: one set of settings for boto3's client and for Arrow's.

Credentials are never part of a study, a pickle or a message: both clients find them in AWS's own chain (environment,
profile, web identity, role of the machine), in the process that needs them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import boto3
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
)

from synfundus.environment import S3Environment
from synfundus.errors import StorageError, WrongInputError

DEFAULT_REGION = "us-east-1"
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 60
ATTEMPTS = 6
"""Of one request, with growing pauses: a store that throttles or starts again is waited for."""
PROBE_READ_TIMEOUT_S = 8
PROBE_ATTEMPTS = 2
"""With these a probe answers within 30 s, whatever is wrong."""
BODY_ATTEMPTS = 3
"""Of reading an object whose connection breaks after the answer has begun; boto3 does not try that again."""

NOT_THERE = ("NoSuchKey", "NotFound", "404")
NOT_ALLOWED = ("AccessDenied", "403")
NOT_KNOWN = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
WRONG_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "301")


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`; whatever follows the bucket is the key, `?` and `#` too."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    return bucket, key


def region_of(settings: S3Environment) -> str:
    """Region for both clients: of the settings, else of AWS's profile."""
    return settings.region or boto3.Session().region_name or DEFAULT_REGION


@lru_cache
def arrow_filesystem(settings: S3Environment) -> pyarrow.fs.S3FileSystem:
    """Arrow's client. Pickled, it holds an address and no credential."""
    endpoint = urlsplit(settings.endpoint) if settings.endpoint else None
    return pyarrow.fs.S3FileSystem(
        region=region_of(settings),
        scheme=endpoint.scheme if endpoint else "https",
        endpoint_override=endpoint.netloc if endpoint else None,
        force_virtual_addressing=settings.addressing == "virtual",
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=READ_TIMEOUT_S,
    )


@lru_cache
def s3_client(settings: S3Environment, *, probing: bool = False) -> Any:
    """boto3's client, one a process."""
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=PROBE_READ_TIMEOUT_S if probing else READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": PROBE_ATTEMPTS if probing else ATTEMPTS},
        s3={"addressing_style": settings.addressing},
        # Our PUTs state a SHA-256 of their own; the default, a checksum after the body, is not known to all stores.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,  # Arrow would not know them
    )
    session = boto3.Session()
    return session.client("s3", region_name=region_of(settings), endpoint_url=settings.endpoint, config=config)


def read_object(client: Any, bucket: str, key: str) -> bytes:
    """All bytes of an object; raises what boto3 raises."""
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
    """What the store calls the error."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def one_line(doing: str) -> Iterator[None]:
    """Errors of either client as a StorageError of one line."""
    try:
        yield
    except (ClientError, BotoCoreError, OSError) as error:
        raise StorageError(f"cannot {doing}: {' '.join(str(error).split())}") from error


@contextmanager
def remedy(where: str, bucket: str, settings: S3Environment, rights: str) -> Iterator[None]:
    """What a store says when it is first asked, as what the user can do about it.

    Args:
        where: begins the message, such as `root: s3://bucket/prefix`.
        rights: what the credentials must allow, for the message.

    Raises:
        WrongInputError: in place of every error of boto3.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
        raise WrongInputError(
            f"{where}: no credentials ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        ) from error
    except ClientError as error:
        raise WrongInputError(f"{where}: {_advice(error, bucket, rights)}") from error
    except (ParamValidationError, ValueError) as error:
        raise WrongInputError(f"{where}: {' '.join(str(error).split())}; correct this address or endpoint") from error
    except BotoCoreError as error:
        at = settings.endpoint or "AWS"
        raise WrongInputError(
            f"{where}: {at} cannot be reached ({type(error).__name__}); start the store, or set SYNFUNDUS_S3_ENDPOINT"
        ) from error


def _advice(error: ClientError, bucket: str, rights: str) -> str:
    code = error_code(error)
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket!r}; make it, or correct this address"
    if code in NOT_KNOWN:
        return f"the store does not accept these credentials ({code}); set others"
    if code in NOT_ALLOWED:
        return f"these credentials may not {rights} there ({code}); give them the right, or set others"
    if code == "RequestTimeTooSkewed":
        return "this machine's clock differs from the store's; set it"
    if code in WRONG_REGION:
        return f"the bucket lies in another region ({code}); set AWS_REGION"
    return " ".join(str(error).split())

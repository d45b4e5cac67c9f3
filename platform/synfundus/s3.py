"""An S3 store as a study's root: conditional PUTs by boto3, Parquet and Ray Train by Arrow, one set of settings.

Credentials are never part of a study, a pickle or a message: both clients find them in AWS's own chain (environment,
profile, web identity, role of the machine), in the process that needs them.
"""

import base64
import email.utils
import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import boto3
import pyarrow as pa
import pyarrow.fs
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from synfundus.errors import AlreadyExistsError, StorageError, WrongInputError
from synfundus.settings import S3Settings
from synfundus.storage import MUTABLE, Written, below_root, require_mutable, sha256_hex

DEFAULT_REGION = "us-east-1"
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 60
ATTEMPTS = 6
"""Of one request, with growing pauses: a store that throttles or starts again is waited for."""
PROBE_READ_TIMEOUT_S = 8
PROBE_ATTEMPTS = 2
"""With these a probe answers within 30 s, whatever is wrong."""
CONFLICT_ATTEMPTS = 8
"""Of a PUT that meets another of the same key; the pauses between them add up to 6 s."""
MAX_CLOCK_SKEW_S = 300
"""S3 refuses requests of a clock that differs by 15 minutes; `doctor` speaks up earlier."""

TAKEN = ("PreconditionFailed", "412")
CONFLICT = ("ConditionalRequestConflict", "409")
NOT_THERE = ("NoSuchKey", "NotFound", "404")
NOT_KNOWN = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
WRONG_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "301")


@dataclass(frozen=True)
class S3Storage:
    """Objects of a bucket below a prefix. It holds no client and no credential, so it may travel to workers."""

    bucket: str
    prefix: str
    """Without slashes at its ends; empty for the whole bucket."""
    settings: S3Settings

    @property
    def root(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def _key(self, name: str) -> str:
        return str(PurePosixPath(self.prefix) / below_root(name))

    def uri(self, name: str) -> str:
        return f"s3://{self.bucket}/{self._key(name)}"

    def write_once(self, name: str, data: bytes) -> Written:
        """Write an object that nobody overwrites: a PUT with `If-None-Match: *`.

        Raises:
            AlreadyExistsError: it exists with other content.
            StorageError: the store refuses, or cannot be reached.
        """
        require_mutable(name, mutable=False)
        written = Written(name, len(data), sha256_hex(data))
        with _one_line(f"write {self.uri(name)}"):
            first = _put_if_absent(_client(self.settings), self.bucket, self._key(name), data)
        # Who came first may have been an earlier attempt of ours whose answer was lost.
        if not first and sha256_hex(self.read(name)) != written.sha256:
            raise AlreadyExistsError(f"{name} exists with other content below {self.root}")
        return written

    def replace(self, name: str, data: bytes) -> None:
        """Write or overwrite an object below `runs/`."""
        require_mutable(name)
        with _one_line(f"write {self.uri(name)}"):
            _client(self.settings).put_object(
                Bucket=self.bucket, Key=self._key(name), Body=data, ChecksumSHA256=_checksum(data)
            )

    def remove(self, name: str) -> None:
        """Remove an object below `runs/`."""
        require_mutable(name)
        with _one_line(f"remove {self.uri(name)}"):
            _client(self.settings).delete_object(Bucket=self.bucket, Key=self._key(name))

    def read(self, name: str) -> bytes:
        with _one_line(f"read {self.uri(name)}"):
            data: bytes = _client(self.settings).get_object(Bucket=self.bucket, Key=self._key(name))["Body"].read()
        return data

    def exists(self, name: str) -> bool:
        with _one_line(f"look for {self.uri(name)}"):
            try:
                _client(self.settings).head_object(Bucket=self.bucket, Key=self._key(name))
            except ClientError as error:
                if _code(error) in NOT_THERE:
                    return False
                raise
        return True

    def names(self, prefix: str) -> Iterator[str]:
        skip = len(self._key("x")) - len("x")
        with _one_line(f"list {self.uri(prefix)}"):
            pages = _client(self.settings).get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=f"{self._key(prefix)}/"):
                # A key that ends with a slash marks a folder; Arrow makes such for Ray Train.
                yield from (item["Key"][skip:] for item in page.get("Contents", ()) if not item["Key"].endswith("/"))

    def open_input(self, name: str) -> pa.NativeFile:
        with _one_line(f"read {self.uri(name)}"):
            return arrow_filesystem(self.settings).open_input_file(f"{self.bucket}/{self._key(name)}")

    def arrow_location(self, name: str) -> tuple[pyarrow.fs.FileSystem, str]:
        return arrow_filesystem(self.settings), f"{self.bucket}/{self._key(name)}"


def open_s3(root: str, settings: S3Settings, *, create: bool = True) -> S3Storage:
    """The storage of an `s3://bucket/prefix` root.

    Args:
        create: try a write; otherwise only see whether the bucket answers.

    Raises:
        WrongInputError: see `probe`.
    """
    parts = urlsplit(root)
    if not parts.netloc or parts.query or parts.fragment:
        raise WrongInputError(f"root: {root!r} is not s3://bucket/prefix")
    storage = S3Storage(parts.netloc, parts.path.strip("/"), settings)
    if create:
        probe(storage)
    else:
        with _remedy(storage):
            _client(settings, probing=True).list_objects_v2(Bucket=storage.bucket, Prefix=storage.prefix, MaxKeys=1)
    return storage


def probe(storage: S3Storage) -> float:
    """Write a small object below `runs/`, try to overwrite it, remove it.

    Returns:
        The store's clock less ours, in s.

    Raises:
        WrongInputError: no such bucket, unknown or no credentials, no right to write or remove, not reachable, or a
            store that overwrites what is written once; within 30 s.
    """
    key = storage._key(f"{MUTABLE}/probe-{secrets.token_hex(8)}")
    with _remedy(storage):
        client = _client(storage.settings, probing=True)
        _put_if_absent(client, storage.bucket, key, b"first")
        try:
            overwritten = _put_if_absent(client, storage.bucket, key, b"second")
        finally:
            answer = client.delete_object(Bucket=storage.bucket, Key=key)
    if overwritten:
        raise WrongInputError(
            f"root: {storage.root} overwrites what is written once (it ignores If-None-Match);"
            " choose a store that honours the conditional PUT"
        )
    date = email.utils.parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    return date.timestamp() - time.time()


def region_of(settings: S3Settings) -> str:
    """Region for both clients: of the settings, else of AWS's profile."""
    return settings.region or boto3.Session().region_name or DEFAULT_REGION


@lru_cache
def arrow_filesystem(settings: S3Settings) -> pyarrow.fs.S3FileSystem:
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
def _client(settings: S3Settings, *, probing: bool = False) -> Any:
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


def _checksum(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _put_if_absent(client: Any, bucket: str, key: str, data: bytes) -> bool:
    """Whether the object was written; False where there is one already."""
    checksum = _checksum(data)
    for attempt in range(CONFLICT_ATTEMPTS):
        try:
            client.put_object(Bucket=bucket, Key=key, Body=data, ChecksumSHA256=checksum, IfNoneMatch="*")
            return True
        except ClientError as error:
            if _code(error) in TAKEN:
                return False
            # Another writer of the same key is at work: who is first shows when it is done.
            if _code(error) not in CONFLICT or attempt + 1 == CONFLICT_ATTEMPTS:
                raise
        time.sleep(0.05 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def _one_line(doing: str) -> Iterator[None]:
    """Errors of either client as a StorageError of one line."""
    try:
        yield
    except (ClientError, BotoCoreError, OSError) as error:
        raise StorageError(f"cannot {doing}: {' '.join(str(error).split())}") from error


@contextmanager
def _remedy(storage: S3Storage) -> Iterator[None]:
    """What a store says to a probe, as what the user can do about it."""
    where = f"root: {storage.root}"
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
        raise WrongInputError(
            f"{where}: no credentials ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        ) from error
    except ClientError as error:
        raise WrongInputError(f"{where}: {_advice(_code(error), storage.bucket, error)}") from error
    except (ParamValidationError, ValueError) as error:
        raise WrongInputError(f"{where}: {' '.join(str(error).split())}; correct root or endpoint") from error
    except BotoCoreError as error:
        at = storage.settings.endpoint or "AWS"
        raise WrongInputError(
            f"{where}: {at} cannot be reached ({type(error).__name__}); start the store, or set SYNFUNDUS_S3_ENDPOINT"
        ) from error


def _advice(code: str, bucket: str, error: ClientError) -> str:
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket!r}; make it, or correct the root"
    if code in NOT_KNOWN:
        return f"the store does not accept these credentials ({code}); set others"
    if code in ("AccessDenied", "403"):
        return f"these credentials may not read, write and remove there ({code}); give them the right, or set others"
    if code == "RequestTimeTooSkewed":
        return "this machine's clock differs from the store's; set it"
    if code in WRONG_REGION:
        return f"the bucket lies in another region ({code}); set AWS_REGION"
    return " ".join(str(error).split())

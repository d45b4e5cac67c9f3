"""An S3 bucket as a root: boto3 writes objects by conditional PUTs; Arrow reads Parquet and serves Ray Train."""

import base64
import email.utils
import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.fs
from botocore.exceptions import BotoCoreError, ClientError

from synfundus.digests import sha256_hex
from synfundus.environment import S3Environment
from synfundus.errors import AlreadyExistsError, WrongInputError
from synfundus.storage.base import MUTABLE, Written, below_root, require_mutable
from synfundus.storage.client import (
    NOT_FOUND,
    arrow_filesystem,
    as_storage_error,
    as_wrong_input,
    error_code,
    read_object,
    s3_client,
    split_uri,
)

CONFLICT_ATTEMPTS = 8
"""Attempts of a PUT that conflicts with another one of the same key; the pauses between them add up to 6 s."""
MAX_CLOCK_SKEW_S = 300
"""Largest difference of clocks that `doctor` accepts; S3 refuses requests from 15 minutes on."""

EXISTS = ("PreconditionFailed", "412")
CONFLICT = ("ConditionalRequestConflict", "409")


@dataclass(frozen=True)
class S3Storage:
    """Objects of a bucket below a prefix."""

    bucket: str
    prefix: str
    """Start of all keys, without slashes at its ends; empty for the whole bucket."""
    environment: S3Environment

    @property
    def root(self) -> str:
        """URI of the root."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def _key(self, name: str) -> str:
        return str(PurePosixPath(self.prefix) / below_root(name))

    def uri(self, name: str) -> str:
        """Return the URI of a name."""
        return f"s3://{self.bucket}/{self._key(name)}"

    def write_once(self, name: str, data: bytes) -> Written:
        """Write an object that is never overwritten, by a PUT with `If-None-Match: *`.

        Raises:
            AlreadyExistsError: it exists with other content.
            StorageError: the store refuses, or cannot be reached.
        """
        require_mutable(name, mutable=False)
        written = Written(name, len(data), sha256_hex(data))
        with as_storage_error(f"write {self.uri(name)}"):
            first = _put_if_absent(s3_client(self.environment), self.bucket, self._key(name), data)
        # The first writer may have been an earlier attempt of this one, whose response was lost.
        if not first and sha256_hex(self.read(name)) != written.sha256:
            raise AlreadyExistsError(f"{name} exists with other content below {self.root}")
        return written

    def replace(self, name: str, data: bytes) -> None:
        """Write or overwrite an object below `runs/`."""
        require_mutable(name)
        with as_storage_error(f"write {self.uri(name)}"):
            s3_client(self.environment).put_object(
                Bucket=self.bucket, Key=self._key(name), Body=data, ChecksumSHA256=_checksum(data)
            )

    def remove(self, name: str) -> None:
        """Remove an object below `runs/`, if it exists."""
        require_mutable(name)
        with as_storage_error(f"remove {self.uri(name)}"):
            s3_client(self.environment).delete_object(Bucket=self.bucket, Key=self._key(name))

    def read(self, name: str) -> bytes:
        """Return all bytes of an object."""
        with as_storage_error(f"read {self.uri(name)}"):
            return read_object(s3_client(self.environment), self.bucket, self._key(name))

    def exists(self, name: str) -> bool:
        """Return whether there is an object of this name."""
        with as_storage_error(f"look for {self.uri(name)}"):
            try:
                s3_client(self.environment).head_object(Bucket=self.bucket, Key=self._key(name))
            except ClientError as error:
                if error_code(error) in NOT_FOUND:
                    return False
                raise
        return True

    def names(self, prefix: str) -> Iterator[str]:
        """Yield the names of all objects below the folder `prefix`, sorted."""
        skip = len(self._key("x")) - len("x")
        with as_storage_error(f"list {self.uri(prefix)}"):
            pages = s3_client(self.environment).get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=f"{self._key(prefix)}/"):
                # A key that ends with a slash marks a folder; Arrow creates such keys for Ray Train.
                yield from (item["Key"][skip:] for item in page.get("Contents", ()) if not item["Key"].endswith("/"))

    def open_input(self, name: str) -> pa.NativeFile:
        """Open an object as a seekable file of Arrow."""
        with as_storage_error(f"read {self.uri(name)}"):
            return arrow_filesystem(self.environment).open_input_file(f"{self.bucket}/{self._key(name)}")

    def arrow_location(self, name: str) -> tuple[pyarrow.fs.FileSystem, str]:
        """Return Arrow's file system and path of a name."""
        return arrow_filesystem(self.environment), f"{self.bucket}/{self._key(name)}"


def open_s3(root: str, environment: S3Environment, *, create: bool = True) -> S3Storage:
    """Open the storage of an `s3://bucket/prefix` root.

    Args:
        create: try to write; with False, only try to list.

    Raises:
        WrongInputError: see `probe`.
    """
    bucket, prefix = split_uri(root)
    if (
        not bucket or "?" in root or "#" in root
    ):  # other readers of the URI would take the rest for a query or a fragment
        raise WrongInputError(f"root: {root!r} is not s3://bucket/prefix")
    storage = S3Storage(bucket, prefix.strip("/"), environment)
    if create:
        probe(storage)
    else:
        with _as_wrong_root(storage):
            client = s3_client(environment, probing=True)
            client.list_objects_v2(Bucket=storage.bucket, Prefix=storage.prefix, MaxKeys=1)
    return storage


def probe(storage: S3Storage) -> float | None:
    """Write a small object below `runs/`, try to overwrite it, and remove it.

    Returns:
        The store's clock minus this machine's, in s; None if the response has no date.

    Raises:
        WrongInputError: no such bucket, unknown or no credentials, no right to write or remove, a store that cannot be
            reached, or one that ignores `If-None-Match`; within 30 s.
    """
    key = storage._key(f"{MUTABLE}/probe-{secrets.token_hex(8)}")
    with _as_wrong_root(storage):
        client = s3_client(storage.environment, probing=True)
        _put_if_absent(client, storage.bucket, key, b"first")
        try:
            overwritten = _put_if_absent(client, storage.bucket, key, b"second")
        except ClientError:  # only if the store responds: a second timeout would take longer than 30 s
            with suppress(ClientError, BotoCoreError):  # the first error is the one to report
                client.delete_object(Bucket=storage.bucket, Key=key)
            raise
        response = client.delete_object(Bucket=storage.bucket, Key=key)
    if overwritten:
        raise WrongInputError(
            f"root: {storage.root} overwrites existing objects (the store ignores If-None-Match);"
            " choose a store that honours the conditional PUT"
        )
    date = email.utils.parsedate_tz(response["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
    return None if date is None else email.utils.mktime_tz(date) - time.time()


def _checksum(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _put_if_absent(client: Any, bucket: str, key: str, data: bytes) -> bool:
    """Write an object unless it exists, and return whether it was written."""
    checksum = _checksum(data)
    for attempt in range(CONFLICT_ATTEMPTS):
        try:
            client.put_object(Bucket=bucket, Key=key, Body=data, ChecksumSHA256=checksum, IfNoneMatch="*")
            return True
        except ClientError as error:
            if error_code(error) in EXISTS:
                return False
            # Another writer of the same key is active; the next attempt shows which one was first.
            if error_code(error) not in CONFLICT or attempt + 1 == CONFLICT_ATTEMPTS:
                raise
        time.sleep(0.05 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _as_wrong_root(storage: S3Storage) -> AbstractContextManager[None]:
    return as_wrong_input(f"root: {storage.root}", storage.bucket, storage.environment, "read, write and remove")

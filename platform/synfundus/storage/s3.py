"""An S3 store as a study's root: conditional PUTs by boto3, Parquet and Ray Train by Arrow."""

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
    NOT_THERE,
    arrow_filesystem,
    error_code,
    one_line,
    read_object,
    remedy,
    s3_client,
    split_uri,
)

CONFLICT_ATTEMPTS = 8
"""Of a PUT that meets another of the same key; the pauses between them add up to 6 s."""
MAX_CLOCK_SKEW_S = 300
"""S3 refuses requests of a clock that differs by 15 minutes; `doctor` speaks up earlier."""

TAKEN = ("PreconditionFailed", "412")
CONFLICT = ("ConditionalRequestConflict", "409")


@dataclass(frozen=True)
class S3Storage:
    """Objects of a bucket below a prefix. It holds no client and no credential, so it may travel to workers."""

    bucket: str
    prefix: str
    """Without slashes at its ends; empty for the whole bucket."""
    settings: S3Environment

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
        with one_line(f"write {self.uri(name)}"):
            first = _put_if_absent(s3_client(self.settings), self.bucket, self._key(name), data)
        # Who came first may have been an earlier attempt of ours whose answer was lost.
        if not first and sha256_hex(self.read(name)) != written.sha256:
            raise AlreadyExistsError(f"{name} exists with other content below {self.root}")
        return written

    def replace(self, name: str, data: bytes) -> None:
        """Write or overwrite an object below `runs/`."""
        require_mutable(name)
        with one_line(f"write {self.uri(name)}"):
            s3_client(self.settings).put_object(
                Bucket=self.bucket, Key=self._key(name), Body=data, ChecksumSHA256=_checksum(data)
            )

    def remove(self, name: str) -> None:
        """Remove an object below `runs/`."""
        require_mutable(name)
        with one_line(f"remove {self.uri(name)}"):
            s3_client(self.settings).delete_object(Bucket=self.bucket, Key=self._key(name))

    def read(self, name: str) -> bytes:
        with one_line(f"read {self.uri(name)}"):
            return read_object(s3_client(self.settings), self.bucket, self._key(name))

    def exists(self, name: str) -> bool:
        with one_line(f"look for {self.uri(name)}"):
            try:
                s3_client(self.settings).head_object(Bucket=self.bucket, Key=self._key(name))
            except ClientError as error:
                if error_code(error) in NOT_THERE:
                    return False
                raise
        return True

    def names(self, prefix: str) -> Iterator[str]:
        skip = len(self._key("x")) - len("x")
        with one_line(f"list {self.uri(prefix)}"):
            pages = s3_client(self.settings).get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=f"{self._key(prefix)}/"):
                # A key that ends with a slash marks a folder; Arrow makes such for Ray Train.
                yield from (item["Key"][skip:] for item in page.get("Contents", ()) if not item["Key"].endswith("/"))

    def open_input(self, name: str) -> pa.NativeFile:
        with one_line(f"read {self.uri(name)}"):
            return arrow_filesystem(self.settings).open_input_file(f"{self.bucket}/{self._key(name)}")

    def arrow_location(self, name: str) -> tuple[pyarrow.fs.FileSystem, str]:
        return arrow_filesystem(self.settings), f"{self.bucket}/{self._key(name)}"


def open_s3(root: str, settings: S3Environment, *, create: bool = True) -> S3Storage:
    """The storage of an `s3://bucket/prefix` root.

    Args:
        create: try a write; otherwise only see whether the bucket answers.

    Raises:
        WrongInputError: see `probe`.
    """
    bucket, prefix = split_uri(root)
    if not bucket or "?" in root or "#" in root:  # a query or fragment, to whoever reads it as a URI
        raise WrongInputError(f"root: {root!r} is not s3://bucket/prefix")
    storage = S3Storage(bucket, prefix.strip("/"), settings)
    if create:
        probe(storage)
    else:
        with _root_remedy(storage):
            s3_client(settings, probing=True).list_objects_v2(Bucket=storage.bucket, Prefix=storage.prefix, MaxKeys=1)
    return storage


def probe(storage: S3Storage) -> float | None:
    """Write a small object below `runs/`, try to overwrite it, remove it.

    Returns:
        The store's clock less ours, in s; None where its answer has no date.

    Raises:
        WrongInputError: no such bucket, unknown or no credentials, no right to write or remove, not reachable, or a
            store that overwrites what is written once; within 30 s.
    """
    key = storage._key(f"{MUTABLE}/probe-{secrets.token_hex(8)}")
    with _root_remedy(storage):
        client = s3_client(storage.settings, probing=True)
        _put_if_absent(client, storage.bucket, key, b"first")
        try:
            overwritten = _put_if_absent(client, storage.bucket, key, b"second")
        except ClientError:  # what does not answer is not waited for twice: that would take longer than 30 s
            with suppress(ClientError, BotoCoreError):  # what was wrong first is told
                client.delete_object(Bucket=storage.bucket, Key=key)
            raise
        answer = client.delete_object(Bucket=storage.bucket, Key=key)
    if overwritten:
        raise WrongInputError(
            f"root: {storage.root} overwrites what is written once (it ignores If-None-Match);"
            " choose a store that honours the conditional PUT"
        )
    date = email.utils.parsedate_tz(answer["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
    return None if date is None else email.utils.mktime_tz(date) - time.time()


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
            if error_code(error) in TAKEN:
                return False
            # Another writer of the same key is at work: who is first shows when it is done.
            if error_code(error) not in CONFLICT or attempt + 1 == CONFLICT_ATTEMPTS:
                raise
        time.sleep(0.05 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _root_remedy(storage: S3Storage) -> AbstractContextManager[None]:
    return remedy(f"root: {storage.root}", storage.bucket, storage.settings, "read, write and remove")

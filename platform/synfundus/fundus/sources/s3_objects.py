"""Originals that lie on an S3 store: listed a thousand a request, read one by one."""

import errno
import os
from itertools import islice

from botocore.exceptions import ClientError

from synfundus.environment import S3Environment
from synfundus.errors import WrongInputError
from synfundus.storage.client import (
    NOT_ALLOWED,
    NOT_THERE,
    error_code,
    one_line,
    read_object,
    remedy,
    s3_client,
    split_uri,
)

RIGHTS = "list and read"


def list_keys(uri: str, settings: S3Environment, limit: int | None = None) -> list[str]:
    """Keys of the object `uri`, if there is one, and of all objects below it as a folder.

    Args:
        limit: the most keys below that are wanted, by a client that does not wait for long; None for all.

    Raises:
        WrongInputError: no such bucket, unknown or no credentials, no right to list, not reachable; within 30 s.
    """
    bucket, prefix = split_uri(uri)
    if not bucket:
        raise WrongInputError(f"{uri}: names no bucket; expected s3://bucket/prefix")
    with remedy(uri, bucket, settings, RIGHTS):
        # The object itself, if there is one, is the first of all that begin with its key. This request is the one that
        # finds out, within 30 s, what is wrong with the store; those for all pages of a folder have more patience.
        first = s3_client(settings, probing=True).list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        itself = [item["Key"] for item in first.get("Contents", ()) if item["Key"] == prefix]
        below = f"{prefix}/" if prefix else ""
        client = s3_client(settings, probing=limit is not None)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=below)
        return itself + list(islice((item["Key"] for page in pages for item in page.get("Contents", ())), limit))


def read_original(uri: str, settings: S3Environment) -> bytes:
    """Bytes of an object.

    Raises:
        FileNotFoundError: it has gone.
        PermissionError: it may not be read.
        StorageError: the store does not answer, or knows neither these credentials nor the bucket any more.
    """
    bucket, key = split_uri(uri)
    with one_line(f"read {uri}"):
        try:
            return read_object(s3_client(settings), bucket, key)
        except ClientError as error:
            code = error_code(error)
            if code not in NOT_THERE + NOT_ALLOWED:
                raise
            number = errno.ENOENT if code in NOT_THERE else errno.EACCES
            refused = OSError(number, os.strerror(number), uri)  # of the subclass that the number says
    raise refused

"""Photographs on an S3 store: listed a thousand per request, read one by one."""

import errno
import os
from itertools import islice

from botocore.exceptions import ClientError

from synfundus.environment import S3Environment
from synfundus.errors import WrongInputError
from synfundus.storage.client import (
    DENIED,
    NOT_FOUND,
    as_storage_error,
    as_wrong_input,
    error_code,
    read_object,
    s3_client,
    split_uri,
)

RIGHTS = "list and read"


def list_keys(uri: str, environment: S3Environment, limit: int | None = None) -> list[str]:
    """Return the keys of the object `uri`, if it exists, and of all objects below `uri` as a folder.

    Args:
        limit: largest number of keys below the folder, listed by a client that gives up within 30 s; None for all.

    Raises:
        WrongInputError: no such bucket, unknown or no credentials, no right to list, or a store that cannot be reached;
            within 30 s.
    """
    bucket, prefix = split_uri(uri)
    if not bucket:
        raise WrongInputError(f"{uri}: names no bucket; expected s3://bucket/prefix")
    with as_wrong_input(uri, bucket, environment, RIGHTS):
        # The object itself, if it exists, is the first of all keys that begin with its key. This request also finds out
        # within 30 s what is wrong with the store; the client that lists all pages waits longer.
        first = s3_client(environment, probing=True).list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        itself = [item["Key"] for item in first.get("Contents", ()) if item["Key"] == prefix]
        folder = f"{prefix}/" if prefix else ""
        client = s3_client(environment, probing=limit is not None)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=folder)
        return itself + list(islice((item["Key"] for page in pages for item in page.get("Contents", ())), limit))


def read_photograph(uri: str, environment: S3Environment) -> bytes:
    """Return the bytes of an object.

    Raises:
        FileNotFoundError: it no longer exists.
        PermissionError: these credentials may not read it.
        StorageError: the store does not respond, or no longer has the bucket or accepts these credentials.
    """
    bucket, key = split_uri(uri)
    with as_storage_error(f"read {uri}"):
        try:
            return read_object(s3_client(environment), bucket, key)
        except ClientError as error:
            code = error_code(error)
            if code not in NOT_FOUND + DENIED:
                raise
            number = errno.ENOENT if code in NOT_FOUND else errno.EACCES
            file_error = OSError(number, os.strerror(number), uri)  # Python makes it the subclass of this number
    raise file_error

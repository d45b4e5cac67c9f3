"""Folder or file of a source: a path on disk, or one on S3 with the same methods.

docs/decisions/0006-paths-on-s3.md explains why this is not a library's class.
"""

import errno
import io
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from synfundus.environment import Environment, S3Environment
from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import S3File

S3_SCHEME = "s3://"


@dataclass(frozen=True)
class S3Place:
    """A folder or object on S3, with those members of `pathlib.Path` that the layouts use.

    The source is listed once, when it is opened. Everything but the bytes comes from this listing.
    """

    path: PurePosixPath
    """`bucket/key`."""
    keys: Sequence[str] = field(compare=False, repr=False)
    """All objects of the source as `bucket/key`, sorted."""
    environment: S3Environment = field(compare=False, repr=False)
    """Address of the store."""

    def __str__(self) -> str:
        return f"{S3_SCHEME}{self.path}"

    def __truediv__(self, name: str) -> "S3Place":
        return self._at(self.path / name)

    def joinpath(self, *names: str) -> "S3Place":
        return self._at(self.path.joinpath(*names))

    def _at(self, path: PurePosixPath) -> "S3Place":
        return S3Place(path, self.keys, self.environment)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def parts(self) -> tuple[str, ...]:
        return self.path.parts

    @property
    def parent(self) -> "S3Place":
        return self._at(self.path.parent)

    @property
    def parents(self) -> "tuple[S3Place, ...]":
        return tuple(self._at(path) for path in self.path.parents)

    def is_file(self) -> bool:
        return next(self._keys_from(str(self.path)), None) == str(self.path)

    def is_dir(self) -> bool:
        return next(self._keys_from(f"{self.path}/"), "").startswith(f"{self.path}/")

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def names(self) -> Iterator[str]:
        """Yield the names of all files below this folder, without hidden files and those in hidden folders."""
        for name in self._names_below():
            # A key that ends with a slash marks a folder.
            if all(part and not part.startswith(".") for part in name.split("/")):
                yield name

    def names_with_empty_part(self) -> Iterator[str]:
        """Yield names such as `left//a.png`: an upload with a slash too many makes them, and no disk can hold them."""
        for name in self._names_below():
            if "" in name.split("/"):
                yield name

    def _names_below(self) -> Iterator[str]:
        prefix = f"{self.path}/"
        for key in self._keys_from(prefix):
            if not key.startswith(prefix):
                return
            yield key[len(prefix) :]

    def iterdir(self) -> "Iterator[S3Place]":
        yield from (self / name for name in dict.fromkeys(name.split("/")[0] for name in self.names()))

    def _keys_from(self, start: str) -> Iterator[str]:
        return islice(self.keys, bisect_left(self.keys, start), None)

    def file(self, name: str = "") -> S3File:
        """Return a picklable reference of this file, or of the file `name` below this folder."""
        return S3File(f"{self}/{name}" if name else str(self), self.environment)

    def open(self, mode: Literal["rb"]) -> io.BytesIO:  # noqa: ARG002  pathlib's signature
        """Read the whole object and return it as a file."""
        if not self.is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return self.file().open()

    def read_bytes(self) -> bytes:
        return self.open("rb").getvalue()


Place: TypeAlias = Path | S3Place


def place_of(path: str) -> Place:
    """Return the place that the `path` of a source names. A place on S3 is listed here, once.

    Raises:
        WrongInputError: an address that is not on S3, or a store that cannot be listed.
    """
    if "://" not in path:
        return Path(path)
    uri, environment = _s3_uri(path), Environment().s3
    from synfundus.fundus.sources.s3_objects import list_keys  # boto3 takes half a second to import
    from synfundus.storage.client import split_uri

    bucket, _ = split_uri(uri)
    keys = sorted(f"{bucket}/{key}" for key in list_keys(uri, environment))
    return S3Place(PurePosixPath(uri.removeprefix(S3_SCHEME)), keys, environment)


def source_exists(path: str) -> bool:
    """Return whether the `path` of a source names a file or a folder; on S3 this takes two requests.

    Raises:
        WrongInputError: as `place_of`.
    """
    if "://" not in path:
        return Path(path).exists()
    from synfundus.fundus.sources.s3_objects import list_keys

    return bool(list_keys(_s3_uri(path), Environment().s3, limit=1))


def _s3_uri(path: str) -> str:
    """Return `s3://bucket/prefix` without superfluous slashes."""
    if not path.startswith(S3_SCHEME):
        raise WrongInputError(f"{path}: `path` of a source is a folder or file of this machine, or s3://bucket/prefix")
    return f"{S3_SCHEME}{PurePosixPath(path.removeprefix(S3_SCHEME))}"

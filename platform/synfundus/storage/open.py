"""Open the storage of a root URI."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from synfundus.environment import Environment
from synfundus.errors import WrongInputError
from synfundus.storage.base import FULL_DISK, Storage, not_written
from synfundus.storage.local import LocalStorage


def open_storage(root: str, *, create: bool = True) -> Storage:
    """The storage of a root URI: a path, `file://…` or `s3://bucket/prefix`.

    Args:
        create: make the root and try a file in it; otherwise nothing is written, and the right to read is enough.

    Raises:
        WrongInputError: a scheme that is not supported, or a root that cannot be reached, read or written.
        StorageError: the disk is full.
    """
    scheme = urlsplit(root).scheme
    if scheme == "s3":
        from synfundus.storage.s3 import open_s3  # boto3 takes half a second to import

        return open_s3(root, Environment().s3, create=create)
    if scheme not in ("", "file"):
        raise WrongInputError(f"root: {root!r} has scheme {scheme!r}; expected a path, file:// or s3://bucket/prefix")
    folder = Path(unquote(urlsplit(root).path) if scheme else root).expanduser().absolute()
    try:
        if create:
            _probe(folder)
        else:
            _require_readable(folder)
    except OSError as error:
        if error.errno in FULL_DISK:
            raise not_written(error, str(folder)) from error
        doing, remedy = "write to" if create else "read", "choose another root in the study file"
        raise WrongInputError(f"root: cannot {doing} {folder} ({error.strerror}); {remedy}") from error
    return LocalStorage(folder.as_uri())


def _probe(folder: Path) -> None:
    """Make the folder and a file in it; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe.{secrets.token_hex(4)}"
    try:
        probe.touch()
    finally:
        probe.unlink(missing_ok=True)


def _require_readable(folder: Path) -> None:
    """Raises OSError where the folder may not be listed or entered. One that is not there yet is only empty."""
    with suppress(FileNotFoundError):
        os.scandir(f"{folder}/.").close()  # the dot asks for the right to enter, too

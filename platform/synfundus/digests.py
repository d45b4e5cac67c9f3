"""Content digests: SHA-256 of bytes, of JSON values and of files."""

import hashlib
import json
from pathlib import Path
from typing import Any

from synfundus.errors import WrongInputError


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """One byte string for one value: sorted keys, no NaN, a newline at the end."""
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-able value."""
    return sha256_hex(canonical_json(value))


def content_digest(path: Path, key: str) -> str:
    """SHA-256 of a file, or of all files of a folder with their names below it.

    Args:
        key: the setting that names it, for messages.

    Raises:
        WrongInputError: it is not there or cannot be read.
    """
    try:
        if not path.is_dir():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        names = sorted(item.relative_to(path).as_posix() for item in path.rglob("*") if item.is_file())
        return digest_of([[name, content_digest(path / name, key)] for name in names])
    except OSError as error:
        raise WrongInputError(f"{key}: cannot read {path} ({error.strerror}); correct the path") from error

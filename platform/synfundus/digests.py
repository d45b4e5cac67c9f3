"""Digests: SHA-256 of bytes, of JSON values and of files."""

import hashlib
import json
from pathlib import Path
from typing import Any

from synfundus.errors import WrongInputError


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of bytes as hexadecimal text."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """Return the JSON of a value; equal values give equal bytes (sorted keys, no NaN, a newline at the end)."""
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    return sha256_hex(canonical_json(value))


def content_digest(path: Path, key: str) -> str:
    """Return the SHA-256 of a file, or of all files of a folder together with their names.

    Args:
        key: setting that names the path, for messages.

    Raises:
        WrongInputError: the path does not exist or cannot be read.
    """
    try:
        if not path.is_dir():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        names = sorted(item.relative_to(path).as_posix() for item in path.rglob("*") if item.is_file())
        return digest_of([[name, content_digest(path / name, key)] for name in names])
    except OSError as error:
        raise WrongInputError(f"{key}: cannot read {path} ({error.strerror}); correct the path") from error

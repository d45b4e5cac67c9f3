"""The file of Inception weights that a study names, read only if it is the published one. Imports no torch."""

import hashlib
from pathlib import Path

from synfundus.errors import WrongInputError

KEY = "evaluation.inception_weights"
PUBLISHED_FILE = "weights-inception-2015-12-05-6726825d.pth"
PUBLISHED_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""SHA-256 of `PUBLISHED_FILE`. The file's name carries the first eight digits, as torch hub's names do, and
torch-fidelity states no more. Several public projects that pin this file state all 64; they were not checked against
the file itself."""
REMEDY = f"name {PUBLISHED_FILE} of torch-fidelity's release v0.2.0, or remove the key to evaluate without Inception"


def read_inception_weights(path: str | Path, *, digest_prefix: str = PUBLISHED_SHA256) -> bytes:
    """Return the content of the file, after verifying its digest. Nothing is ever downloaded.

    Args:
        digest_prefix: beginning of the expected SHA-256 in hexadecimal; by default all of the published one.

    Raises:
        WrongInputError: the file cannot be read, or has another digest.
    """
    try:
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # before reading it whole: it may be any file
            file.seek(0)
            content = file.read() if digest.startswith(digest_prefix.lower()) else None
    except OSError as error:
        raise WrongInputError(f"{KEY}: {path} cannot be read ({error.strerror}); {REMEDY}") from error
    if content is None:
        raise WrongInputError(f"{KEY}: {path} has SHA-256 {digest[:16]}..., expected {digest_prefix[:16]}...; {REMEDY}")
    return content

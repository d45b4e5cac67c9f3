"""Seeds derived from their purpose, so that no random number depends on how many were drawn before."""

import hashlib
from typing import Final

import numpy as np

SEED_END: Final = 2**53
"""Upper bound of every seed, exclusive: JSON keeps integers exactly below 2^53."""


def derive_seed(*parts: int | str) -> int:
    """Return BLAKE2b of the parts, with their types, lengths and order, as a seed in [0, 2^53), which JSON keeps."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        kind, text = (b"s", part.encode()) if isinstance(part, str) else (b"i", str(int(part)).encode())
        digest.update(kind + str(len(text)).encode() + b":" + text)
    return int.from_bytes(digest.digest(), "little") >> 11


def random_numbers(*parts: int | str) -> np.random.Generator:
    """Return NumPy's generator over Philox, seeded by `derive_seed(*parts)`."""
    return np.random.Generator(np.random.Philox(key=derive_seed(*parts)))

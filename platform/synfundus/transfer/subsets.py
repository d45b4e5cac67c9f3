"""Nested subsets of patients: what a fraction of the training patients means."""

import hashlib
import math
from collections.abc import Iterable


def nested_patients(patients: Iterable[str], fraction: float, seed: int) -> frozenset[str]:
    """Return ceil(fraction x n) of the n different patients: the first ones in the order of the seed.

    The place of a patient in this order is BLAKE2b of (seed, patient). So a smaller fraction of the same seed is a
    subset of a larger one, and neither the order nor the number of a patient's images matters.

    Args:
        fraction: in (0, 1].
    """

    def place(patient: str) -> bytes:
        return hashlib.blake2b(f"{seed}\0{patient}".encode(), digest_size=16, person=b"synfundus-subset").digest()

    ordered = sorted(set(patients), key=place)
    # A product such as 0.07 x 100 is a little larger than 7; the next whole number must not count.
    return frozenset(ordered[: math.ceil(round(fraction * len(ordered), 9))])

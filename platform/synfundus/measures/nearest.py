"""The search for the nearest copy descriptor among all references and their mirror images, on a CPU or a GPU.

An image is compared with the nearest reference, and with the nearest one of another patient. The ratio of the distances
tells a copy from an image that is alike to everybody (nearest neighbour distance ratio; Lowe 2004, section 7.1, doi
10.1023/B:VISI.0000029664.99615.94). The distance alone does not: photographs that show little, such as those out of
focus, lie near to each other whoever the patients are, and a threshold that spares them finds few copies.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synfundus.labels import FloatArray
from synfundus.seeds import random_numbers

QUERY_BLOCK = 1024
"""Queries that are compared at once."""
REFERENCE_BLOCK = {"cpu": 1024, "cuda": 16_384}
"""References that are compared at once, by device. On a CPU, larger matrices of products leave the cache: blocks of
16,384 take more than twice as long. A GPU takes 128 MiB for two float32 matrices."""

NOTHING = -1
"""Index of no reference."""

SMALLEST_DISTANCE = 1e-6
"""Distances are rounded to it."""

MAX_HELD_OUT = 10_000
"""Held-out photographs that are searched for; of more, as many are chosen at random."""


@dataclass(frozen=True)
class Reference:
    """Images to search, on the device that searches."""

    descriptors_ND: Tensor
    patient_N: Tensor
    """(N,) number of the patient."""

    def __len__(self) -> int:
        return len(self.descriptors_ND)


@dataclass(frozen=True)
class Nearest:
    """The nearest reference of each of N images."""

    distance: NDArray[np.float64]
    """(N,) in [0, 2], rounded to six decimals, so that rounding on another CPU changes no decision."""
    other_distance: NDArray[np.float64]
    """(N,) distance to the nearest reference of another patient than `index` shows; infinite if there is none."""
    index: NDArray[np.int64]
    """(N,) row of the reference."""
    mirrored: NDArray[np.bool_]
    """(N,): the reference is nearest when mirrored."""

    @property
    def ratio(self) -> NDArray[np.float64]:
        """Distance ratio, (N,) in [0, 1]: 0 for a copy, near 1 for an image of somebody else; rounded as distances."""
        return np.asarray(np.round(self.distance / np.maximum(self.other_distance, SMALLEST_DISTANCE), 6))


def reference_on(
    descriptors_ND: FloatArray, patient_N: Sequence[str] | NDArray[np.int64], device: torch.device | str
) -> Reference:
    """Return descriptors and patients on `device`; on the CPU descriptors share their memory, which may be read-only.

    Args:
        patient_N: name or number of each image's patient.
    """
    number_N = np.unique(np.asarray(patient_N), return_inverse=True)[1].astype(np.int64)
    with warnings.catch_warnings():
        # Ray shares arrays read-only; torch warns of that, but `nearest` writes to none.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return Reference(torch.from_numpy(descriptors_ND).to(device), torch.from_numpy(number_N).to(device))


def nearest(queries_MD: FloatArray, reference: Reference) -> Nearest:
    """Return the nearest reference of each query, among at least one reference as it is and mirrored.

    All queries are compared with all references, in blocks, on the device of the references. Let e and o be the dot
    products of the even and of the odd halves. The dot product with a reference is e + o, and with its mirror image
    e - o, so the larger one is e + |o|.
    """
    descriptors_ND = reference.descriptors_ND
    half, device = descriptors_ND.shape[1] // 2, descriptors_ND.device
    size = REFERENCE_BLOCK[device.type]
    norm_N = descriptors_ND.square().sum(1)
    index_2M = torch.zeros((2, len(queries_MD)), dtype=torch.int64)
    for first in range(0, len(queries_MD), QUERY_BLOCK):
        query_QD = torch.from_numpy(queries_MD[first : first + QUERY_BLOCK]).to(device)
        best = _Best(len(query_QD), device)
        for start in range(0, len(reference), size):
            block_RD = descriptors_ND[start : start + size]
            # Minus half of the squared distance, but for the query's own norm.
            score_QR = torch.addmm(norm_N[start : start + size], query_QD[:, :half], block_RD[:, :half].T, beta=-0.5)
            score_QR += (query_QD[:, half:] @ block_RD[:, half:].T).abs_()
            best.take(score_QR, reference.patient_N[start : start + size], start)
        index_2M[:, first : first + QUERY_BLOCK] = best.index_2Q.cpu()
    return _compare(queries_MD, descriptors_ND, index_2M)


class _Best:
    """Of Q queries, the best reference so far, and the best one of another patient."""

    def __init__(self, num_queries: int, device: torch.device) -> None:
        self.index_2Q = torch.full((2, num_queries), NOTHING, dtype=torch.int64, device=device)
        self._score_2Q = torch.full((2, num_queries), -torch.inf, device=device)
        self._patient_Q = torch.full((num_queries,), NOTHING, dtype=torch.int64, device=device)

    def take(self, score_QR: Tensor, patient_R: Tensor, start: int) -> None:
        """Take up a block of references, the first of which is reference `start`."""
        value_Q = score_QR.amax(1)
        # Few queries find a better reference in a block, and `amax` takes a tenth of the time of `argmax`.
        rows_C = (value_Q > self._score_2Q[1]).nonzero().squeeze(1)
        score_CR, value_C = score_QR[rows_C], value_Q[rows_C]
        place_C = score_CR.argmax(1)
        patient_C = patient_R[place_C]
        # The best reference of the block, then the best one of another patient; both as (score, index).
        other_C = score_CR.masked_fill_(patient_R == patient_C[:, None], -torch.inf).max(1)
        block = (value_C, place_C + start), (other_C.values, other_C.indices + start)
        before = [(self._score_2Q[i, rows_C], self.index_2Q[i, rows_C]) for i in range(2)]
        better_C, same_C = value_C > before[0][0], patient_C == self._patient_Q[rows_C]
        # Where both bests are of one patient, neither is the other's other.
        if_better = _larger(_where(same_C, before[1], before[0]), block[1])
        if_not = _larger(before[1], _where(same_C, block[1], block[0]))
        for i, found in enumerate((_where(better_C, block[0], before[0]), _where(better_C, if_better, if_not))):
            self._score_2Q[i, rows_C], self.index_2Q[i, rows_C] = found
        self._patient_Q[rows_C] = torch.where(better_C, patient_C, self._patient_Q[rows_C])


_Found = tuple[Tensor, Tensor]
"""Scores and indices of references."""


def _where(chosen_C: Tensor, first: _Found, second: _Found) -> _Found:
    return torch.where(chosen_C, first[0], second[0]), torch.where(chosen_C, first[1], second[1])


def _larger(first: _Found, second: _Found) -> _Found:
    return _where(first[0] >= second[0], first, second)


def _compare(queries_MD: FloatArray, descriptors_ND: Tensor, index_2M: Tensor) -> Nearest:
    """Return the distances of pairs, without the cancellation that a sum of squares has for near pairs."""
    query_MD, half = queries_MD.astype(np.float64), queries_MD.shape[1] // 2
    parts = []
    for index_M in index_2M:
        near_MD = descriptors_ND[index_M.clamp_min(0).to(descriptors_ND.device)].cpu().numpy().astype(np.float64)
        even_M = ((query_MD - near_MD)[:, :half] ** 2).sum(1)
        odd_M = ((query_MD - near_MD)[:, half:] ** 2).sum(1)
        mirrored_odd_M = ((query_MD + near_MD)[:, half:] ** 2).sum(1)
        parts.append((np.round(np.sqrt(even_M + np.minimum(odd_M, mirrored_odd_M)), 6), mirrored_odd_M < odd_M))
    (distance_M, mirrored_M), (other_M, _) = parts
    other_M = np.where(index_2M[1].numpy() == NOTHING, np.inf, other_M)
    return Nearest(distance_M, other_M, index_2M[0].numpy(), mirrored_M)


def held_out_ratios(held_out_MD: FloatArray, reference: Reference) -> NDArray[np.float64]:
    """Return the distance ratio of each held-out photograph, of at most `MAX_HELD_OUT`."""
    chosen = np.sort(random_numbers("held-out").permutation(len(held_out_MD))[:MAX_HELD_OUT])
    return nearest(held_out_MD[chosen], reference).ratio

"""The search for the nearest copy descriptor among all references and their mirror images, on a CPU or a GPU."""

import warnings
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

MAX_HELD_OUT = 10_000
"""Held-out photographs whose distances are computed; of more, as many are chosen at random."""


@dataclass(frozen=True)
class Nearest:
    """The nearest reference of each of N images."""

    distance: NDArray[np.float64]
    """(N,) in [0, 2], rounded to six decimals, so that rounding on another CPU changes no decision."""
    index: NDArray[np.int64]
    """(N,) row of the reference."""
    mirrored: NDArray[np.bool_]
    """(N,): the reference is nearest when mirrored."""


def reference_on(descriptors_ND: FloatArray, device: torch.device | str) -> Tensor:
    """Return descriptors as a tensor on `device`; on the CPU it shares their memory, which may be read-only."""
    with warnings.catch_warnings():
        # Ray shares arrays read-only; torch warns of that, but `nearest` writes to none.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(descriptors_ND).to(device)


def nearest(queries_MD: FloatArray, reference_ND: Tensor) -> Nearest:
    """Return the nearest reference of each query, among at least one reference as it is and mirrored.

    All queries are compared with all references, in blocks, on the device of the references. Let e and o be the dot
    products of the even and of the odd halves. The dot product with a reference is e + o, and with its mirror image
    e - o, so the larger one is e + |o|.
    """
    half, device = reference_ND.shape[1] // 2, reference_ND.device
    size = REFERENCE_BLOCK[device.type]
    norm_N = reference_ND.square().sum(1)
    index_M = torch.zeros(len(queries_MD), dtype=torch.int64)
    for first in range(0, len(queries_MD), QUERY_BLOCK):
        query_QD = torch.from_numpy(queries_MD[first : first + QUERY_BLOCK]).to(device)
        best_Q = torch.full((len(query_QD),), -torch.inf, device=device)
        index_Q = torch.zeros(len(query_QD), dtype=torch.int64, device=device)
        for start in range(0, len(reference_ND), size):
            block_RD = reference_ND[start : start + size]
            # Minus half of the squared distance, but for the query's own norm.
            score_QR = torch.addmm(norm_N[start : start + size], query_QD[:, :half], block_RD[:, :half].T, beta=-0.5)
            score_QR += (query_QD[:, half:] @ block_RD[:, half:].T).abs_()
            value_Q = score_QR.amax(1)
            # Few queries find a nearer reference in a block, and `amax` takes a tenth of the time of `argmax`.
            better = (value_Q > best_Q).nonzero().squeeze(1)
            index_Q[better] = score_QR[better].argmax(1) + start
            best_Q[better] = value_Q[better]
        index_M[first : first + QUERY_BLOCK] = index_Q.cpu()
    nearest_MD = reference_ND[index_M.to(device)].cpu().numpy()
    return _compare(queries_MD, nearest_MD, index_M.numpy())


def _compare(query_MD: FloatArray, nearest_MD: FloatArray, index_M: NDArray[np.int64]) -> Nearest:
    """Return the distances of pairs, without the cancellation that a sum of squares has for near pairs."""
    half = query_MD.shape[1] // 2
    query_MD, nearest_MD = query_MD.astype(np.float64), nearest_MD.astype(np.float64)
    even_M = ((query_MD - nearest_MD)[:, :half] ** 2).sum(1)
    odd_M = ((query_MD - nearest_MD)[:, half:] ** 2).sum(1)
    mirrored_odd_M = ((query_MD + nearest_MD)[:, half:] ** 2).sum(1)
    distance_M = np.sqrt(even_M + np.minimum(odd_M, mirrored_odd_M))
    return Nearest(np.round(distance_M, 6), index_M, mirrored_odd_M < odd_M)


def held_out_distances(held_out_MD: FloatArray, reference_ND: Tensor) -> NDArray[np.float64]:
    """Return the distance of each held-out photograph to its nearest reference, of at most `MAX_HELD_OUT`."""
    chosen = np.sort(random_numbers("held-out").permutation(len(held_out_MD))[:MAX_HELD_OUT])
    return nearest(held_out_MD[chosen], reference_ND).distance

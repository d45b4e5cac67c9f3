"""Overlap of two sets of features: precision, recall, density and coverage, by nearest neighbours."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from synfundus.evaluation.fidelity import CHUNK_ROWS, Features
from synfundus.measures.inputs import Floats


def distance_chunks(x_ND: Features, y_MD: Features) -> Iterator[tuple[int, Floats]]:
    """Yield the Euclidean distances of some rows of x to all of y: `(first_row, d (<= 1024, M))`, in order."""
    x, y = np.asarray(x_ND, np.float64), np.asarray(y_MD, np.float64)
    norm_y = np.einsum("md,md->m", y, y)
    for start in range(0, len(x), CHUNK_ROWS):
        part = x[start : start + CHUNK_ROWS]
        squared = np.einsum("nd,nd->n", part, part)[:, None] + norm_y - 2.0 * part @ y.T
        yield start, np.sqrt(np.maximum(squared, 0.0))


def neighbour_radius(x_ND: Features, num_neighbours: int) -> Floats:
    """Return the distance (N,) of each row to its `num_neighbours`-th nearest other row."""
    radius = np.empty(len(x_ND))
    for start, d in distance_chunks(x_ND, x_ND):
        rows = np.arange(len(d))
        d[rows, start + rows] = -1.0  # sorts the row itself first, independent of rounding, so that it is not counted
        radius[start : start + len(d)] = np.partition(d, num_neighbours, axis=1)[:, num_neighbours]
    return radius


@dataclass(frozen=True)
class Overlap:
    """Overlap of a candidate set with a reference set. Density is 0 or more, the others lie in [0, 1]."""

    precision: float
    """Share of the candidates within a neighbourhood of the reference (Kynkäänniemi et al. 2019, arXiv 1904.06991)."""
    recall: float
    """Share of the reference within a neighbourhood of the candidates (same paper)."""
    density: float
    """Mean number of the reference's neighbourhoods around a candidate, over k (Naeem et al. 2020, 2002.09797)."""
    coverage: float
    """Share of the reference whose neighbourhood holds a candidate (same paper)."""


def overlap(reference_ND: Features, candidate_MD: Features, num_neighbours: int) -> Overlap:
    """Return the overlap; a neighbourhood is the ball that reaches to the `num_neighbours`-th nearest neighbour.

    Both sets must have more than `num_neighbours` rows.
    """
    radius_N = neighbour_radius(reference_ND, num_neighbours)
    radius_M = neighbour_radius(candidate_MD, num_neighbours)
    num_balls_M = np.zeros(len(candidate_MD), np.int64)
    recalled = covered = 0
    for start, d_NM in distance_chunks(reference_ND, candidate_MD):
        inside_NM = d_NM <= radius_N[start : start + len(d_NM), None]
        num_balls_M += inside_NM.sum(axis=0)
        covered += int(inside_NM.any(axis=1).sum())
        recalled += int((d_NM <= radius_M).any(axis=1).sum())
    return Overlap(
        precision=float((num_balls_M > 0).mean()),
        recall=recalled / len(reference_ND),
        density=float(num_balls_M.mean()) / num_neighbours,
        coverage=covered / len(reference_ND),
    )

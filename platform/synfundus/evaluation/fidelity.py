"""How far apart two sets of features lie: Fréchet distance and kernel distance (KID). Both compute in float64."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32] | NDArray[np.float64]
CHUNK_ROWS = 1024


@dataclass(frozen=True)
class Gaussian:
    """Mean (D,) and a root R of the covariance, R^T R = C, with min(N, D) rows."""

    mean: NDArray[np.float64]
    root: NDArray[np.float64]


def fit_gaussian(features_ND: Features) -> Gaussian:
    """The Gaussian of at least two feature vectors, with the covariance's N - 1 denominator."""
    x = np.asarray(features_ND, np.float64)
    mean = x.mean(axis=0)
    root = np.asarray((x - mean) / np.sqrt(len(x) - 1))
    return Gaussian(mean, root if len(x) <= x.shape[1] else np.asarray(np.linalg.qr(root, mode="r")))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Squared Fréchet distance of two Gaussians (Heusel et al. 2017, arXiv 1706.08500, equation 6).

    |m_a - m_b|^2 + Tr C_a + Tr C_b - 2 Tr (C_a C_b)^(1/2). With C = R^T R the last trace is the sum of the singular
    values of R_a R_b^T: no root of a singular matrix, so it holds for fewer images than dimensions too.
    """
    cross = np.linalg.svd(a.root @ b.root.T, compute_uv=False).sum()
    spread = np.sum(a.root**2) + np.sum(b.root**2) - 2.0 * cross
    return float(max(0.0, np.sum((a.mean - b.mean) ** 2) + spread))


def _kernel_sum(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Sum of the kernel (x.y / D + 1)^3 over all pairs."""
    return float(
        sum(
            np.sum((x[start : start + CHUNK_ROWS] @ y.T / x.shape[1] + 1.0) ** 3)
            for start in range(0, len(x), CHUNK_ROWS)
        )
    )


def kernel_distance(x_ND: Features, y_MD: Features) -> float:
    """Unbiased squared MMD with the cubic kernel of KID (Binkowski et al. 2018, arXiv 1801.01401, equation 4).

    On all of both sets at once. It is zero on average for sets of one distribution, so it may be slightly negative.
    """
    x, y = np.asarray(x_ND, np.float64), np.asarray(y_MD, np.float64)

    def within(z: NDArray[np.float64]) -> float:
        diagonal = np.sum((np.einsum("nd,nd->n", z, z) / z.shape[1] + 1.0) ** 3)
        return float((_kernel_sum(z, z) - diagonal) / (len(z) * (len(z) - 1)))

    return within(x) + within(y) - 2.0 * _kernel_sum(x, y) / (len(x) * len(y))

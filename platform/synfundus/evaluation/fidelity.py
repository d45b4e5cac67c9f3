"""Distances between two sets of features: kernel distance (KID) and Fréchet distance, both in float64."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.evaluation.feature_sets import FeatureSet

Features = NDArray[np.float32] | NDArray[np.float64]
CHUNK_ROWS = 1024


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian fitted to N feature vectors."""

    mean: NDArray[np.float64]
    """(D,)"""
    root: NDArray[np.float64]
    """(min(N, D), D) root R of the covariance C: R^T R = C."""


def fit_gaussian(features_ND: Features) -> Gaussian:
    """Return the Gaussian of at least two feature vectors; the covariance divides by N - 1."""
    x = np.asarray(features_ND, np.float64)
    mean = x.mean(axis=0)
    root = np.asarray((x - mean) / np.sqrt(len(x) - 1))
    return Gaussian(mean, root if len(x) <= x.shape[1] else np.asarray(np.linalg.qr(root, mode="r")))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Return the squared Fréchet distance of two Gaussians (Heusel et al. 2017, arXiv 1706.08500, equation 6).

    It is |m_a - m_b|^2 + Tr C_a + Tr C_b - 2 Tr (C_a C_b)^(1/2). With C = R^T R, the last trace is the sum of the
    singular values of R_a R_b^T. That needs no root of a singular matrix, so it works for fewer images than features.
    """
    cross = np.linalg.svd(a.root @ b.root.T, compute_uv=False).sum()
    spread = np.sum(a.root**2) + np.sum(b.root**2) - 2.0 * cross
    return float(max(0.0, np.sum((a.mean - b.mean) ** 2) + spread))


def effective_dimension(features_ND: Features) -> float:
    """Return the effective dimension d of at least two feature vectors, which decides the bias of the Fréchet distance.

    With the eigenvalues l_i of the covariance and their sum T, d is the sum of 2 l_i l_j / (l_i + l_j) over i and j,
    divided by T. For D equal eigenvalues d is D. Two sets of n images of one Gaussian have a mean distance of about
    T ((d + 1) / (2 n) + 2 / n). This follows from the second-order expansion of the Bures distance, the sum of
    |E_ij|^2 / (2 (l_i + l_j)) over the error E of the covariance (Bhatia, Jain & Lim 2019,
    doi 10.1016/j.exmath.2018.01.002). For few images the result is too small; it is at most N - 1.
    """
    x = np.asarray(features_ND, np.float64)
    value_D = np.linalg.svd(fit_gaussian(x).root, compute_uv=False) ** 2
    value_D = value_D[value_D > value_D.max() * np.finfo(np.float64).eps]
    if not len(value_D):
        return 0.0
    pairs_DD = value_D[:, None] * value_D / (value_D[:, None] + value_D)
    return float(2.0 * pairs_DD.sum() / value_D.sum())


def _kernel_sum(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the sum of the kernel (x.y / D + 1)^3 over all pairs."""
    return float(
        sum(
            np.sum((x[start : start + CHUNK_ROWS] @ y.T / x.shape[1] + 1.0) ** 3)
            for start in range(0, len(x), CHUNK_ROWS)
        )
    )


def kernel_distance(x: FeatureSet, y: FeatureSet) -> float:
    """Return the unbiased squared MMD with the cubic kernel of KID (Binkowski et al. 2018, arXiv 1801.01401, eq. 4).

    It is computed on all images at once, not on subsets. Within a set only pairs of two patients count, because
    photographs of one patient are alike, which would raise the distance of a perfect generator above zero. For two sets
    of one distribution it is zero on average, so it may be slightly negative. Each set needs at least two patients.
    """
    x_ND, y_MD = (np.asarray(images.features_ND, np.float64) for images in (x, y))
    between = _kernel_sum(x_ND, y_MD) / (len(x_ND) * len(y_MD))
    return _mean_kernel(x_ND, x.groups) + _mean_kernel(y_MD, y.groups) - 2.0 * between


def _mean_kernel(x_ND: NDArray[np.float64], patients: Sequence[str]) -> float:
    """Return the mean of the kernel over all pairs of images of two patients."""
    _, patient_N, num_images = np.unique(np.asarray(patients, np.str_), return_inverse=True, return_counts=True)
    of_each_patient = np.split(x_ND[np.argsort(patient_N)], np.cumsum(num_images)[:-1])
    of_one_patient = sum(_kernel_sum(images, images) for images in of_each_patient)
    return float((_kernel_sum(x_ND, x_ND) - of_one_patient) / (len(x_ND) ** 2 - np.sum(num_images**2)))

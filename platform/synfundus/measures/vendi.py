"""Vendi score: the effective number of different images in a set."""

import numpy as np
from numpy.typing import ArrayLike

from synfundus.measures.inputs import Floats


def vendi_score(features_ND: ArrayLike) -> float:
    """Return the Vendi score of features (N, D) with the cosine as similarity (Friedman & Dieng, arXiv 2210.02410).

    It is exp of the entropy of the eigenvalues of K / N, where K holds the cosines of all pairs. It is 1 if all images
    are alike, and N if all are orthogonal. It grows with N and depends on the feature space, so compare sets of one
    size in one space only.

    Raises:
        ValueError: there is no image, or the features of one are all 0.
    """
    x_ND = np.asarray(features_ND, np.float64)
    norm_N = np.linalg.norm(x_ND, axis=1)
    if len(x_ND) == 0 or norm_N.min() == 0.0:
        raise ValueError("each image needs features that are not all 0")
    x_ND = x_ND / norm_N[:, None]
    # x x^T and x^T x have the same eigenvalues but for zeros, which add nothing.
    gram = x_ND @ x_ND.T if x_ND.shape[0] <= x_ND.shape[1] else x_ND.T @ x_ND
    return _effective_number(gram / len(x_ND))


def kernel_vendi_score(kernel_NN: ArrayLike) -> float:
    """Return the Vendi score of N images whose similarities (N, N) are given: symmetric, with 1 on the diagonal."""
    kernel = np.asarray(kernel_NN, np.float64)
    return _effective_number(kernel / len(kernel))


def _effective_number(matrix: Floats) -> float:
    """Return exp of the entropy of the eigenvalues of a positive semidefinite matrix of trace 1."""
    eigenvalues = np.linalg.eigvalsh(matrix)
    positive = eigenvalues[eigenvalues > 0.0]
    return float(np.exp(-(positive * np.log(positive)).sum()))

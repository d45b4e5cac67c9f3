"""Vendi score: the effective number of different images in a set."""

import numpy as np
from numpy.typing import ArrayLike


def vendi_score(kernel_NN: ArrayLike) -> float:
    """Return the Vendi score of N images whose similarities (N, N) are given (Friedman & Dieng, arXiv 2210.02410).

    It is exp of the entropy of the eigenvalues of K / N, where the kernel matrix K is symmetric and positive
    semidefinite, with 1 on the diagonal. It is 1 if all images are alike, and N if no two have anything in common. It
    grows with N and depends on the feature space, so compare sets of one size in one space only.
    """
    kernel = np.asarray(kernel_NN, np.float64)
    eigenvalues = np.linalg.eigvalsh(kernel / len(kernel))
    positive = eigenvalues[eigenvalues > 0.0]
    return float(np.exp(-(positive * np.log(positive)).sum()))

"""Checked inputs of the statistics: 0/1 labels and groups of dependent images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Groups = Sequence[str] | NDArray[Any] | None
"""(N,) patient of each image; None if all images are independent."""


def group_index(groups: Groups, n: int) -> NDArray[np.int64]:
    """Return the group number 0 … G-1 of each row; without groups every row is a group of its own."""
    if groups is None:
        return np.arange(n)
    if len(groups) != n:
        raise ValueError(f"{len(groups)} groups for {n} rows")
    return np.asarray(np.unique(np.asarray(groups), return_inverse=True)[1], np.int64).reshape(n)


def select_groups(groups: Groups, rows: NDArray[np.bool_]) -> Groups:
    """Return the groups of some rows."""
    return None if groups is None else np.asarray(groups)[rows]


def binary_labels(y_true: ArrayLike) -> tuple[NDArray[np.bool_], str | None]:
    """Return the labels as booleans, and the reason if a class is missing.

    Raises:
        ValueError: the labels are not a vector of 0 and 1.
    """
    y = np.asarray(y_true)
    if y.ndim != 1 or not np.isin(y, (0, 1)).all():
        raise ValueError("labels must be a vector of 0 and 1; leave unknown ones out")
    positive = y.astype(np.bool_)
    counts = f"{int(positive.sum())} positive and {int((~positive).sum())} negative"
    return positive, None if 0 < positive.sum() < len(y) else f"needs both classes, has {counts}"

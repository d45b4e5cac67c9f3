"""Performance metrics as functions of the patients' weights, so that the bootstrap of patients can repeat them.

A `Statistic` maps how often each patient is drawn in each of R bootstrap samples, (R, G), to the metric of each sample,
(R,). With a weight of 1 for every patient it is the metric itself, as scikit-learn defines it. A sample in which the
metric does not exist (no positive image, for example) gives NaN.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synfundus.labels import NUM_DR_GRADES
from synfundus.measures.inputs import Floats

Statistic = Callable[[Floats], Floats]
CALIBRATION_BINS = 10


def value_of(statistic: Statistic, num_groups: int) -> float:
    """Return the metric of the images themselves: every patient counts once."""
    return float(statistic(np.ones((1, num_groups)))[0])


def accuracy_statistic(y_true: ArrayLike, prediction: ArrayLike, group: NDArray[np.int64]) -> Statistic:
    """Return the share of images whose prediction equals the label, of 0/1 labels or grades (n,)."""
    correct = np.asarray(y_true) == np.asarray(prediction)
    return _share(np.bincount(group, correct), np.bincount(group))


def precision_statistic(positive: ArrayLike, predicted: ArrayLike, group: NDArray[np.int64]) -> Statistic:
    """Return the share of true positives among the predicted positives, of 0/1 labels and predictions (n,)."""
    y, p = _booleans(positive, predicted)
    return _share(np.bincount(group, y & p), np.bincount(group, p))


def recall_statistic(positive: ArrayLike, predicted: ArrayLike, group: NDArray[np.int64]) -> Statistic:
    """Return the share of the positives that are predicted positive, of 0/1 labels and predictions (n,)."""
    y, p = _booleans(positive, predicted)
    return _share(np.bincount(group, y & p), np.bincount(group, y))


def f1_statistic(positive: ArrayLike, predicted: ArrayLike, group: NDArray[np.int64]) -> Statistic:
    """Return the harmonic mean of precision and recall, of 0/1 labels and predictions (n,)."""
    y, p = _booleans(positive, predicted)
    return _share(2.0 * np.bincount(group, y & p), np.bincount(group, y) + np.bincount(group, p))


def _booleans(positive: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return np.asarray(positive, np.bool_), np.asarray(predicted, np.bool_)


def _share(numerator_G: NDArray[np.generic], denominator_G: NDArray[np.generic]) -> Statistic:
    """Return the ratio of two sums over patients."""
    top, bottom = numerator_G.astype(np.float64), denominator_G.astype(np.float64)

    def statistic(w_RG: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((w_RG @ top) / (w_RG @ bottom))

    return statistic


def average_precision_statistic(positive: ArrayLike, score: ArrayLike, group: NDArray[np.int64]) -> Statistic:
    """Return the sum of (recall step) x precision over the thresholds, not interpolated, of scores (n,)."""
    s = np.asarray(score, np.float64)
    order = np.argsort(-s, kind="stable")
    group_in_order, is_positive = group[order], np.asarray(positive, np.float64)[order]
    last_of_tie = np.flatnonzero(np.r_[np.diff(s[order]) != 0, True])

    def statistic(w_RG: Floats) -> Floats:
        w_RN = w_RG[:, group_in_order]
        hits = np.cumsum(w_RN * is_positive, axis=1)[:, last_of_tie]
        taken = np.cumsum(w_RN, axis=1)[:, last_of_tie]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(taken > 0, hits / taken, 0.0)
            return np.asarray((np.diff(hits, axis=1, prepend=0.0) * precision).sum(axis=1) / hits[:, -1])

    return statistic


def quadratic_kappa_statistic(y_true: ArrayLike, prediction: ArrayLike, group: NDArray[np.int64]) -> Statistic:
    """Return Cohen's kappa with quadratic weights for the DR grades 0 to 4, (n,)."""
    y, predicted = np.asarray(y_true, np.int64), np.asarray(prediction, np.int64)
    for grades in (y, predicted):
        if len(grades) and (grades.min() < 0 or grades.max() >= NUM_DR_GRADES):
            raise ValueError(f"grades must lie in 0 … {NUM_DR_GRADES - 1}")
    confusion_GC = _sums_by_cell(group, y * NUM_DR_GRADES + predicted, np.ones(len(y)), NUM_DR_GRADES**2)
    grade = np.arange(NUM_DR_GRADES)
    cost = (grade[:, None] - grade[None, :]).astype(np.float64) ** 2

    def statistic(w_RG: Floats) -> Floats:
        observed = (w_RG @ confusion_GC).reshape(-1, NUM_DR_GRADES, NUM_DR_GRADES)
        expected = observed.sum(2)[:, :, None] * observed.sum(1)[:, None, :] / observed.sum((1, 2))[:, None, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(1.0 - (cost * observed).sum((1, 2)) / (cost * expected).sum((1, 2)))

    return statistic


def calibration_gaps(positive: ArrayLike, probability: ArrayLike, group: NDArray[np.int64]) -> Floats:
    """Return the sum of (probability - label) in each of ten equal bins of [0, 1], by patient, (G, 10).

    Raises:
        ValueError: a probability lies outside [0, 1].
    """
    y, p = np.asarray(positive, np.float64), np.asarray(probability, np.float64)
    if p.min() < 0.0 or p.max() > 1.0:
        raise ValueError("probabilities must lie in [0, 1]")
    cell = np.minimum((p * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    return _sums_by_cell(group, cell, p - y, CALIBRATION_BINS)


def ece_statistic(positive: ArrayLike, probability: ArrayLike, group: NDArray[np.int64]) -> Statistic:
    """Return the expected calibration error over ten equal bins of [0, 1]: mean |probability - share of positives|."""
    gaps_GC = calibration_gaps(positive, probability, group)
    counts_G = np.bincount(group).astype(np.float64)

    def statistic(w_RG: Floats) -> Floats:
        return np.asarray(np.abs(w_RG @ gaps_GC).sum(axis=1) / (w_RG @ counts_G))

    return statistic


def _sums_by_cell(group: NDArray[np.int64], cell: NDArray[np.int64], weight: Floats, num_cells: int) -> Floats:
    """Return the sum of `weight` in each cell of each group, (G, num_cells)."""
    num_groups = int(group.max()) + 1
    sums = np.bincount(group * num_cells + cell, weight, num_groups * num_cells)
    return np.asarray(sums, np.float64).reshape(num_groups, num_cells)

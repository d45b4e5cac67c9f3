"""Mean over several labels of the AUC, for networks that predict the same images: one number for all labels together.

Labels of a patient depend on each other, so the errors of their AUCs do, too. The covariance within a label is
Obuchowski's (see `roc`). That between two labels is the sum over patients of the product of both residuals, times
G / (G - 1) for G patients; a patient without a known value of a label has a residual of 0 there. With one label, every
number is that of its AUC.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.measures.crossed import NO_VARIANCE
from synfundus.measures.difference import Difference
from synfundus.measures.estimates import Estimates, difference_of_estimates, difference_without_variance
from synfundus.measures.inputs import Floats, Groups, group_index
from synfundus.measures.intervals import stretched_logit_interval
from synfundus.measures.measure import Measure
from synfundus.measures.paired import seed_mean
from synfundus.measures.roc import AucResiduals, auc, auc_residuals

NO_LABEL = "no label is measurable"


@dataclass(frozen=True)
class LabelledImages:
    """Values of K labels on N images, and the patients."""

    y_NK: NDArray[np.bool_]
    known_NK: NDArray[np.bool_]
    """False where the value of a label is not known."""
    groups: Groups = None
    """Patient of each image."""

    @property
    def num_images(self) -> int:
        """Images with a known value of one label or more."""
        return int(self.known_NK.any(axis=1).sum())

    def label(self, k: int, scores_SNK: Floats) -> tuple[NDArray[np.bool_], Floats, NDArray[np.int64]]:
        """Return values (n,), scores (S, n) and patients (n,) of the images whose label k is known."""
        rows_N = self.known_NK[:, k]
        return self.y_NK[rows_N, k], scores_SNK[:, rows_N, k], group_index(self.groups, len(rows_N))[rows_N]

    def reason(self, scores_SNK: Floats) -> str | None:
        """Return why the mean over all labels is not measurable; None if it is."""
        if self.y_NK.shape[1] == 0:
            return NO_LABEL
        for k in range(self.y_NK.shape[1]):
            y, scores, patients = self.label(k, scores_SNK)
            if (reason := auc(y, scores[0], patients).reason) is not None:
                return f"label {k}: {reason}"
        return None


def mean_auc(images: LabelledImages, scores_SNK: Floats) -> Measure:
    """Return the mean over labels and over S training seeds of the AUC, with an interval for new patients and seeds.

    With one seed, the interval is for new patients only.
    """
    reason = images.reason(scores_SNK)
    if reason is not None:
        return Measure.not_measurable(reason, images.num_images)
    estimates = _estimates(images, scores_SNK)
    mean = estimates.mean()
    if mean.standard_error <= NO_VARIANCE or mean.value in (0.0, 1.0):
        return _mean_of_intervals(images, scores_SNK)
    low, high = stretched_logit_interval(mean.value, mean.standard_error, mean.quantile, mean.logit_quantile)
    return Measure.measured(mean.value, low, high, images.num_images)


def mean_auc_difference(images: LabelledImages, first_SNK: Floats, second_SNK: Floats) -> Difference:
    """Return the mean over labels and S training seeds of (AUC of the first arm - AUC of the second arm).

    The seed s of both arms is one pair, as in `paired.paired_difference`.
    """
    if first_SNK.shape != second_SNK.shape:
        raise ValueError(f"the arms have scores of shapes {first_SNK.shape} and {second_SNK.shape}; needs the same")
    reason = images.reason(first_SNK)
    if reason is not None:
        return Difference.not_measurable(reason, images.num_images)
    estimates = _estimates(images, np.concatenate([first_SNK, second_SNK]))
    if estimates.difference().standard_error <= NO_VARIANCE:
        first, second = mean_auc(images, first_SNK), mean_auc(images, second_SNK)
        return difference_without_variance(first, second, estimates.num_patients)
    return difference_of_estimates(estimates, images.num_images, is_auc=True)


def _estimates(images: LabelledImages, scores_TNK: Floats) -> Estimates:
    """Return the mean AUC of each network with its covariance over patients."""
    group = group_index(images.groups, len(images.known_NK))
    num_groups = len(np.unique(group[images.known_NK.any(axis=1)]))
    labels = [auc_residuals(*images.label(k, scores_TNK), int(group.max()) + 1) for k in range(images.y_NK.shape[1])]
    within_KTT = np.stack([label.covariance() for label in labels])
    residual_KTG = np.stack([label.total() for label in labels])
    total_TG = residual_KTG.sum(axis=0)
    between_TT = total_TG @ total_TG.T - np.einsum("ktg,kug->tu", residual_KTG, residual_KTG)
    covariance_TT = within_KTT.sum(axis=0) + num_groups / (num_groups - 1) * between_TT
    return Estimates(
        np.mean([label.auc_T for label in labels], axis=0),
        covariance_TT / len(labels) ** 2,
        _carrying_patients(labels, np.trace(within_KTT, axis1=1, axis2=2)),
    )


def _carrying_patients(labels: Sequence[AucResiduals], variance_K: Floats) -> int:
    """Return the harmonic mean over the labels of the patients of the smaller class, weighted by their variances.

    A label with few patients of a class has a variance that is not known well. It counts by its share in the mean.
    """
    patients_K = np.array([min(label.groups_10, label.groups_01) for label in labels])
    weight_K = variance_K if variance_K.sum() > 0.0 else np.ones(len(labels))
    return int(weight_K.sum() / (weight_K / patients_K).sum() + 1e-9)


def _mean_of_intervals(images: LabelledImages, scores_SNK: Floats) -> Measure:
    """Return the mean over the labels of value and bounds, for networks that are perfect on all of them."""
    intervals = [seed_mean("auc", *images.label(k, scores_SNK)).interval for k in range(images.y_NK.shape[1])]
    value, low, high = np.mean(intervals, axis=0).tolist()
    return Measure.measured(value, low, high, images.num_images)

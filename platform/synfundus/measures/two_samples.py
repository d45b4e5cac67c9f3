"""Two-sample tests of a number that is measured on each image, such as the diameter of the optic disc.

Images of one patient are dependent, which would make any ordinary test find differences that are not there.

- Distribution: Kolmogorov and Smirnov's test on one image of each patient, drawn with a fixed seed.
- Mean: all images enter, the variance is that between patients, and whole patients are permuted between the sets. The
  permuted statistic is studentised, so the test keeps its level even if the sets differ in variance or in images per
  patient (Janssen 1997, doi 10.1016/S0167-7152(97)00043-6; Chung & Romano 2013, doi 10.1214/13-AOS1090).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import model_validator
from scipy.special import stdtrit

from synfundus.measures.difference import Difference
from synfundus.measures.inputs import Floats, Groups, group_index
from synfundus.measures.measure import Measure
from synfundus.metadata import Metadata
from synfundus.seeds import random_numbers

NUM_PERMUTATIONS = 1_999
BLOCK_NUMBERS = 2**22
"""Largest number of random numbers in memory at once."""


class DistributionTest(Metadata):
    """Result of a test whether two sets of images have one distribution."""

    distance: float | None = None
    """Largest vertical distance of the two cumulative distributions, 0 to 1; null if not measurable."""
    p_value: float | None = None
    """P value of "one distribution", not corrected for other tests; null if not measurable."""
    num_first: int
    """Patients of the first set; each counts once."""
    num_second: int
    """Patients of the second set; each counts once."""
    reason: str | None = None
    """Why there is no test; null if there is one."""

    @model_validator(mode="after")
    def _require_numbers_or_reason(self) -> "DistributionTest":
        if (self.distance is None) != (self.p_value is None) or (self.distance is None) == (self.reason is None):
            raise ValueError("a test has distance and P value, or a reason")
        return self


def kolmogorov_smirnov(
    first: ArrayLike, second: ArrayLike, first_groups: Groups = None, second_groups: Groups = None
) -> DistributionTest:
    """Test whether the values (n,) and (m,) of two sets of images have one distribution.

    Of each patient one image counts, drawn with a fixed seed. If values tie, the P value is too large rather than too
    small.
    """
    from scipy.stats import ks_2samp  # takes a second to import, which each worker would pay when it starts

    x = _one_of_each(np.asarray(first, np.float64), first_groups, "first")
    y = _one_of_each(np.asarray(second, np.float64), second_groups, "second")
    if min(len(x), len(y)) < 2:
        reason = f"{min(len(x), len(y))} patients; needs 2 of each set"
        return DistributionTest(num_first=len(x), num_second=len(y), reason=reason)
    result = ks_2samp(x, y)
    return DistributionTest(
        distance=float(result.statistic), p_value=min(float(result.pvalue), 1.0), num_first=len(x), num_second=len(y)
    )


def _one_of_each(values: Floats, groups: Groups, purpose: str) -> Floats:
    """Return the value of one image of each patient."""
    group = group_index(groups, len(values))
    shuffled = random_numbers("one image of each patient", purpose).permutation(len(values))
    return values[shuffled[np.unique(group[shuffled], return_index=True)[1]]] if len(values) else values


@dataclass(frozen=True)
class _Patients:
    """Number and sum of the values of each patient, with the products that a permutation needs, (G, 5)."""

    sums_G5: Floats

    @classmethod
    def of(cls, values: Floats, groups: Groups) -> "_Patients":
        group = group_index(groups, len(values))
        count, total = np.bincount(group).astype(np.float64), np.bincount(group, values)
        return cls(np.stack([count, total, count**2, count * total, total**2], axis=1))


def mean_difference(
    first: ArrayLike, second: ArrayLike, first_groups: Groups = None, second_groups: Groups = None
) -> Difference:
    """Return mean(first) - mean(second) of the values (n,) and (m,) of two independent sets of images.

    The interval is Welch's (1947, doi 10.2307/2332510) with the variance between patients; the P value is that of a
    permutation of patients, with a fixed seed. `num_patients` is that of the smaller set.
    """
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    n = min(len(x), len(y))
    if n == 0:
        return Difference.not_measurable("no image in a set", 0)
    patients = [_Patients.of(x, first_groups).sums_G5, _Patients.of(y, second_groups).sums_G5]
    sizes = [len(sums_G5) for sums_G5 in patients]
    if min(sizes) < 2:
        return Difference.not_measurable(f"{min(sizes)} patients; needs 2 of each set", n, min(sizes))
    (mean_x, variance_x), (mean_y, variance_y) = (
        _mean_and_variance(sums_G5.sum(axis=0), len(sums_G5)) for sums_G5 in patients
    )
    value, variance = float(mean_x - mean_y), float(variance_x + variance_y)
    if variance == 0.0:
        return Difference.not_measurable("the values do not vary", n, min(sizes))
    freedom = variance**2 / (float(variance_x) ** 2 / (sizes[0] - 1) + float(variance_y) ** 2 / (sizes[1] - 1))
    width = float(stdtrit(freedom, 0.975)) * variance**0.5
    return Difference(
        measure=Measure.measured(value, value - width, value + width, n),
        p_value=_permutation_p_value(value / variance**0.5, np.concatenate(patients), sizes[0]),
        standard_error=variance**0.5,
        patient_freedom=freedom,
        seed_share=0.0,
        num_patients=min(sizes),
    )


def _mean_and_variance(sums: Floats, num_groups: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of all images and its variance between patients, from sums (..., 5) of `num_groups` patients."""
    count, total, count_2, product, total_2 = np.moveaxis(sums, -1, 0)
    mean = total / count
    residual = np.maximum(total_2 - 2.0 * mean * product + mean**2 * count_2, 0.0)
    return mean, num_groups / (num_groups - 1) * residual / count**2


def _permutation_p_value(t: float, sums_G5: Floats, num_first: int) -> float:
    """Return the share of permutations whose |t| is at least the observed one, which counts as one of them."""
    rng, num_groups = random_numbers("permutation of patients"), len(sums_G5)
    everything, as_extreme = sums_G5.sum(axis=0), 1
    block = max(1, BLOCK_NUMBERS // num_groups)
    for start in range(0, NUM_PERMUTATIONS, block):
        order_RG = rng.random((min(block, NUM_PERMUTATIONS - start), num_groups)).argsort(axis=1)
        first_R5 = sums_G5[order_RG[:, :num_first]].sum(axis=1)
        mean_x, variance_x = _mean_and_variance(first_R5, num_first)
        mean_y, variance_y = _mean_and_variance(everything - first_R5, num_groups - num_first)
        with np.errstate(invalid="ignore", divide="ignore"):
            permuted_R = np.abs(mean_x - mean_y) / np.sqrt(variance_x + variance_y)
        as_extreme += int((permuted_R >= abs(t) * (1.0 - 1e-12)).sum())
    return as_extreme / (NUM_PERMUTATIONS + 1)

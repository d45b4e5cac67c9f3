"""Sets of images in one feature space, and the jackknife over their patients.

The 95 % intervals come from a delete-a-group jackknife (Kott 2001, Journal of Official Statistics 17(4)): all images of
a patient get the same group, and every measure is computed again without each group. A bootstrap does not work here:
its repeated images raise a Fréchet distance and change every neighbourhood. The variance of a jackknife is too large
rather than too small (Efron & Stein 1981, doi 10.1214/aos/1176345462).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from synfundus.evaluation.measure_texts import UNBOUNDED
from synfundus.labels import FloatArray
from synfundus.measures.intervals import Z_95, wilson
from synfundus.measures.measure import Measure

NUM_GROUPS = 10
"""Groups of the jackknife, each of at least one patient. A set of fewer patients is not measurable."""


@dataclass(frozen=True)
class FeatureSet:
    """One set of images in one feature space."""

    features_ND: FloatArray
    groups: Sequence[str]
    """(N,) patient of each image; each sample counts as a patient."""

    @classmethod
    def of_independent(cls, features_ND: FloatArray) -> "FeatureSet":
        """Return images that each count as a patient."""
        return cls(features_ND, [str(row) for row in range(len(features_ND))])

    def __len__(self) -> int:
        return len(self.groups)

    def rows(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "FeatureSet":
        """Return the images of these rows, or those where a mask is true."""
        return FeatureSet(self.features_ND[rows], np.asarray(self.groups, np.str_)[rows].tolist())

    def choose(self, n: int, seed: int) -> "FeatureSet":
        """Return `n` of the images, chosen at random by the seed, with the patients in random order."""
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.permutation(len(self))[:n])
        names, of_image = np.unique(np.asarray([self.groups[row] for row in rows], np.str_), return_inverse=True)
        rows = rows[np.argsort(rng.permutation(len(names))[of_image], kind="stable")]
        return self.rows(rows)

    def jackknife_groups(self, seed: int) -> NDArray[np.int64]:
        """Return the jackknife group of each image, (N,): patients are assigned in an order drawn by the seed."""
        names, of_image = np.unique(np.asarray(self.groups, np.str_), return_inverse=True)
        order = np.random.default_rng(seed).permutation(len(names))
        return np.asarray(np.argsort(order)[of_image] % NUM_GROUPS, np.int64)


@dataclass(frozen=True)
class ChosenSets:
    """Several sets, cut to the same n, with the groups of their jackknife."""

    sets: Sequence[FeatureSet]
    seed: int

    @classmethod
    def choose(cls, sets: Sequence[FeatureSet], n: int, seed: int) -> "ChosenSets":
        """Return `n` images of each set, chosen at random."""
        return cls([images.choose(n, seed + place) for place, images in enumerate(sets)], seed)

    @property
    def fewest_patients(self) -> int:
        """Number of patients of the set that has the fewest."""
        return min(len(set(images.groups)) for images in self.sets)

    def too_few_patients(self) -> Measure | None:
        """Return the reason why the sets have no jackknife, or None if they have one."""
        fewest = self.fewest_patients
        if fewest >= NUM_GROUPS:
            return None
        return Measure.not_measurable(f"{fewest} patients; needs {NUM_GROUPS} of each set", len(self.sets[0]))

    def without_each_group(self) -> Iterator[list[FeatureSet]]:
        """Yield the sets: whole, then without each group, cut to the smallest of the sets."""
        groups = [images.jackknife_groups(self.seed + place) for place, images in enumerate(self.sets)]
        for group in (-1, *range(NUM_GROUPS)):
            rest = [images.rows(of_N != group) for images, of_N in zip(self.sets, groups, strict=True)]
            n = min(map(len, rest))
            yield [images.rows(np.arange(n)) for images in rest]


def jackknife(value: float, without_group: Sequence[float], n: int, bounds: tuple[float, float] = UNBOUNDED) -> Measure:
    """Return a value with its interval, from the values without each group; `bounds` cut the interval."""
    width = _quantile(without_group) * _variance(without_group) ** 0.5
    return Measure.measured(value, max(value - width, bounds[0]), min(value + width, bounds[1]), n)


def jackknife_share(value: float, without_group: Sequence[float], n: int, num_patients: int) -> Measure:
    """Return a share with Wilson's interval at the effective n of the jackknife, so that it has a width at 0 and 1.

    The effective n has the variance of the jackknife, and its degrees of freedom (Korn & Graubard 1998, Survey
    Methodology 24:193). It is at most `num_patients`.
    """
    variance = _variance(without_group) * (_quantile(without_group) / Z_95) ** 2
    effective = value * (1.0 - value) / variance if variance > 0.0 else num_patients
    low, high = wilson(value, min(effective, num_patients) if 0.0 < value < 1.0 else num_patients)
    return Measure.measured(value, low, high, n)


def _variance(without_group: Sequence[float]) -> float:
    partial = np.asarray(without_group)
    return (len(partial) - 1) / len(partial) * float(np.sum((partial - partial.mean()) ** 2))


def _quantile(without_group: Sequence[float]) -> float:
    """Return the two-sided 95 % quantile of Student's t."""
    return float(stdtrit(len(without_group) - 1, 0.975))

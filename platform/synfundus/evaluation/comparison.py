"""Comparison of held-out photographs and of samples with the same training photographs, at the same n.

The 95 % intervals come from a delete-a-group jackknife (Kott 2001, Journal of Official Statistics 17(4)): all images of
a patient get the same group, and every measure is computed again without each group. A bootstrap does not work here:
its repeated images raise a Fréchet distance and change every neighbourhood.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from synfundus.evaluation.diversity import overlap
from synfundus.evaluation.fidelity import fit_gaussian, frechet_distance, kernel_distance
from synfundus.labels import FloatArray
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import MEASURE_NAMES, Comparison, FidelityMeasures, Landmark, MeasureName, MeasureText

NUM_GROUPS = 10
"""Groups of the jackknife, each of at least one patient. A set of fewer patients is not measurable."""
UNBOUNDED = (-math.inf, math.inf)
_Values = Mapping[MeasureName, float]

MEASURE_TEXTS: Mapping[MeasureName, MeasureText] = {
    "frechet_distance": MeasureText(
        title="Fréchet distance",
        better="lower",
        meaning="Distance between two sets of images, in the mean and the spread of their features. 0 means equal.",
    ),
    "kid": MeasureText(
        title="Kernel distance (KID)",
        better="lower",
        meaning="Distance between two sets of images, without an assumption about the distribution of their features."
        " For equal distributions it is 0 on average, so it may be slightly negative.",
    ),
    "precision": MeasureText(
        title="Precision",
        better="higher",
        meaning="Share of the images that resemble at least one photograph of the reference.",
    ),
    "recall": MeasureText(
        title="Recall",
        better="higher",
        meaning="Share of the reference photographs that at least one image resembles. It measures variety.",
    ),
    "density": MeasureText(
        title="Density",
        better="higher",
        meaning="Number of reference photographs that an image resembles, scaled so that real photographs have about"
        " 1.",
    ),
    "coverage": MeasureText(
        title="Coverage",
        better="higher",
        meaning="Share of the reference photographs with at least one image in their neighbourhood.",
    ),
}
RANGES: Mapping[MeasureName, tuple[float, float]] = {
    "frechet_distance": (0.0, math.inf),
    "kid": UNBOUNDED,
    "precision": (0.0, 1.0),
    "recall": (0.0, 1.0),
    "density": (0.0, math.inf),
    "coverage": (0.0, 1.0),
}
"""Lowest and highest possible value of each measure; intervals are cut to it."""


@dataclass(frozen=True)
class FeatureSet:
    """One set of images in one feature space."""

    features_ND: FloatArray
    groups: Sequence[str]
    """(N,) patient of each image; each sample counts as a patient."""

    def __len__(self) -> int:
        return len(self.groups)

    def choose(self, n: int, seed: int) -> "FeatureSet":
        """Return `n` of the images, chosen at random by the seed."""
        rows = np.sort(np.random.default_rng(seed).permutation(len(self))[:n])
        return FeatureSet(self.features_ND[rows], [self.groups[row] for row in rows])

    def jackknife_groups(self, seed: int) -> NDArray[np.int64]:
        """Return the jackknife group of each image, (N,): patients are assigned in an order drawn by the seed."""
        names, of_image = np.unique(np.asarray(self.groups, np.str_), return_inverse=True)
        order = np.random.default_rng(seed).permutation(len(names))
        return np.asarray(np.argsort(order)[of_image] % NUM_GROUPS, np.int64)


def measure_pair(reference_ND: FloatArray, candidate_ND: FloatArray, num_neighbours: int) -> dict[MeasureName, float]:
    """Return all measures of a candidate set against a reference set."""
    overlapping = overlap(reference_ND, candidate_ND, num_neighbours)
    return {
        "frechet_distance": frechet_distance(fit_gaussian(reference_ND), fit_gaussian(candidate_ND)),
        "kid": kernel_distance(reference_ND, candidate_ND),
        "precision": overlapping.precision,
        "recall": overlapping.recall,
        "density": overlapping.density,
        "coverage": overlapping.coverage,
    }


@dataclass(frozen=True)
class _ComparedValues:
    """Measures of held-out photographs and of samples against the same reference."""

    held_out: _Values
    synthetic: _Values

    @property
    def difference(self) -> _Values:
        return {name: self.synthetic[name] - self.held_out[name] for name in MEASURE_NAMES}


def _compare_values(sets: Sequence[FloatArray], num_neighbours: int) -> _ComparedValues:
    """Cut reference, held-out and synthetic features to the smallest set, and measure two against the reference."""
    n = min(map(len, sets))
    reference, held_out, synthetic = sets
    held_out_values, synthetic_values = (
        measure_pair(reference[:n], candidate[:n], num_neighbours) for candidate in (held_out, synthetic)
    )
    return _ComparedValues(held_out_values, synthetic_values)


def jackknife(value: float, without_group: Sequence[float], n: int, bounds: tuple[float, float] = UNBOUNDED) -> Measure:
    """Return a value with its interval, from the values without each group; `bounds` cut the interval."""
    partial = np.asarray(without_group)
    variance = (len(partial) - 1) / len(partial) * float(np.sum((partial - partial.mean()) ** 2))
    width = float(stdtrit(len(partial) - 1, 0.975)) * variance**0.5
    return Measure.measured(value, max(value - width, bounds[0]), min(value + width, bounds[1]), n)


def compare(
    reference: FeatureSet,
    held_out: FeatureSet,
    synthetic: FeatureSet,
    *,
    min_images: int,
    num_neighbours: int,
    seed: int,
    max_images: int | None = None,
) -> Comparison:
    """Compare held-out photographs and samples with the reference, all three at the same n.

    Args:
        max_images: upper limit of n, so that several comparisons have the same n; None: the size of the smallest set.
    """
    sets = (reference, held_out, synthetic)
    n = min(map(len, sets)) if max_images is None else min(max_images, *map(len, sets))
    if n < min_images:
        counts = f"{len(reference)} training, {len(held_out)} held-out, {len(synthetic)} synthetic images"
        return _not_measurable(Measure.not_measurable(f"{counts}; needs {min_images} of each", n))
    chosen = [images.choose(n, seed + place) for place, images in enumerate(sets)]
    if (few := _too_few_patients(chosen)) is not None:
        return _not_measurable(few)
    groups = [images.jackknife_groups(seed + place) for place, images in enumerate(chosen)]
    whole = _compare_values([images.features_ND for images in chosen], num_neighbours)
    without = [
        _compare_values(
            [images.features_ND[group_N != g] for images, group_N in zip(chosen, groups, strict=True)], num_neighbours
        )
        for g in range(NUM_GROUPS)
    ]
    return Comparison(
        n=n,
        held_out=_with_intervals(whole.held_out, [values.held_out for values in without], n, RANGES),
        synthetic=_with_intervals(whole.synthetic, [values.synthetic for values in without], n, RANGES),
        difference=_with_intervals(whole.difference, [values.difference for values in without], n, {}),
    )


def _too_few_patients(sets: Sequence[FeatureSet]) -> Measure | None:
    """Return the reason why the sets have no jackknife, or None if they have one."""
    fewest = min(len(set(images.groups)) for images in sets)
    if fewest >= NUM_GROUPS:
        return None
    return Measure.not_measurable(f"{fewest} patients; needs {NUM_GROUPS} of each set", len(sets[0]))


def _not_measurable(reason: Measure) -> Comparison:
    """Return a comparison without a number."""
    empty = FidelityMeasures.not_measurable(reason)
    return Comparison(n=reason.n, held_out=empty, synthetic=empty, difference=empty)


def _with_intervals(
    values: _Values, without: Sequence[_Values], n: int, ranges: Mapping[MeasureName, tuple[float, float]]
) -> FidelityMeasures:
    """Return each value with its jackknife interval."""
    return FidelityMeasures.model_validate(
        {
            name: jackknife(values[name], [partial[name] for partial in without], n, ranges.get(name, UNBOUNDED))
            for name in MEASURE_NAMES
        }
    )


def compare_with_phantoms(
    held_out: FeatureSet, synthetic: FeatureSet, phantoms: FeatureSet, *, min_images: int, seed: int
) -> Landmark:
    """Measure the Fréchet distance of samples and of phantoms from held-out photographs, all three at the same n."""
    n = min(map(len, (held_out, synthetic, phantoms)))
    if n < min_images:
        few = Measure.not_measurable(f"{n} images; needs {min_images} of each", n)
        return Landmark(n=n, synthetic=few, phantoms=few)
    real = held_out.choose(n, seed)
    if (reason := _too_few_patients([real])) is not None:
        return Landmark(n=n, synthetic=reason, phantoms=reason)
    return Landmark(
        n=n,
        synthetic=_frechet_with_interval(real, synthetic.choose(n, seed + 1), (seed, seed + 1)),
        phantoms=_frechet_with_interval(real, phantoms.choose(n, seed + 2), (seed, seed + 2)),
    )


def _frechet_with_interval(real: FeatureSet, other: FeatureSet, seeds: tuple[int, int]) -> Measure:
    """Return the Fréchet distance of two sets of one size; `seeds` assign the groups of each."""
    real_N, other_N = real.jackknife_groups(seeds[0]), other.jackknife_groups(seeds[1])

    def distance(without_group: int = -1) -> float:
        real_ND, other_ND = real.features_ND[real_N != without_group], other.features_ND[other_N != without_group]
        size = min(len(real_ND), len(other_ND))
        return frechet_distance(fit_gaussian(real_ND[:size]), fit_gaussian(other_ND[:size]))

    without = [distance(group) for group in range(NUM_GROUPS)]
    return jackknife(distance(), without, len(real), RANGES["frechet_distance"])

"""Comparison of held-out photographs and of samples with the same training photographs, at the same n.

The kernel distance (KID) comes first, because it is unbiased at every n. The Fréchet distance is refused at small n,
where lost variety lowers it. Let d be the effective dimension of the reference, and T its total variance. The mean
distances of photographs, and of images with s times the standard deviation of photographs, are about

    T ((d + 1) / (2 n) + 2 / n)        T ((1 - s)^2 + s (d + 1) / (2 n) + (1 + s^2) / n)

The second one is smaller if 1 - s < (d + 1) / (2 n) + (1 + s) / n. At n = d this holds for any s above one half, at
n = 10 d only for s above 0.95 - 0.25 / d.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synfundus.evaluation.diversity import overlap
from synfundus.evaluation.feature_sets import ChosenSets, FeatureSet, jackknife, jackknife_share
from synfundus.evaluation.fidelity import effective_dimension, fit_gaussian, frechet_distance, kernel_distance
from synfundus.evaluation.measure_texts import FRECHET_MULTIPLE, RANGES, SHARES
from synfundus.measures.difference import independent_difference
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import MEASURE_NAMES, Comparison, FidelityMeasures, MeasureName

_Values = Mapping[MeasureName, float]


def measure_pair(
    reference: FeatureSet, candidate: FeatureSet, num_neighbours: int, *, with_frechet: bool = True
) -> dict[MeasureName, float]:
    """Return the measures of a candidate set against a reference set; the Fréchet distance is optional."""
    overlapping = overlap(reference.features_ND, candidate.features_ND, num_neighbours)
    values: dict[MeasureName, float] = {
        "kid": kernel_distance(reference, candidate),
        "precision": overlapping.precision,
        "recall": overlapping.recall,
        "density": overlapping.density,
        "coverage": overlapping.coverage,
    }
    if with_frechet:
        gaussians = [fit_gaussian(images.features_ND) for images in (reference, candidate)]
        values["frechet_distance"] = frechet_distance(*gaussians)
    return values


@dataclass(frozen=True)
class _ComparedValues:
    """Measures of held-out photographs and of samples against the same reference."""

    held_out: _Values
    synthetic: _Values

    @property
    def difference(self) -> _Values:
        return {name: value - self.held_out[name] for name, value in self.synthetic.items()}


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
    chosen = ChosenSets.choose(sets, n, seed)
    if (few := chosen.too_few_patients()) is not None:
        return _not_measurable(few)
    dimension = effective_dimension(reference.features_ND)
    refused = _refused_frechet(dimension, n)
    whole, *without = [
        _compare_values(rest, num_neighbours, with_frechet=refused is None) for rest in chosen.without_each_group()
    ]
    patients = chosen.fewest_patients
    held_out_measures = _with_intervals(whole.held_out, [values.held_out for values in without], n, patients)
    synthetic_measures = _with_intervals(whole.synthetic, [values.synthetic for values in without], n, patients)
    difference = {
        name: jackknife(value, [values.difference[name] for values in without], n)
        for name, value in whole.difference.items()
    }
    for name, measure in difference.items():
        if measure.low == measure.high:  # without any group, both sets keep their shares, such as 1 and 1
            difference[name] = independent_difference(synthetic_measures[name], held_out_measures[name])
    return Comparison(
        n=n,
        effective_dimension=dimension,
        held_out=_complete(held_out_measures, refused),
        synthetic=_complete(synthetic_measures, refused),
        difference=_complete(difference, refused),
    )


def _compare_values(sets: Sequence[FeatureSet], num_neighbours: int, *, with_frechet: bool) -> _ComparedValues:
    """Measure held-out photographs and samples against the reference, all of one size."""
    reference, held_out, synthetic = sets
    return _ComparedValues(
        measure_pair(reference, held_out, num_neighbours, with_frechet=with_frechet),
        measure_pair(reference, synthetic, num_neighbours, with_frechet=with_frechet),
    )


def _refused_frechet(dimension: float, n: int) -> Measure | None:
    """Return the reason why n images have no Fréchet distance, or None if they have one."""
    if n >= FRECHET_MULTIPLE * dimension:
        return None
    needed = math.ceil(FRECHET_MULTIPLE * dimension)
    reason = f"{n} images; needs {needed}, {FRECHET_MULTIPLE} times the effective dimension {dimension:.1f}"
    return Measure.not_measurable(reason, n)


def _not_measurable(reason: Measure) -> Comparison:
    """Return a comparison without a number."""
    empty = FidelityMeasures.not_measurable(reason)
    return Comparison(n=reason.n, effective_dimension=None, held_out=empty, synthetic=empty, difference=empty)


def _with_intervals(
    values: _Values, without: Sequence[_Values], n: int, num_patients: int
) -> dict[MeasureName, Measure]:
    """Return each value with its jackknife interval."""
    measures: dict[MeasureName, Measure] = {}
    for name, value in values.items():
        partial = [each[name] for each in without]
        if name in SHARES:
            measures[name] = jackknife_share(value, partial, n, num_patients)
        else:
            measures[name] = jackknife(value, partial, n, RANGES[name])
    return measures


def _complete(measures: Mapping[MeasureName, Measure], refused: Measure | None) -> FidelityMeasures:
    """Return all measures; `refused` where there is no Fréchet distance."""
    return FidelityMeasures.model_validate({**dict.fromkeys(MEASURE_NAMES, refused), **measures})

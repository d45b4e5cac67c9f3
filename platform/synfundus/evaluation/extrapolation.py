"""The Fréchet distance at an unlimited number of images, extrapolated from subsets.

At n images the distance is biased by a term that is nearly linear in 1 / n. A line through the distances at several n
meets 1 / n = 0 at the unbiased distance (Chong & Forsyth 2020, arXiv 1911.07023, section 3.2, there called FID
infinity). Both sets are cut to subsets, because the reference is no larger than the other set.
"""

from collections.abc import Sequence

import numpy as np

from synfundus.evaluation.feature_sets import ChosenSets, FeatureSet, jackknife
from synfundus.evaluation.fidelity import fit_gaussian, frechet_distance
from synfundus.labels import FloatArray
from synfundus.measures.inputs import Floats
from synfundus.measures.metrics import Comparison, Extrapolation, ExtrapolationPoint

SUBSETS = ((1, 1), (2, 3), (1, 2))
"""Sizes of the subsets as (numerator, denominator) of n, largest first."""


def subset_sizes(n: int) -> tuple[int, ...]:
    """Return the number of images of each size of subset."""
    return tuple(n * part // whole for part, whole in SUBSETS)


def distances_of_subsets(reference_ND: FloatArray, candidate_ND: FloatArray) -> Floats:
    """Return the mean Fréchet distance at each of `subset_sizes(N)`, for two sets of N images in random order.

    Subsets of k/m of the images are taken at m places, spread evenly, so that each image counts equally often.
    """
    n = len(reference_ND)
    means = []
    for size, (_, places) in zip(subset_sizes(n), SUBSETS, strict=True):
        rows = [(np.arange(size) + n * place // places) % n for place in range(places)]
        pairs = ((fit_gaussian(reference_ND[part]), fit_gaussian(candidate_ND[part])) for part in rows)
        means.append(np.mean([frechet_distance(*pair) for pair in pairs]))
    return np.array(means)


def distance_without_bias(distances: Floats, n: int) -> float:
    """Return the intercept of the least-squares line through the distances at `subset_sizes(n)` against 1 / n."""
    return float(np.polyfit(1.0 / np.array(subset_sizes(n)), distances, 1)[1])


def extrapolate(sets: Sequence[FeatureSet], compared: Comparison, seed: int) -> Extrapolation:
    """Return the Fréchet distances of `compare(*sets)` at an unlimited number of images.

    They exist wherever the comparison has a Fréchet distance. Half of its images is then at least 5 times the effective
    dimension, where the bias is linear in 1 / n.
    """
    if not (missing := compared.synthetic.frechet_distance).measurable:
        return Extrapolation(points=(), held_out=missing, synthetic=missing, difference=missing)
    n = compared.n
    chosen = ChosenSets.choose(sets, n, seed)
    curves = [(len(rest[0]), _curves(rest)) for rest in chosen.without_each_group()]
    real_P, made_P = np.array([[distance_without_bias(one, size) for one in pair] for size, pair in curves]).T
    intervals = [jackknife(float(of_P[0]), of_P[1:].tolist(), n) for of_P in (real_P, made_P, made_P - real_P)]
    points = (
        ExtrapolationPoint(n=size, held_out=float(real), synthetic=float(made))
        for size, real, made in zip(subset_sizes(n), *curves[0][1], strict=True)
    )
    return Extrapolation(points=tuple(points), held_out=intervals[0], synthetic=intervals[1], difference=intervals[2])


def _curves(sets: Sequence[FeatureSet]) -> tuple[Floats, Floats]:
    """Return the distances of held-out photographs and of samples from the reference, at each size of subset."""
    reference_ND, held_out_ND, synthetic_ND = (images.features_ND for images in sets)
    return distances_of_subsets(reference_ND, held_out_ND), distances_of_subsets(reference_ND, synthetic_ND)

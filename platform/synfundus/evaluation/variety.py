"""Variety of samples beside that of held-out photographs: effective number of images, distance to the nearest other.

A generator that collapses makes images that resemble each other more than photographs of different patients do. Both
measures depend on n, so both sets have the same n.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from synfundus.evaluation.diversity import distance_chunks
from synfundus.evaluation.feature_sets import NUM_GROUPS, ChosenSets, FeatureSet, jackknife
from synfundus.measures.diversity_metrics import ClosePair, NearestOther, VendiComparison
from synfundus.measures.inputs import Floats
from synfundus.measures.measure import Measure
from synfundus.measures.vendi import vendi_score

MAX_VENDI_IMAGES = 1000
"""Largest number of images of a Vendi score, whose time grows with the cube of it."""
TWIN_QUANTILE = 0.05
"""Share of the held-out photographs that have a twin by definition. A smaller one needs more photographs."""
NUM_CLOSEST = 6
SHARE, RATIO = (0.0, 1.0), (0.0, np.inf)
_T = TypeVar("_T")


def compare_vendi(
    reference: FeatureSet, held_out: FeatureSet, synthetic: FeatureSet, *, min_images: int, seed: int
) -> VendiComparison:
    """Compare the Vendi scores of held-out photographs and samples at the same n.

    The kernel is Gaussian; its width is the median distance between the training photographs of `reference`.
    """
    n = min(len(held_out), len(synthetic), MAX_VENDI_IMAGES)
    chosen = ChosenSets.choose((held_out, synthetic), n, seed)
    if (reason := _too_few(chosen, n, min_images)) is not None:
        return VendiComparison(n=n, held_out=reason, synthetic=reason, ratio=reason)
    width = _median_distance(reference.choose(min(len(reference), MAX_VENDI_IMAGES), seed))
    kernels = [np.exp(-0.5 * (_distances(images) / width) ** 2) for images in chosen.sets]
    values = [
        [vendi_score(kernel_NN[np.ix_(rows, rows)]) for kernel_NN, rows in zip(kernels, kept, strict=True)]
        for kept in _kept_rows(chosen)
    ]
    return VendiComparison(
        n=n,
        held_out=_jackknifed(values, lambda scores: scores[0], n, RATIO),
        synthetic=_jackknifed(values, lambda scores: scores[1], n, RATIO),
        ratio=_jackknifed(values, lambda scores: scores[1] / scores[0], n, RATIO),
    )


def compare_nearest_other(held_out: FeatureSet, synthetic: FeatureSet, *, min_images: int, seed: int) -> NearestOther:
    """Compare the distances of images to the nearest other one: photographs of another patient, other samples.

    Sets of samples name each sample by its id (`FeatureSet.groups`), so that the closest pairs can be named.
    """
    n = min(len(held_out), len(synthetic))
    chosen = ChosenSets.choose((held_out, synthetic), n, seed)
    if (reason := _too_few(chosen, n, min_images)) is not None:
        return NearestOther(n=n, quantile=TWIN_QUANTILE, threshold=None, twins=reason, median_ratio=reason)
    distances = [_distances_to_others(images) for images in chosen.sets]
    nearest = [
        [d_NN[np.ix_(rows, rows)].min(axis=1) for d_NN, rows in zip(distances, kept, strict=True)]
        for kept in _kept_rows(chosen)
    ]
    return NearestOther(
        n=n,
        quantile=TWIN_QUANTILE,
        threshold=float(np.quantile(nearest[0][0], TWIN_QUANTILE)),
        twins=_jackknifed(nearest, _share_of_twins, n, SHARE),
        median_ratio=_median_ratio(nearest, n),
        closest=_closest(chosen.sets[1], distances[1]),
    )


def _share_of_twins(nearest: Sequence[Floats]) -> float:
    held_out_N, synthetic_N = nearest
    return float((synthetic_N < np.quantile(held_out_N, TWIN_QUANTILE)).mean())


def _median_ratio(nearest: Sequence[Sequence[Floats]], n: int) -> Measure:
    """Return the ratio of the median distances; not measurable if photographs of different patients are alike."""
    if min(float(np.median(distances[0])) for distances in nearest) == 0.0:
        return Measure.not_measurable("half of the held-out photographs equal one of another patient", n)
    return _jackknifed(nearest, lambda distances: float(np.median(distances[1]) / np.median(distances[0])), n, RATIO)


def _too_few(chosen: ChosenSets, n: int, min_images: int) -> Measure | None:
    """Return why the sets cannot be compared, or None if they can."""
    if n < min_images:
        return Measure.not_measurable(f"{n} held-out photographs or samples; needs {min_images} of each", n)
    return chosen.too_few_patients()


def _kept_rows(chosen: ChosenSets) -> list[list[NDArray[np.int64]]]:
    """Return the rows of both sets: all, then those without each group of the jackknife, the same number of both."""
    groups = [images.jackknife_groups(chosen.seed + place) for place, images in enumerate(chosen.sets)]
    kept = []
    for group in (-1, *range(NUM_GROUPS)):
        rows = [np.flatnonzero(of_N != group) for of_N in groups]
        kept.append([rows_N[: min(map(len, rows))] for rows_N in rows])
    return kept


def _jackknifed(
    values: Sequence[Sequence[_T]],
    statistic: Callable[[Sequence[_T]], float],
    n: int,
    bounds: tuple[float, float],
) -> Measure:
    whole, *without = [statistic(value) for value in values]
    return jackknife(whole, without, n, bounds)


def _distances(images: FeatureSet) -> Floats:
    """Return the Euclidean distances (N, N) of all pairs of images."""
    return np.concatenate([d_MN for _, d_MN in distance_chunks(images.features_ND, images.features_ND)])


def _median_distance(images: FeatureSet) -> float:
    """Return the median distance of two different images; 1 for images that are all alike."""
    d_NN = _distances(images)
    return float(np.median(d_NN[~np.eye(len(d_NN), dtype=np.bool_)])) or 1.0


def _distances_to_others(images: FeatureSet) -> Floats:
    """Return the distances (N, N) of all pairs, infinite within a patient."""
    patient_N = np.unique(np.asarray(images.groups, np.str_), return_inverse=True)[1]
    return np.where(patient_N[:, None] == patient_N[None, :], np.inf, _distances(images))


def _closest(samples: FeatureSet, d_NN: Floats) -> tuple[ClosePair, ...]:
    """Return the closest pairs, each sample at most once."""
    pairs, used = list[ClosePair](), set[int]()
    nearest_N, distance_N = d_NN.argmin(axis=1), d_NN.min(axis=1)
    for row in np.argsort(distance_N, kind="stable").tolist():
        other = int(nearest_N[row])
        if len(pairs) == NUM_CLOSEST:
            break
        if not used & {row, other}:
            used |= {row, other}
            ids = sorted((int(samples.groups[row]), int(samples.groups[other])))
            pairs.append(ClosePair(sample_ids=(ids[0], ids[1]), distance=float(distance_N[row])))
    return tuple(pairs)

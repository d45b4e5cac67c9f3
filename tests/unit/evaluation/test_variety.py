"""Variety: the effective number of images and twins tell a collapsed set from a varied one, at equal n."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from synfundus.evaluation.feature_sets import FeatureSet
from synfundus.evaluation.variety import TWIN_QUANTILE, compare_nearest_other, compare_vendi

DIM = 8


def images(rng: np.random.Generator, n: int, *, per_patient: int = 1, scale: float = 1.0) -> FeatureSet:
    features = scale * rng.normal(size=(n, DIM))
    return FeatureSet(features.astype(np.float32), [str(row // per_patient) for row in range(n)])


def copies(rng: np.random.Generator, n: int, modes: int) -> FeatureSet:
    """Return images that all lie near one of a few modes."""
    centres = rng.normal(size=(modes, DIM))
    features = centres[rng.integers(0, modes, n)] + 0.01 * rng.normal(size=(n, DIM))
    return FeatureSet(features.astype(np.float32), [str(row) for row in range(n)])


def test_equal_distributions_have_equal_variety() -> None:
    rng = np.random.default_rng(0)
    reference, held_out, synthetic = images(rng, 300), images(rng, 240, per_patient=2), images(rng, 200)
    vendi = compare_vendi(reference, held_out, synthetic, min_images=50, seed=0)
    value, low, high = vendi.ratio.interval
    assert low < 1.0 < high
    assert value == pytest.approx(1.0, abs=0.05)
    twins = compare_nearest_other(held_out, synthetic, min_images=50, seed=0)
    assert twins.twins.interval[1] <= TWIN_QUANTILE <= twins.twins.interval[2]
    assert twins.median_ratio.interval[1] < 1.0 < twins.median_ratio.interval[2]
    assert vendi.n == twins.n == 200


def test_a_collapsed_generator_has_fewer_effective_images_and_more_twins() -> None:
    rng = np.random.default_rng(1)
    reference, held_out, synthetic = images(rng, 300), images(rng, 200), copies(rng, 200, 5)
    vendi = compare_vendi(reference, held_out, synthetic, min_images=50, seed=0)
    assert vendi.ratio.interval[2] < 0.6
    assert vendi.synthetic.interval[0] < 5.1
    nearest = compare_nearest_other(held_out, synthetic, min_images=50, seed=0)
    assert nearest.twins.interval[1] > 0.9
    assert nearest.median_ratio.interval[2] < 0.1


def test_less_spread_is_less_variety_although_the_directions_are_the_same() -> None:
    rng = np.random.default_rng(2)
    reference, held_out, synthetic = images(rng, 300), images(rng, 200), images(rng, 200, scale=0.6)
    vendi = compare_vendi(reference, held_out, synthetic, min_images=50, seed=0)
    assert vendi.ratio.interval[2] < 1.0


def test_distances_are_those_to_another_patient_and_to_another_sample() -> None:
    rng = np.random.default_rng(3)
    held_out, synthetic = images(rng, 60), images(rng, 60)
    eyes = np.repeat(held_out.features_ND, 2, axis=0)  # both photographs of a patient are equal
    pairs = FeatureSet(eyes[:120], [str(row // 2) for row in range(120)])
    found = compare_nearest_other(pairs, synthetic, min_images=50, seed=0)
    assert found.threshold is not None
    assert found.threshold > 0.1  # not 0, the distance within a patient
    d_NN = cdist(synthetic.features_ND.astype(float), synthetic.features_ND.astype(float)) + 1e9 * np.eye(60)
    row, other = divmod(int(d_NN.argmin()), 60)
    assert found.closest[0].sample_ids == (min(row, other), max(row, other))
    assert found.closest[0].distance == pytest.approx(d_NN.min(), rel=1e-5)
    ids = [sample_id for pair in found.closest for sample_id in pair.sample_ids]
    assert len(set(ids)) == len(ids)


def test_twins_and_median_distances_are_those_of_scipy() -> None:
    rng = np.random.default_rng(6)
    held_out, synthetic = images(rng, 80), images(rng, 80, scale=0.9)
    found = compare_nearest_other(held_out, synthetic, min_images=50, seed=0)
    distances = [cdist(one.features_ND.astype(float), one.features_ND.astype(float)) for one in (held_out, synthetic)]
    real, made = ((d_NN + 1e9 * np.eye(80)).min(axis=1) for d_NN in distances)
    assert found.threshold == pytest.approx(np.quantile(real, TWIN_QUANTILE), rel=1e-6)
    assert found.twins.value == (made < found.threshold).mean()
    assert found.median_ratio.value == pytest.approx(np.median(made) / np.median(real), rel=1e-6)


def test_the_width_of_the_kernel_is_the_median_distance_of_training_photographs() -> None:
    rng = np.random.default_rng(4)
    reference, held_out = images(rng, 80), images(rng, 60)
    vendi = compare_vendi(reference, held_out, held_out, min_images=50, seed=0)
    width = np.median(pdist(reference.features_ND.astype(float)))
    kernel = np.exp(-0.5 * (cdist(held_out.features_ND, held_out.features_ND) / width) ** 2)
    eigenvalues = np.linalg.eigvalsh(kernel / 60)
    positive = eigenvalues[eigenvalues > 1e-12]
    assert vendi.held_out.interval[0] == pytest.approx(np.exp(-(positive * np.log(positive)).sum()), rel=1e-4)


def test_few_images_are_not_measurable() -> None:
    rng = np.random.default_rng(5)
    few = images(rng, 20)
    assert compare_vendi(few, few, few, min_images=50, seed=0).ratio.reason is not None
    nearest = compare_nearest_other(few, images(rng, 70), min_images=50, seed=0)
    assert nearest.twins.reason == "20 held-out photographs or samples; needs 50 of each"
    alike = FeatureSet(np.ones((60, DIM), np.float32), [str(row) for row in range(60)])
    assert compare_nearest_other(alike, images(rng, 70), min_images=50, seed=0).median_ratio.reason is not None
    one_patient = FeatureSet(rng.normal(size=(60, DIM)).astype(np.float32), ["p"] * 60)
    assert compare_nearest_other(one_patient, images(rng, 70), min_images=50, seed=0).twins.n == 60

"""Privacy: the rate of copies counts all samples, its bound is a closed form, and copies are caught."""

import numpy as np
import pytest

from support.copies_example import EXAMPLE_METRICS, example_gate
from synfundus.evaluation.privacy import measure_privacy
from synfundus.labels import FloatArray
from synfundus.measures.copies import SampledCounts
from synfundus.measures.metrics import MeasuredPrivacy, UnmeasuredPrivacy

DIM = 32


def unit_vectors(count: int, seed: int) -> FloatArray:
    vectors_ND = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return np.asarray(vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True), np.float32)


TRAINING, HELD_OUT = unit_vectors(60, 1), unit_vectors(60, 2)
PATIENTS = [str(i) for i in range(60)]


def measured(synthetic: FloatArray, num_sampled: int, num_near: int) -> MeasuredPrivacy:
    sampled = SampledCounts(num_sampled, num_near)
    privacy, _ = measure_privacy(TRAINING, PATIENTS, HELD_OUT, synthetic, example_gate(0.2), sampled, "cpu")
    assert isinstance(privacy, MeasuredPrivacy)
    return privacy


def test_no_copy_among_n_bounds_the_rate_by_three_over_n() -> None:
    privacy = measured(unit_vectors(40, 3), 40, 0)
    assert privacy.num_below == 0
    assert privacy.share_near_upper_bound == pytest.approx(1 - 0.05 ** (1 / 40), rel=1e-9)
    assert sum(privacy.ratios.synthetic) == 40
    assert sum(privacy.ratios.held_out) == 60


def test_copies_are_counted_by_the_threshold_of_the_detector() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1 / DIM**0.5, (10, DIM)).astype(np.float32)
    synthetic = np.concatenate([TRAINING[:10] + noise, unit_vectors(30, 3)])
    privacy, near = measure_privacy(
        TRAINING, PATIENTS, HELD_OUT, synthetic, example_gate(0.2), SampledCounts(40, 10), "cpu"
    )
    assert near is not None
    assert isinstance(privacy, MeasuredPrivacy)
    assert (privacy.num_below, privacy.threshold) == (10, 0.2)
    assert privacy.detector == EXAMPLE_METRICS
    assert set(np.argsort(near.ratio)[:10]) == set(range(10))


def test_the_rate_of_copies_counts_all_samples_not_only_the_accepted_ones() -> None:
    """No accepted sample is a copy, so their rate would be 0 even for a generator that only copies."""
    privacy = measured(unit_vectors(30, 3), 120, 90)
    assert privacy.num_below == 0
    assert (privacy.num_near, privacy.num_sampled) == (90, 120)
    _, low, high = privacy.share_near.interval
    assert low < 0.75 < high
    assert privacy.share_near_upper_bound > 0.75
    assert measured(unit_vectors(30, 3), 120, 120).share_near_upper_bound == 1.0


def test_privacy_is_not_measurable_without_held_out_photographs() -> None:
    privacy, near = measure_privacy(
        TRAINING, PATIENTS, TRAINING[:0], TRAINING, example_gate(), SampledCounts(3, 0), "cpu"
    )
    assert near is None
    assert isinstance(privacy, UnmeasuredPrivacy)
    assert privacy.reason == "there are no held-out images"

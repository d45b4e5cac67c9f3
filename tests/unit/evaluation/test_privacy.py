"""Privacy: the rate of copies counts all samples, its bound is a closed form, and copies are caught."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from synfundus.evaluation.privacy import measure_privacy
from synfundus.labels import FloatArray
from synfundus.measures.copies import SampledCounts, copy_descriptor
from synfundus.measures.metrics import MeasuredPrivacy, UnmeasuredPrivacy
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_record

Images = NDArray[np.uint8]


def phantoms(count: int, seed: int) -> Images:
    config = PhantomConfig(num_images=count, size_px=64, seed=seed)
    return np.stack([phantom_record(config, i).image_HWC for i in range(count)])


TRAINING_IMAGES = phantoms(60, 1)
TRAINING, HELD_OUT = copy_descriptor(TRAINING_IMAGES), copy_descriptor(phantoms(60, 2))


def noise(count: int) -> FloatArray:
    """Return descriptors of images that resemble no phantom."""
    return copy_descriptor(np.random.default_rng(0).integers(20, 255, (count, 16, 16, 3), dtype=np.uint8))


def encoded_again(image: Images) -> Images:
    sink = io.BytesIO()
    Image.fromarray(image).save(sink, "JPEG", quality=70)
    return np.asarray(Image.open(sink).convert("RGB"))


def measured(synthetic: FloatArray, num_sampled: int, num_near: int) -> MeasuredPrivacy:
    privacy, _ = measure_privacy(TRAINING, HELD_OUT, synthetic, 0.01, SampledCounts(num_sampled, num_near), "cpu")
    assert isinstance(privacy, MeasuredPrivacy)
    return privacy


def test_no_copy_among_n_bounds_the_rate_by_three_over_n() -> None:
    privacy = measured(noise(40), 40, 0)
    assert privacy.num_below == 0
    assert privacy.share_near_upper_bound == pytest.approx(1 - 0.05 ** (1 / 40), rel=1e-9)
    assert sum(privacy.distances.synthetic) == 40
    assert sum(privacy.distances.held_out) == 60


def test_a_generator_that_copies_is_caught() -> None:
    others = phantoms(30, 3)
    copies = np.concatenate([np.stack([encoded_again(image) for image in TRAINING_IMAGES[:10]]), others])
    privacy, near = measure_privacy(TRAINING, HELD_OUT, copy_descriptor(copies), 0.01, SampledCounts(40, 10), "cpu")
    assert near is not None
    assert isinstance(privacy, MeasuredPrivacy)
    assert privacy.num_below == 10 + measured(copy_descriptor(others), 30, 0).num_below
    assert set(np.argsort(near.distance)[:10]) == set(range(10))


def test_the_rate_of_copies_counts_all_samples_not_only_the_accepted_ones() -> None:
    """No accepted sample is a copy, so their rate would be 0 even for a generator that only copies."""
    privacy = measured(noise(30), 120, 90)
    assert privacy.num_below == 0
    assert (privacy.num_near, privacy.num_sampled) == (90, 120)
    _, low, high = privacy.share_near.interval
    assert low < 0.75 < high
    assert privacy.share_near_upper_bound > 0.75
    assert measured(noise(30), 120, 120).share_near_upper_bound == 1.0


def test_privacy_is_not_measurable_without_held_out_photographs() -> None:
    privacy, near = measure_privacy(TRAINING, TRAINING[:0], TRAINING, 0.01, SampledCounts(3, 0), "cpu")
    assert near is None
    assert isinstance(privacy, UnmeasuredPrivacy)
    assert privacy.reason == "there are no held-out images"

"""Copies of training images are found, also changed ones; other images are not."""

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from synfundus.fundus.preprocess import Prepared, prepare_image
from synfundus.measures.copies import copy_descriptor, held_out_threshold
from synfundus.measures.nearest import nearest, reference_on
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_record

Images = NDArray[np.uint8]


def phantoms(count: int, seed: int, size_px: int = 64) -> Images:
    config = PhantomConfig(num_images=count, size_px=size_px, seed=seed)
    return np.stack([phantom_record(config, i).image_HWC for i in range(count)])


TRAINING, HELD_OUT = phantoms(60, 1), phantoms(60, 2)


def brighter(image: Images) -> Images:
    return np.asarray(np.clip(image * 1.2 + 3, 0, 255).astype(np.uint8))


def encoded_again(image: Images) -> Images:
    sink = io.BytesIO()
    Image.fromarray(image).save(sink, "JPEG", quality=70)
    return np.asarray(Image.open(sink).convert("RGB"))


def noisy(image: Images) -> Images:
    noise = np.random.default_rng(0).normal(0, 5, image.shape)
    return np.asarray(np.clip(image + noise, 0, 255).astype(np.uint8))


def larger(image: Images) -> Images:
    return np.asarray(Image.fromarray(image).resize((96, 96), Image.Resampling.LANCZOS))


def mirrored(image: Images) -> Images:
    return np.ascontiguousarray(image[:, ::-1])


@pytest.mark.parametrize("change", [brighter, encoded_again, noisy, larger, mirrored], ids=lambda f: f.__name__)
def test_a_changed_copy_is_found_at_its_original(change: object) -> None:
    training = copy_descriptor(TRAINING)
    threshold = held_out_threshold(nearest(copy_descriptor(HELD_OUT), reference_on(training, "cpu")).distance, 0.05)
    copies = np.stack([change(image) for image in TRAINING])  # type: ignore[operator]
    found = nearest(copy_descriptor(copies), reference_on(training, "cpu"))
    assert np.mean(found.distance < threshold) > 0.95
    assert np.mean(found.index == np.arange(len(copies))) > 0.95
    # A symmetric image may count as mirrored or not.
    assert np.mean(found.mirrored) > 0.9 if change is mirrored else np.mean(found.mirrored) < 0.1


def test_an_exact_copy_has_distance_zero_and_another_eye_has_not() -> None:
    training = copy_descriptor(TRAINING)
    assert nearest(training, reference_on(training, "cpu")).distance.max() == 0.0
    assert nearest(copy_descriptor(HELD_OUT), reference_on(training, "cpu")).distance.min() > 0.1


def test_nearest_is_the_minimum_over_all_and_their_mirrors() -> None:
    training, queries = copy_descriptor(TRAINING), copy_descriptor(HELD_OUT)
    turned = copy_descriptor(TRAINING[:, :, ::-1])
    every = np.stack([np.linalg.norm(queries[:, None] - other[None], axis=2) for other in (training, turned)])
    found = nearest(queries, reference_on(training, "cpu"))
    np.testing.assert_allclose(found.distance, every.min(axis=(0, 2)), atol=1e-5)
    picked = every[:, np.arange(len(queries)), found.index]
    np.testing.assert_allclose(picked.min(axis=0), found.distance, atol=1e-5)


def test_descriptors_are_unit_vectors_and_a_blank_image_has_none() -> None:
    np.testing.assert_allclose(np.linalg.norm(copy_descriptor(TRAINING), axis=1), 1.0, atol=1e-5)
    blank = np.full((1, 64, 64, 3), 80, np.uint8)
    assert not copy_descriptor(blank).any()
    assert copy_descriptor(TRAINING[:0]).shape == (0, copy_descriptor(TRAINING).shape[1])


@pytest.mark.real_data
def test_copies_of_real_photographs_are_found_and_other_photographs_are_not(real_data: Path) -> None:
    prepared = [prepare_image(path.read_bytes(), 64) for path in sorted((real_data / "images").iterdir())[:400]]
    images = np.stack([found.pixels_HWC for found in prepared if isinstance(found, Prepared)])
    training, held_out = copy_descriptor(images[::2]), copy_descriptor(images[1::2])
    threshold = held_out_threshold(nearest(held_out, reference_on(training, "cpu")).distance, 0.01)
    for change in (brighter, encoded_again, mirrored):
        found = nearest(
            copy_descriptor(np.stack([change(image) for image in images[::2]])), reference_on(training, "cpu")
        )
        assert np.mean(found.distance < threshold) > 0.97, change.__name__

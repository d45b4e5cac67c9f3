"""The encoder's input ignores light and contrast, and its descriptors fold an image and its mirror image."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from support.copies_example import untrained_encoder
from synfundus.copies.encoder import DESCRIPTOR_DIM
from synfundus.copies.network import DARK, GREY_WEIGHTS, CopyNetwork, fine_structure, resized, to_grey
from synfundus.measures.nearest import nearest, reference_on
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_record

CONFIG = PhantomConfig(num_images=12, size_px=64, seed=4)
IMAGES = np.stack([phantom_record(CONFIG, i).image_HWC for i in range(CONFIG.num_images)])


def structure(images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(fine_structure(to_grey(resized(images_BHWC, 64))).numpy(), np.float32)


def test_exposure_hardly_changes_the_fine_structure_and_another_eye_does() -> None:
    darker = (IMAGES * 0.7).astype(np.uint8)
    x, y = structure(IMAGES).reshape(12, -1), structure(darker).reshape(12, -1)
    correlation = np.corrcoef(x, y)[:12, 12:]
    assert np.diag(correlation).min() > 0.95
    assert correlation[~np.eye(12, dtype=bool)].max() < 0.8


def test_a_uniform_image_and_a_black_one_have_no_structure() -> None:
    for level in (0, 120):
        inner = structure(np.full((1, 64, 64, 3), level, np.uint8))[:, :, 20:44, 20:44]
        assert np.abs(inner).max() < 0.05


def test_no_grey_level_of_a_pixel_lies_at_the_limit_of_the_field() -> None:
    """Rounding in float32 is about 1e-7, so a pixel is inside or outside on every device."""
    r, g, b = np.meshgrid(np.arange(42), np.arange(17), np.arange(104), indexing="ij")  # larger values exceed the limit
    grey = (GREY_WEIGHTS[0] * r + GREY_WEIGHTS[1] * g + GREY_WEIGHTS[2] * b) / 255
    assert np.abs(grey - DARK).min() > 5e-5


def test_values_are_bounded_and_finite_for_noise() -> None:
    x = structure(np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8))
    assert np.isfinite(x).all()
    assert np.abs(x).max() <= 3.0


@pytest.mark.parametrize("image_size_px", [16, 32, 64, 128])
def test_codes_are_unit_vectors_at_every_input_size(image_size_px: int) -> None:
    network = CopyNetwork(image_size_px, 4).eval()
    code = network(torch.randn(2, 1, image_size_px, image_size_px))
    np.testing.assert_allclose(code.norm(dim=1).detach(), 1.0, atol=1e-5)


def test_a_mirrored_image_changes_only_the_sign_of_the_second_half() -> None:
    encoder = untrained_encoder()
    as_is, mirrored = encoder.descriptors(IMAGES), encoder.descriptors(np.ascontiguousarray(IMAGES[:, :, ::-1]))
    half = DESCRIPTOR_DIM // 2
    np.testing.assert_allclose(mirrored[:, :half], as_is[:, :half], atol=1e-5)
    np.testing.assert_allclose(mirrored[:, half:], -as_is[:, half:], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(as_is, axis=1), 1.0, atol=1e-5)
    found = nearest(mirrored, reference_on(as_is, np.arange(12), "cpu"))
    assert found.mirrored.all()
    np.testing.assert_array_equal(found.index, np.arange(12))


def test_descriptors_do_not_depend_on_the_batch_and_no_image_gives_none() -> None:
    encoder = untrained_encoder()
    together = encoder.descriptors(IMAGES)
    alone = np.concatenate([encoder.descriptors(IMAGES[i : i + 1]) for i in range(12)])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert encoder.descriptors(IMAGES[:0]).shape == (0, DESCRIPTOR_DIM)

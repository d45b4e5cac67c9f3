"""Augmentation: a pure function of (seed, position); a flip swaps the side; geometry equals closed forms."""

import numpy as np
import torch

from synfundus.diagnosis.augmentation import Draws, _warp, augment, draw
from synfundus.diagnosis.config import AugmentationConfig
from synfundus.labels import HEADS, NUM_VALUES

OFF = {"rotation_deg": 0.0, "scale": 0.0, "brightness": 0.0, "contrast": 0.0}


def test_a_draw_depends_only_on_seed_and_position() -> None:
    config = AugmentationConfig()
    whole, slice_ = draw(config, 3, range(100, 120)), draw(config, 3, range(110, 115))
    for name in ("flip_B", "angle_rad_B", "scale_B", "brightness_B", "contrast_B"):
        np.testing.assert_array_equal(getattr(whole, name)[10:15], getattr(slice_, name))
    assert not np.array_equal(whole.angle_rad_B, draw(config, 4, range(100, 120)).angle_rad_B)


def test_draws_have_the_configured_range_and_probability() -> None:
    config = AugmentationConfig(flip_probability=0.3, rotation_deg=10, scale=0.1, brightness=0.2, contrast=0.4)
    draws = draw(config, 0, range(4000))
    assert abs(draws.flip_B.mean() - 0.3) < 0.03
    for values, low, high in (
        (np.degrees(draws.angle_rad_B), -10, 10),
        (np.log(draws.scale_B), -np.log(1.1), np.log(1.1)),
        (draws.brightness_B, -0.2, 0.2),
        (draws.contrast_B, 0.6, 1.4),
    ):
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.02 * (high - low)


def test_a_flip_mirrors_the_image_and_swaps_only_the_side() -> None:
    x, p = torch.randn(8, 3, 6, 6), torch.rand(8, NUM_VALUES)
    flipped_x, flipped_p = augment(x, p, AugmentationConfig(flip_probability=1.0, **OFF), 0, range(8))
    torch.testing.assert_close(flipped_x, x.flip(3), rtol=0, atol=0)
    expected = p.clone()
    expected[:, HEADS["eye_side"]] = 1 - p[:, HEADS["eye_side"]]
    torch.testing.assert_close(flipped_p, expected, rtol=0, atol=0)


def test_only_flipped_images_swap_their_side() -> None:
    x, p = torch.randn(64, 3, 4, 4), torch.ones(64, NUM_VALUES)
    config = AugmentationConfig(**OFF)
    flipped_x, flipped_p = augment(x, p, config, 5, range(64))
    flip = torch.from_numpy(draw(config, 5, range(64)).flip_B)
    assert 16 < int(flip.sum()) < 48
    assert torch.equal(flipped_p[:, HEADS["eye_side"]].squeeze(1), 1.0 - flip.float())
    assert torch.equal(flipped_x[~flip], x[~flip])


def test_strengths_of_zero_change_nothing() -> None:
    x, p = torch.randn(4, 3, 5, 5), torch.rand(4, NUM_VALUES)
    same_x, same_p = augment(x, p, AugmentationConfig(flip_probability=0.0, **OFF), 0, range(4))
    assert torch.equal(same_x, x)
    assert torch.equal(same_p, p)


def test_rotation_and_scale_of_a_ramp_equal_their_closed_form() -> None:
    """f(x, y) = x, rotated by a and magnified by s, is (x cos a - y sin a) / s; bilinear sampling of it is exact."""
    size, angle, scale = 33, np.radians(7.0), 1.1
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    zero = np.zeros(1)
    warped = _warp(x.expand(1, 3, size, size), Draws(zero > 1, np.array([angle]), np.array([scale]), zero, zero + 1))
    expected = (x * np.cos(angle) - y * np.sin(angle)) / scale
    torch.testing.assert_close(warped[0, 0, 4:-4, 4:-4], expected[4:-4, 4:-4].float(), atol=1e-5, rtol=0)


def test_contrast_and_brightness_equal_their_closed_form() -> None:
    x = torch.randn(2, 3, 4, 4)
    config = AugmentationConfig(flip_probability=0, rotation_deg=0, scale=0, brightness=0.5, contrast=0.5)
    out, _ = augment(x, torch.zeros(2, NUM_VALUES), config, 1, range(7, 9))
    draws = draw(config, 1, range(7, 9))
    for b in range(2):
        expected = (x[b] - x[b].mean()) * draws.contrast_B[b] + x[b].mean() + draws.brightness_B[b]
        torch.testing.assert_close(out[b], expected.float(), atol=1e-5, rtol=0)

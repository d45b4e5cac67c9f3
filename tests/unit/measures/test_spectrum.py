"""Power by octave equals the closed form of white and of power-law noise, and sees what a blur removes."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from synfundus.measures.spectrum import octave_edges, octave_powers


def power_law(exponent: float, *, count: int, size_px: int, seed: int, scale: float = 20.0) -> NDArray[np.float64]:
    """Return grey noise (B, N, N) with power f^-exponent, cut from larger images so that it does not repeat."""
    large = 2 * size_px
    frequency = np.hypot(np.fft.fftfreq(large)[:, None], np.fft.fftfreq(large)[None, :])
    frequency[0, 0] = np.inf
    rng = np.random.default_rng(seed)
    white = np.fft.fft2(rng.normal(size=(count, large, large)))
    noise = np.fft.ifft2(white * frequency ** (-exponent / 2)).real[:, :size_px, :size_px]
    return np.asarray(scale * noise / noise.std())


def as_images(grey_BNN: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.repeat(np.clip(np.rint(128 + grey_BNN), 0, 255).astype(np.uint8)[..., None], 3, axis=3)


def mean_of_power_law(exponent: float, size_px: int, low: float, high: float) -> float:
    """Return the mean of f^-exponent over the frequencies of an octave (cycles per side), up to a constant factor."""
    side = np.fft.fftfreq(size_px, 1 / size_px)
    frequency = np.hypot(side[:, None], side[None, :])
    inside = (frequency >= low) & (frequency < high)
    return float(np.mean(frequency[inside] ** -exponent))


def test_octaves_end_at_the_nyquist_frequency() -> None:
    assert octave_edges(64) == (2.0, 4.0, 8.0, 16.0, 32.0)
    assert octave_edges(96) == (3.0, 6.0, 12.0, 24.0, 48.0)
    assert octave_edges(6) == (3.0,)
    assert octave_powers(np.zeros((3, 6, 6, 3), np.uint8)).shape == (3, 0)
    assert octave_powers(np.zeros((0, 64, 64, 3), np.uint8)).shape == (0, 4)


@pytest.mark.parametrize("size_px", [32, 63, 64])
def test_power_of_white_noise_is_its_variance_in_every_octave(size_px: int) -> None:
    rng = np.random.default_rng(0)
    grey = rng.normal(0, 20, (800, size_px, size_px))
    expected = 400 + 1 / 12  # rounding to integers adds the variance of a uniform error
    np.testing.assert_allclose(octave_powers(as_images(grey)).mean(axis=0), expected, rtol=0.04)


@pytest.mark.parametrize("exponent", [2.0, 3.0])
def test_power_law_noise_falls_between_octaves_as_its_closed_form(exponent: float) -> None:
    measured = octave_powers(as_images(power_law(exponent, count=200, size_px=64, seed=1))).mean(axis=0)
    edges = octave_edges(64)
    expected = [mean_of_power_law(exponent, 64, low, high) for low, high in pairwise(edges)]
    # Rounding to integers adds white noise of variance 1/12. The window blurs the lowest octave, so it is left out.
    falls = (measured - 1 / 12)[2:] / (measured - 1 / 12)[1:-1]
    np.testing.assert_allclose(falls, np.array(expected)[2:] / np.array(expected)[1:-1], rtol=0.08)


def test_a_blur_lowers_each_octave_by_its_transfer_function() -> None:
    """A Gaussian of sigma s multiplies the power at f cycles a pixel by exp(-4 pi^2 s^2 f^2)."""
    sigma, size_px = 0.7, 64
    grey = np.random.default_rng(2).normal(0, 30, (300, size_px, size_px))
    side = np.fft.fftfreq(size_px)
    frequency = np.hypot(side[:, None], side[None, :])
    transfer = np.exp(-4 * np.pi**2 * sigma**2 * frequency**2)
    blurred = np.fft.ifft2(np.fft.fft2(grey) * np.sqrt(transfer)).real
    ratio = octave_powers(as_images(blurred)).mean(axis=0) / octave_powers(as_images(grey)).mean(axis=0)
    edges = np.array(octave_edges(size_px)) / size_px
    expected = [transfer[(frequency >= a) & (frequency < b)].mean() for a, b in pairwise(edges)]
    np.testing.assert_allclose(ratio, expected, rtol=0.05)


def test_what_lies_outside_the_field_and_the_brightness_change_nothing() -> None:
    images = as_images(np.random.default_rng(3).normal(0, 15, (5, 64, 64)))
    place = (np.arange(64) - 31.5) / 64
    outside = np.hypot(place[:, None], place[None, :]) > 0.47
    other = images.copy()
    other[:, outside] = 0
    np.testing.assert_allclose(octave_powers(other), octave_powers(images), rtol=1e-9)
    np.testing.assert_allclose(octave_powers(images + np.uint8(20)), octave_powers(images), rtol=1e-9)

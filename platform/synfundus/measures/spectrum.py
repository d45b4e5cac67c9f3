"""Radial power spectrum of photographs and samples, by octave of spatial frequency.

A denoiser that stops at high noise leaves images without fine detail. Features and kernels hardly see that; the power
in the highest octaves does. Power falls with about the cube of the frequency in natural images (Field 1987,
doi 10.1364/JOSAA.4.002379), so only the ratio to real photographs is meaningful.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FIELD_RADIUS = 0.46
"""Radius of the circle that counts, as a share of the image's side. The rim of the field of view lies outside it."""
LOWEST_FREQUENCY = 2.0
"""Lowest edge of an octave, in cycles per image side. The window blurs frequencies below it."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""


def octave_edges(size_px: int) -> tuple[float, ...]:
    """Return the edges of the octaves in cycles per image side, ascending: …, N/8, N/4, N/2 for N pixels.

    N/2 is the Nyquist frequency. An image of fewer than 8 px has no octave: the result then has one edge.
    """
    edges = [size_px / 2]
    while edges[0] / 2 >= LOWEST_FREQUENCY:
        edges.insert(0, edges[0] / 2)
    return tuple(edges)


@lru_cache(maxsize=2)
def _window(size_px: int) -> NDArray[np.float64]:
    """Return a radial Hann window (N, N): 1 in the centre, 0 with slope 0 from `FIELD_RADIUS` on."""
    place_N = (np.arange(size_px) - (size_px - 1) / 2) / size_px
    radius_NN = np.hypot(place_N[:, None], place_N[None, :])
    return np.where(radius_NN < FIELD_RADIUS, 0.5 + 0.5 * np.cos(np.pi * radius_NN / FIELD_RADIUS), 0.0)


@lru_cache(maxsize=2)
def _octave_of_frequency(size_px: int) -> NDArray[np.int64]:
    """Return the number of the octave of each coefficient of `rfft2`, (N, N//2 + 1); -1 outside all octaves."""
    rows, columns = np.fft.fftfreq(size_px, 1 / size_px), np.fft.rfftfreq(size_px, 1 / size_px)
    edges = octave_edges(size_px)
    octave = np.searchsorted(edges, np.hypot(rows[:, None], columns[None, :]), side="right") - 1
    return np.where(octave < len(edges) - 1, octave, -1)


def octave_powers(images_BHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean power of each square image in each octave, (B, O), lowest octave first.

    The luma (0 to 255) less its mean is multiplied by the window. The power is |FFT|^2 over the sum of the squared
    window, averaged over all frequencies of the octave. White noise of variance v has power v in every octave.
    """
    size_px = images_BHWC.shape[1]
    window_NN, octave = _window(size_px), _octave_of_frequency(size_px)
    luma_BNN = images_BHWC.astype(np.float64) @ np.array(LUMA)
    mean_B = (luma_BNN * window_NN).sum(axis=(1, 2)) / window_NN.sum()
    power_BNF = np.abs(np.fft.rfft2((luma_BNN - mean_B[:, None, None]) * window_NN)) ** 2 / np.sum(window_NN**2)
    num_octaves = len(octave_edges(size_px)) - 1
    # `rfft2` leaves out the conjugates of its inner columns, so those count twice.
    twice_NF = np.broadcast_to(np.where(np.arange(octave.shape[1]) % (size_px / 2) == 0, 1.0, 2.0), octave.shape)
    means = [
        (power_BNF[:, octave == o] @ twice_NF[octave == o]) / twice_NF[octave == o].sum() for o in range(num_octaves)
    ]
    return np.stack(means, axis=1) if means else np.zeros((len(images_BHWC), 0))

"""Comparison of the radial power spectrum of samples with that of held-out photographs, octave by octave."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from synfundus.evaluation.feature_sets import NUM_GROUPS
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import Octave, PowerSpectrum
from synfundus.measures.spectrum import octave_edges
from synfundus.measures.statistics import ratio_of_means


def compare_spectra(
    held_out_MO: NDArray[np.float64], patients: Sequence[str], synthetic_NO: NDArray[np.float64], size_px: int
) -> PowerSpectrum:
    """Return the power of both sets in each octave, with the ratio and its interval.

    Args:
        held_out_MO: power of each held-out photograph in each octave (`octave_powers`).
        patients: (M,) patient of each photograph; each sample counts as a patient.
        synthetic_NO: power of each sample in each octave.
        size_px: side of the images in pixels.
    """
    octaves = [
        Octave(
            low=low,
            high=high,
            held_out=float(held_out_MO[:, o].mean()) if len(held_out_MO) else None,
            synthetic=float(synthetic_NO[:, o].mean()) if len(synthetic_NO) else None,
            ratio=_ratio(synthetic_NO[:, o : o + 1], held_out_MO[:, o : o + 1], patients),
        )
        for o, (low, high) in enumerate(pairwise(octave_edges(size_px)))
    ]
    return PowerSpectrum(octaves=tuple(octaves))


def _ratio(synthetic_N1: NDArray[np.float64], held_out_M1: NDArray[np.float64], patients: Sequence[str]) -> Measure:
    """Return the ratio of the mean powers in one octave, if both sets have enough patients for an interval."""
    num_patients = len(set(patients))
    if min(len(synthetic_N1), num_patients) < NUM_GROUPS:
        counts = f"{len(synthetic_N1)} samples and held-out photographs of {num_patients} patients"
        return Measure.not_measurable(f"{counts}; needs {NUM_GROUPS} of each", min(len(synthetic_N1), len(held_out_M1)))
    return ratio_of_means(synthetic_N1.ravel(), held_out_M1.ravel(), None, patients)


def spectrum_notes(spectrum: PowerSpectrum) -> Iterator[str]:
    """Yield that the smallest octave was not measured, and why."""
    if (top := spectrum.top) is None:
        yield "Power spectrum: images of fewer than 8 px have no octave"
    elif not top.ratio.measurable:
        yield f"Power spectrum: {top.ratio.reason}"

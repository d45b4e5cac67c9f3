"""Errors of the measures of anatomy on rendered phantoms, whose anatomy is known."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from synfundus.evaluation.anatomy.measuring import measure_anatomy
from synfundus.evaluation.anatomy_comparison import is_left_out
from synfundus.labels import DISEASES, LABEL_NAMES
from synfundus.measures.diversity_metrics import ANATOMY_MEASURES, AnatomyError, AnatomyName
from synfundus.phantom.labels import draw_phantom_labels
from synfundus.phantom.render import render
from synfundus.phantom.truth import PhantomTruth, phantom_truth

FIRST_SEED = 30_000_000


@dataclass(frozen=True)
class Measured:
    """Measured and true anatomy of phantoms, each (N, 6); NaN where there is none."""

    measured_NA: NDArray[np.float64]
    true_NA: NDArray[np.float64]
    labels_NK: NDArray[np.int8]

    def pairs(self, name: AnatomyName) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return measured and true values of the phantoms that a comparison does not leave out."""
        column = ANATOMY_MEASURES.index(name)
        rows = ~is_left_out(self.labels_NK, name) & np.isfinite(self.true_NA[:, column])
        return self.measured_NA[rows, column], self.true_NA[rows, column]

    def error(self, name: AnatomyName, size_px: int) -> AnatomyError:
        """Return the error of one measure, rounded to three decimals."""
        measured, true = self.pairs(name)
        found = np.isfinite(measured)
        correlation = stats.spearmanr(measured[found], true[found]).statistic if found.sum() > 2 else 0.0
        return AnatomyError(
            size_px=size_px,
            median_error=round(float(np.median(np.abs(measured - true)[found])), 3),
            rank_correlation=round(float(correlation), 3),
            found=round(float(found.mean()), 3),
        )


def measure_phantoms(size_px: int, num_images: int) -> Measured:
    """Measure phantoms with random labels that show a fundus."""
    images, truths, rows = [], [], []
    for seed in range(FIRST_SEED, FIRST_SEED + 2 * num_images):
        labels = draw_phantom_labels(seed)
        if seed % 2:  # every second one is healthy, because few of the others have no disease of the vessels
            labels |= {name: 0 for name in DISEASES if labels[name] is not None}
        truth = phantom_truth(labels, seed, size_px)
        if truth is not None:
            images.append(render(labels, seed, size_px))
            truths.append(_true_anatomy(truth))
            rows.append([-1 if labels[name] is None else labels[name] for name in LABEL_NAMES])
        if len(images) == num_images:
            break
    return Measured(measure_anatomy(np.stack(images)).astype(np.float64), np.asarray(truths), np.asarray(rows, np.int8))


def _true_anatomy(truth: PhantomTruth) -> list[float]:
    """Return the anatomy in the order of `ANATOMY_MEASURES`."""
    x, y = truth.disc_xy
    return [
        abs(x),
        y,
        truth.disc_radius,
        np.nan if truth.cup_to_disc is None else truth.cup_to_disc,
        float(truth.vessel_HW[truth.field_HW].mean()),
        float(truth.field_HW.sum() / (np.pi / 4 * truth.field_HW.size)),
    ]

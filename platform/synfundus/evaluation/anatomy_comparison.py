"""Comparison of the anatomy of samples with that of held-out photographs, measure by measure.

Each measure is compared by a Kolmogorov-Smirnov test on one image of each patient, with Holm's correction over the
measures. A disease changes some structures, and samples may have been requested with
other shares of diseases than photographs have. So images with such a disease are left out of the measures it changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.evaluation.anatomy.errors import SMALLEST_PX, anatomy_error
from synfundus.evaluation.strata import Labels
from synfundus.labels import LABEL_NAMES, READABILITY, FloatArray
from synfundus.measures.diversity_metrics import (
    ANATOMY_MEASURES,
    AnatomyComparison,
    AnatomyDistribution,
    AnatomyError,
    AnatomyName,
)
from synfundus.measures.inputs import Floats
from synfundus.measures.measure import Measure
from synfundus.measures.multiplicity import holm
from synfundus.measures.statistics import proportion
from synfundus.measures.two_samples import DistributionTest, kolmogorov_smirnov, mean_difference

MIN_VALUES = 20
"""Smallest number of images of each set in which a structure was found, for a comparison."""
MIN_RANK_CORRELATION = 0.4
"""Smallest correlation with the truth of phantoms at which a measure counts as measurable."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class _Text:
    """Title and unit of a measure, and lowest values of the labels that change it or hide it."""

    title: str
    unit: str
    left_out: Mapping[str, int]


_FUNDUS = {"is_fundus": 0}
_DISC = {
    **_FUNDUS,
    "is_optic_disc_readable": 0,
    "dr_grade": 3,
    **dict.fromkeys(("is_amd", "is_aon", "is_crp", "is_dme", "is_pm"), 1),
}
_VESSELS = {
    **_FUNDUS,
    "is_retinal_region_readable": 0,
    **dict.fromkeys(("dr_grade", "is_crp", "is_dm", "is_htr", "is_pm", "is_rvo"), 1),
}
TEXTS: Mapping[AnatomyName, _Text] = {
    "disc_offset": _Text("Optic disc, horizontal distance from the centre", "field radii", _DISC),
    "disc_height": _Text("Optic disc, height below the centre", "field radii", _DISC),
    "disc_diameter": _Text("Optic disc, diameter", "field diameters", _DISC),
    "cup_to_disc": _Text("Cup-to-disc ratio", "ratio of diameters", {**_DISC, "is_gc": 1}),
    "vessel_density": _Text("Vessels, share of the field", "share of the area", _VESSELS),
    "field": _Text("Visible field, share of the full circle", "share of the area", _FUNDUS),
}


@dataclass(frozen=True)
class AnatomySet:
    """Anatomy of one set of images."""

    values_NA: FloatArray
    """(N, 6) in the order of `ANATOMY_MEASURES`; NaN where it was not found."""
    labels_NK: Labels
    """Experts' labels of photographs, requests of samples."""
    patients: Sequence[str]
    """(N,) patient of each image; each sample counts as a patient."""

    def column(self, name: AnatomyName) -> "_Column":
        """Return one measure of the images whose labels neither change nor hide it."""
        rows = np.flatnonzero(~is_left_out(self.labels_NK, name))
        values = self.values_NA[rows, ANATOMY_MEASURES.index(name)].astype(np.float64)
        return _Column(values, [self.patients[row] for row in rows.tolist()])


@dataclass(frozen=True)
class _Column:
    values_N: Floats
    patients: Sequence[str]

    def found(self) -> "_Column":
        """Return the images in which it was found."""
        found_N = np.isfinite(self.values_N)
        return _Column(self.values_N[found_N], [p for p, found in zip(self.patients, found_N, strict=True) if found])

    def distribution(self) -> AnatomyDistribution:
        found = self.found().values_N
        return AnatomyDistribution(
            num_images=len(self.values_N),
            found=proportion(np.isfinite(self.values_N), self.patients),
            quantiles=tuple(np.quantile(found, QUANTILES).tolist()) if len(found) else (),
        )


def is_left_out(labels_NK: Labels, name: AnatomyName) -> NDArray[np.bool_]:
    """Return whether each image is known to have a finding that changes or hides the structure, (N,)."""
    columns = []
    for label, lowest in TEXTS[name].left_out.items():
        value_N = labels_NK[:, LABEL_NAMES.index(label)]
        columns.append(value_N == 0 if label in READABILITY else value_N >= lowest)
    return np.asarray(np.any(columns, axis=0))


def compare_anatomy(
    held_out: AnatomySet, synthetic: AnatomySet, *, size_px: int
) -> dict[AnatomyName, AnatomyComparison]:
    """Compare the anatomy of samples with that of held-out photographs.

    Args:
        size_px: side of the images, which decides the error of the measures and whether they are measurable.
    """
    compared = {name: _compare(name, held_out, synthetic, size_px) for name in ANATOMY_MEASURES}
    adjusted = holm([entry.p_value for entry in compared.values()])
    return {
        name: entry.model_copy(update={"p_adjusted": p})
        for (name, entry), p in zip(compared.items(), adjusted, strict=True)
    }


def _compare(name: AnatomyName, held_out: AnatomySet, synthetic: AnatomySet, size_px: int) -> AnatomyComparison:
    text, error = TEXTS[name], anatomy_error(name, size_px)
    photographs, samples = held_out.column(name), synthetic.column(name)
    real, made = photographs.found(), samples.found()
    reason = _reason(error, len(real.values_N), len(made.values_N))
    test: DistributionTest | None = None
    difference = Measure.not_measurable(reason or "", min(len(real.values_N), len(made.values_N)))
    if reason is None:
        difference = mean_difference(made.values_N, real.values_N, made.patients, real.patients).measure
        test = kolmogorov_smirnov(real.values_N, made.values_N, real.patients, made.patients)
    return AnatomyComparison(
        title=text.title,
        unit=text.unit,
        left_out=dict(text.left_out),
        error=error,
        held_out=photographs.distribution(),
        synthetic=samples.distribution(),
        difference=difference,
        distance=None if test is None else test.distance,
        p_value=None if test is None else test.p_value,
        p_adjusted=None,
    )


def _reason(error: AnatomyError | None, num_real: int, num_made: int) -> str | None:
    """Return why a measure is not compared, or None if it is."""
    if error is None:
        return f"images smaller than {SMALLEST_PX} px; the error of the measure is not known"
    if error.rank_correlation < MIN_RANK_CORRELATION:
        return (
            f"on phantoms of {error.size_px} px its rank correlation with the truth is {error.rank_correlation:.2f};"
            f" needs {MIN_RANK_CORRELATION:g}"
        )
    if min(num_real, num_made) < MIN_VALUES:
        return f"found in {num_real} held-out photographs and {num_made} samples; needs {MIN_VALUES} of each"
    return None

"""Rate at which a requested finding is there in the samples of a study of phantoms, by size of the finding."""

import numpy as np

from synfundus.evaluation.finding_detector import NUM_TEST, NUM_TRAINING, FindingDetector
from synfundus.evaluation.strata import Labels
from synfundus.labels import LABEL_BY_NAME, LABEL_NAMES, FloatArray
from synfundus.measures.diversity_metrics import RequestedFinding, RequestedFindings
from synfundus.measures.inputs import Floats
from synfundus.measures.measure import Measure
from synfundus.measures.prevalence import true_share
from synfundus.measures.statistics import proportion
from synfundus.phantom.sizes import DISEASE_HEADS, finding_diameter

MIN_SAMPLES = 10
"""Smallest number of samples requested with (or without) a finding."""


def measure_requested_findings(
    found_NH: FloatArray, requested_NK: Labels, detector: FindingDetector, size_px: int
) -> RequestedFindings:
    """Return the rate at which each finding is there, smallest finding first.

    Args:
        found_NH: output of `detector.detect` for the samples.
        requested_NK: their conditions.
        size_px: side of the samples.
    """
    heads = sorted(DISEASE_HEADS, key=finding_diameter)
    return RequestedFindings(
        num_training_phantoms=NUM_TRAINING,
        num_test_phantoms=NUM_TEST,
        findings={head: _finding(head, found_NH, requested_NK, detector, size_px) for head in heads},
    )


def _finding(
    head: str, found_NH: FloatArray, requested_NK: Labels, detector: FindingDetector, size_px: int
) -> RequestedFinding:
    name, _, grade = head.partition(">=")
    requested_N = requested_NK[:, LABEL_NAMES.index(name)]
    found_N = found_NH[:, DISEASE_HEADS.index(head)].astype(np.float64)
    errors = detector.sensitivities[head], detector.specificities[head]
    detected = _share(found_N[requested_N >= int(grade or 1)])
    without = _share(found_N[(requested_N >= 0) & (requested_N < int(grade or 1))])
    title = LABEL_BY_NAME[name].title
    diameter = finding_diameter(head)
    return RequestedFinding(
        title=f"{title}, {grade} or more" if grade else title,
        diameter=diameter,
        diameter_px=diameter * size_px,
        sensitivity=errors[0],
        specificity=errors[1],
        detected=detected,
        detected_without=without,
        present=true_share(detected, *errors),
        present_without=true_share(without, *errors),
    )


def _share(found_N: Floats) -> Measure:
    if len(found_N) < MIN_SAMPLES:
        return Measure.not_measurable(f"{len(found_N)} samples requested so; needs {MIN_SAMPLES}", len(found_N))
    return proportion(found_N)

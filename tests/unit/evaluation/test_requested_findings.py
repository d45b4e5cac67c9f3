"""The detector of findings finds them in phantoms that it never saw, and tells samples that lack them from others."""

from functools import cache

import numpy as np
import pytest

from synfundus.evaluation.finding_detector import (
    DETECTOR_SEED,
    NUM_TEST,
    FindingDetector,
    PhantomSet,
    no_detector,
    render_phantoms,
    train_finding_detector,
)
from synfundus.evaluation.requested_findings import measure_requested_findings
from synfundus.evaluation.strata import Labels
from synfundus.labels import HEAD_NAMES, LABEL_NAMES, decode_values
from synfundus.measures.measure import Measure
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_labels
from synfundus.phantom.sizes import DISEASE_HEADS, finding_diameter

SIZE_PX = 32


@cache
def detector() -> FindingDetector:
    return train_finding_detector(SIZE_PX, "cpu")


def labels_of(phantoms: PhantomSet) -> Labels:
    """Return the true labels, -1 if unknown."""
    rows = decode_values(phantoms.p_NV, phantoms.known_NK)
    return np.array([[-1 if row[name] is None else row[name] for name in LABEL_NAMES] for row in rows], np.int8)


def test_its_stated_errors_hold_on_further_phantoms() -> None:
    trained = detector()
    fresh = render_phantoms(400, SIZE_PX, 77)
    found_NH = trained.detect(fresh.images_NHWC) > 0
    for column, head in enumerate(DISEASE_HEADS):
        v = HEAD_NAMES.index(head)
        has_N, found_N = fresh.p_NV[:, v] > 0, found_NH[:, column]
        for stated, of_class_N, correct_N in (
            (trained.sensitivities[head], has_N, found_N),
            (trained.specificities[head], ~has_N, ~found_N),
        ):
            rows = fresh.known_NV[:, v] & of_class_N
            value = stated.interval[0]
            error = np.sqrt(value * (1 - value) * (1 / stated.n + 1 / rows.sum())) + 1 / rows.sum()
            assert abs(correct_N[rows].mean() - value) < 4.5 * error + 0.01, head


def test_most_findings_are_detected_even_at_32_px() -> None:
    trained = detector()
    youden = [
        trained.sensitivities[head].interval[0] + trained.specificities[head].interval[0] - 1 for head in DISEASE_HEADS
    ]
    assert np.median(youden) > 0.7


def test_samples_that_show_half_of_what_was_requested_are_measured_so() -> None:
    """Phantoms stand in for samples: all requested with drusen, of which every second one shows them."""
    trained = detector()
    shown = render_phantoms(500, SIZE_PX, 78)
    requested_NK = labels_of(shown)
    column = LABEL_NAMES.index("is_amd")
    shows_N = requested_NK[:, column] == 1
    lacking_N = np.flatnonzero(requested_NK[:, column] == 0)[: int(shows_N.sum())]
    requested_NK[lacking_N, column] = 1
    found = measure_requested_findings(trained.detect(shown.images_NHWC), requested_NK, trained, SIZE_PX)
    present = found.findings["is_amd"].present
    assert present.n == 2 * int(shows_N.sum())
    assert present.interval[1] < 0.5 < present.interval[2]
    assert found.findings["is_amd"].present_without.interval[1] < 0.03


def test_findings_are_listed_by_size() -> None:
    requested_NK = np.zeros((30, 16), np.int8)
    found_NH = np.zeros((30, len(DISEASE_HEADS)), np.float32)
    perfect = {head: Measure.measured(1.0, 0.99, 1.0, 400) for head in DISEASE_HEADS}
    trained = FindingDetector(detector().scorer, perfect, perfect)
    found = measure_requested_findings(found_NH, requested_NK, trained, 256)
    diameters = [entry.diameter for entry in found.findings.values()]
    assert diameters == sorted(diameters)
    assert set(found.findings) == set(DISEASE_HEADS)
    assert found.findings["is_gc"].diameter_px == 256 * finding_diameter("is_gc")
    for entry in found.findings.values():
        assert entry.present.reason == "0 samples requested so; needs 10"
        assert entry.present_without.interval[0] == 0.0


def test_a_detector_is_trained_for_enough_samples_of_a_study_of_phantoms_only() -> None:
    assert no_detector(199, real_photographs=False) == "199 samples; needs 200"
    assert no_detector(200, real_photographs=False) is None
    assert no_detector(9999, real_photographs=True) is not None


def test_the_detector_shares_no_phantom_with_the_default_study() -> None:
    seeds = {DETECTOR_SEED, DETECTOR_SEED + 1}
    assert not seeds & {0, 1}
    own = [phantom_labels(PhantomConfig(num_images=9, seed=DETECTOR_SEED), index) for index in range(9)]
    test = [phantom_labels(PhantomConfig(num_images=9, seed=DETECTOR_SEED + 1), index) for index in range(9)]
    assert own != test
    assert NUM_TEST >= 500


@pytest.mark.parametrize("size_px", [32, 64])
def test_phantoms_are_prepared_at_the_size_of_the_study(size_px: int) -> None:
    phantoms = render_phantoms(3, size_px, 5)
    assert phantoms.images_NHWC.shape == (3, size_px, size_px, 3)
    assert (phantoms.p_NV[:, HEAD_NAMES.index("is_fundus")] == 1).all()

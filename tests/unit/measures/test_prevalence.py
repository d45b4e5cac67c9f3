"""Share of images with a finding from an imperfect detector: right on average, and its interval covers the truth."""

import numpy as np
import pytest

from synfundus.measures.measure import Measure
from synfundus.measures.prevalence import true_share


def rate(value: float, n: int) -> Measure:
    return Measure.measured(value, 0.0, 1.0, n)


def test_a_perfect_detector_needs_no_correction() -> None:
    share = true_share(rate(0.3, 200), rate(1.0, 100_000), rate(1.0, 100_000))
    value, low, high = share.interval
    assert value == pytest.approx(0.3, abs=1e-12)
    # Agresti and Coull's interval, to which Lang and Reiczigel's tends.
    n = 200 + 1.96**2
    p = (60 + 1.96**2 / 2) / n
    width = 1.96 * np.sqrt(p * (1 - p) / n)
    assert (low, high) == pytest.approx((p - width, p + width), abs=2e-4)


def test_the_estimate_is_that_of_rogan_and_gladen() -> None:
    share = true_share(rate(0.35, 200), rate(0.9, 100), rate(0.8, 300))
    assert share.value == pytest.approx((0.35 + 0.8 - 1) / (0.9 + 0.8 - 1))
    assert true_share(rate(0.05, 200), rate(0.9, 100), rate(0.8, 300)).value == 0.0
    assert true_share(rate(0.99, 200), rate(0.9, 100), rate(0.8, 300)).value == 1.0


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_the_interval_covers_the_true_share_in_95_of_100_studies(share: float) -> None:
    rng = np.random.default_rng(int(100 * share))
    se, sp, n, num_with, num_without = 0.92, 0.88, 150, 120, 400
    covered = 0
    for _ in range(2000):
        detected = rng.binomial(n, share * se + (1 - share) * (1 - sp)) / n
        found = rng.binomial(num_with, se) / num_with, rng.binomial(num_without, sp) / num_without
        _, low, high = true_share(rate(detected, n), rate(found[0], num_with), rate(found[1], num_without)).interval
        covered += low <= share <= high
    assert 0.93 <= covered / 2000 <= 0.985


def test_a_detector_near_chance_gives_no_share() -> None:
    share = true_share(rate(0.4, 200), rate(0.7, 100), rate(0.7, 100))
    assert share.reason == "the detector has sensitivity 0.70 and specificity 0.70; needs a sum of 1.5"
    none = Measure.not_measurable("3 samples requested so; needs 10", 3)
    assert true_share(none, rate(0.9, 100), rate(0.9, 100)).reason == "3 samples requested so; needs 10"

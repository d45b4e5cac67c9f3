"""The interval of the calibration error follows its bias, which simulation confirms."""

import numpy as np
import pytest
from scipy.stats import norm

from synfundus.measures.calibration import ece_interval, largest_bias
from synfundus.measures.statistics import ece


def test_bias_of_calibrated_probabilities_is_that_of_simulated_studies() -> None:
    """If all gaps are 0, the estimate is all bias; the bound of one study is near it."""
    rng = np.random.default_rng(0)
    estimates, bounds = [], []
    for _ in range(200):
        p = rng.random(400)
        y = (rng.random(400) < p).astype(int)
        estimates.append(ece(y, p).value)
        bounds.append(largest_bias(y, p, np.arange(400)))
    assert np.mean(bounds) == pytest.approx(np.mean(np.asarray(estimates, float)), rel=0.1)


def test_gaps_far_above_their_noise_have_no_bias() -> None:
    rng = np.random.default_rng(1)
    p = np.repeat([0.05, 0.95], 1000)
    y = (rng.random(2000) < 0.5).astype(int)
    assert largest_bias(y, p, np.arange(2000)) < 1e-6


def test_repeated_images_of_a_patient_do_not_lower_the_bias() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(200)
    y = (rng.random(200) < p).astype(int)
    once = largest_bias(y, p, np.arange(200))
    thrice = largest_bias(np.repeat(y, 3), np.repeat(p, 3), np.repeat(np.arange(200), 3))
    assert thrice == pytest.approx(once, rel=1e-9)


def test_interval_without_bias_is_normal_and_with_much_bias_one_sided() -> None:
    """Imbens & Manski 2004: 1.96 standard errors if the range is a point, 1.645 beyond the ends of a wide one."""
    assert ece_interval(0.3, 0.01, 0.0, norm.ppf(0.975)) == pytest.approx((0.3 - 0.0196, 0.3 + 0.0196), abs=1e-4)
    assert ece_interval(0.3, 0.01, 0.1, norm.ppf(0.975)) == pytest.approx((0.2 - 0.01645, 0.3 + 0.01645), abs=1e-4)
    assert ece_interval(0.02, 0.01, 0.1, norm.ppf(0.975))[0] == 0.0
    assert ece_interval(0.2, 0.0, 0.0, norm.ppf(0.975)) == (0.2, 0.2)


def test_interval_of_calibrated_probabilities_reaches_to_0() -> None:
    rng = np.random.default_rng(3)
    reached = 0
    for _ in range(200):
        p = rng.random(150)
        measure = ece((rng.random(150) < p).astype(int), p)
        assert (measure.value or 0.0) > 0.03  # all of it bias
        reached += measure.low == 0.0
    assert reached >= 0.93 * 200

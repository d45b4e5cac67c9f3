"""Steps to 95 % of a final validation AUC, by hand-made curves."""

import pytest
from scipy.stats import ttest_1samp

from synfundus.transfer.convergence import own_steps, steps_difference, steps_to
from synfundus.transfer.records import CurvePoint


def curve(*aucs: float) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(step=10 * (i + 1), auc=auc) for i, auc in enumerate(aucs))


def test_the_first_step_at_95_percent_counts() -> None:
    rising = curve(0.5, 0.7, 0.76, 0.75, 0.8)
    assert own_steps(rising) == 30  # 0.95 x 0.8 = 0.76
    assert steps_to(rising, 0.7) == 20
    assert steps_to(rising, 0.9) is None
    assert own_steps(curve(0.5)) == 10


def test_a_curve_that_ends_low_is_not_called_fast() -> None:
    """An arm that learns nothing reaches 95 % of its own end at once, but never 95 % of the reference's end."""
    flat, rising = curve(0.5, 0.5, 0.5), curve(0.5, 0.7, 0.8)
    assert own_steps(flat) < own_steps(rising)
    difference = steps_difference({0: flat, 1: flat}, {0: rising, 1: rising})
    assert difference.reason == "2 of 2 models never reach that AUC"


def test_the_difference_in_steps_has_students_interval_over_the_seeds() -> None:
    slow = {seed: curve(0.5, 0.6, 0.7, 0.7, 0.8) for seed in range(3)}
    fast = {0: curve(0.8, 0.8), 1: curve(0.6, 0.8), 2: curve(0.6, 0.7, 0.8)}
    found = steps_difference(fast, slow)
    gaps = [10 - 50, 20 - 50, 30 - 50]
    expected = ttest_1samp(gaps, 0.0).confidence_interval(0.95)
    assert found.interval == pytest.approx((-30.0, expected.low, expected.high))
    assert found.n == 3


def test_seeds_that_agree_on_the_grid_of_steps_give_no_interval_without_a_width() -> None:
    slow = {seed: curve(0.5, 0.6, 0.7, 0.7, 0.8) for seed in range(3)}
    fast = {seed: curve(0.5, 0.6, 0.8) for seed in range(3)}
    found = steps_difference(fast, slow)
    assert not found.measurable
    assert found.reason == "-20 steps for each of 3 seeds; measurements are too far apart for an interval"


def test_one_seed_gives_no_difference_in_steps() -> None:
    found = steps_difference({0: curve(0.8)}, {0: curve(0.8), 1: curve(0.8)})
    assert found.reason == "needs 2 seeds, has 1"

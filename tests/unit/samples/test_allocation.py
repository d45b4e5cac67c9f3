"""Whole numbers of samples add up exactly, and balancing raises rare values."""

import numpy as np
import pytest

from synfundus.labels import LABEL_NAMES
from synfundus.samples.allocation import allocate, balance
from synfundus.samples.combinations import Combination


def _combination(weight: float, **labels: int) -> Combination:
    return Combination(tuple(labels.get(name) for name in LABEL_NAMES), weight)


def test_allocation_is_exact_and_proportional() -> None:
    assert allocate([1, 1, 1], 10) == [4, 3, 3]
    assert allocate([0.5, 0.25, 0.25], 8) == [4, 2, 2]
    assert sum(allocate([0.1, 0.7, 0.123, 5.5], 1_000_003)) == 1_000_003


def test_balance_gives_each_value_of_a_label_the_same_share() -> None:
    shares = [c.weight for c in balance([_combination(90.0, eye_side=0), _combination(10.0, eye_side=1)])]
    assert shares[0] == pytest.approx(shares[1])


def test_balance_raises_each_rare_value_to_a_part_of_an_equal_share() -> None:
    """Two labels vary, so two of 16 distributions count; in one of them a rare value has a share of 1/2."""
    combinations = [
        _combination(980.0, eye_side=0, is_gc=0),
        _combination(15.0, eye_side=1, is_gc=0),
        _combination(5.0, eye_side=1, is_gc=1),
    ]
    weights = np.array([c.weight for c in balance(combinations)])
    side, glaucoma = weights[1:].sum() / weights.sum(), weights[2] / weights.sum()
    assert glaucoma == pytest.approx((0.5 * 5 / 20 + 0.5) / 2)  # 0.5 % before
    assert side == pytest.approx((0.5 + 0.5 * 15 / 995 + 0.5) / 2)  # 2 % before

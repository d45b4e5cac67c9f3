"""Holm's correction equals statsmodels', and keeps the chance of any false finding."""

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from synfundus.measures.multiplicity import holm


def test_corrected_p_values_equal_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 40):
        p = np.round(rng.random(size) ** 3, 2)  # rounded: ties
        assert holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1], rel=1e-12)


def test_a_comparison_that_is_not_measurable_is_no_part_of_the_family() -> None:
    assert holm([0.01, None, 0.04]) == [0.02, None, 0.04]
    assert holm([None]) == [None]
    assert holm([]) == []


def test_any_false_finding_stays_below_5_percent() -> None:
    """20 dependent comparisons, none with a difference."""
    rng = np.random.default_rng(1)
    z = np.sqrt(0.5) * rng.normal(size=(4000, 1)) + np.sqrt(0.5) * rng.normal(size=(4000, 20))
    p = 2 * norm.sf(np.abs(z))
    found = sum(any(corrected is not None and corrected < 0.05 for corrected in holm(row.tolist())) for row in p)
    assert (p < 0.05).any(axis=1).mean() > 0.3
    assert found <= 0.055 * 4000


def test_a_p_value_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="P values"):
        holm([0.2, 1.2])
    with pytest.raises(ValueError, match="P values"):
        holm([float("nan")])

"""The Vendi score equals the published examples and its closed forms."""

import numpy as np
import pytest

from synfundus.measures.vendi import vendi_score


def _cosines(features_ND: np.ndarray) -> np.ndarray:
    """Return the cosines of all pairs of features, (N, N)."""
    unit_ND = features_ND / np.linalg.norm(features_ND, axis=1)[:, None]
    return np.asarray(unit_ND @ unit_ND.T)


def test_score_equals_the_published_examples() -> None:
    """Examples of the authors' package: github.com/vertaix/Vendi-Score."""
    numbers = np.array([0, 0, 10, 10, 20, 20])
    score = vendi_score(np.exp(-np.abs(numbers[:, None] - numbers)))
    assert 2.9999 < score < 3.0  # published with four digits, cut off
    three = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert vendi_score(three) == pytest.approx(2.1573, abs=5e-5)


def test_score_counts_different_images() -> None:
    assert vendi_score(np.eye(7)) == pytest.approx(7.0, rel=1e-12)
    assert vendi_score(_cosines(np.repeat(np.eye(7), 5, axis=0))) == pytest.approx(7.0, rel=1e-9)
    assert vendi_score(np.ones((20, 20))) == pytest.approx(1.0, rel=1e-9)


def test_a_collapsed_set_scores_lower_than_a_varied_one() -> None:
    rng = np.random.default_rng(1)
    varied = rng.normal(size=(200, 16))
    collapsed = varied[rng.integers(0, 5, 200)] + rng.normal(0, 0.05, (200, 16))
    assert vendi_score(_cosines(collapsed)) < 0.5 * vendi_score(_cosines(varied))

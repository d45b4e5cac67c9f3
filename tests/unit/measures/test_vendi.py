"""The Vendi score equals the published examples and its closed forms."""

import numpy as np
import pytest

from synfundus.measures.vendi import vendi_score


def _features(similarity: np.ndarray) -> np.ndarray:
    """Return unit vectors with these dot products."""
    values, vectors = np.linalg.eigh(similarity)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def test_score_equals_the_published_examples() -> None:
    """Examples of the authors' package: github.com/vertaix/Vendi-Score."""
    numbers = np.array([0, 0, 10, 10, 20, 20])
    score = vendi_score(_features(np.exp(-np.abs(numbers[:, None] - numbers))))
    assert 2.9999 < score < 3.0  # published with four digits, cut off
    three = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert vendi_score(_features(three)) == pytest.approx(2.1573, abs=5e-5)


def test_score_counts_different_images() -> None:
    assert vendi_score(np.eye(7)) == pytest.approx(7.0, rel=1e-12)
    assert vendi_score(np.repeat(np.eye(7), 5, axis=0)) == pytest.approx(7.0, rel=1e-9)
    assert vendi_score(np.ones((20, 3))) == pytest.approx(1.0, rel=1e-9)


def test_score_is_the_same_by_images_and_by_features_and_at_any_scale() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 40)) + 1.0
    padded = np.pad(x, ((0, 0), (0, 10)))
    assert vendi_score(padded) == pytest.approx(vendi_score(x), rel=1e-9)
    assert vendi_score(x * rng.uniform(0.1, 9.0, (40, 1))) == pytest.approx(vendi_score(x), rel=1e-9)


def test_a_collapsed_set_scores_lower_than_a_varied_one() -> None:
    rng = np.random.default_rng(1)
    varied = rng.normal(size=(200, 16))
    collapsed = varied[rng.integers(0, 5, 200)] + rng.normal(0, 0.05, (200, 16))
    assert vendi_score(collapsed) < 0.5 * vendi_score(varied)


def test_features_without_length_are_refused() -> None:
    with pytest.raises(ValueError, match="not all 0"):
        vendi_score(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="not all 0"):
        vendi_score(np.empty((0, 4)))

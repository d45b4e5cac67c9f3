"""The annotator's word against the conditions: figures of scikit-learn, permuted conditions at chance, honest gaps."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from synfundus.evaluation.consistency import CANNOT_TELL, consistency_section
from synfundus.labels import LABEL_NAMES
from synfundus.measures.statistics import roc_band, roc_curve

N = 400
SIDE, DR, EM, GC = (LABEL_NAMES.index(name) for name in ("eye_side", "dr_grade", "is_em", "is_gc"))


def _section() -> tuple[dict[str, dict[str, Any]], NDArray[np.int8], NDArray[np.int8], NDArray[np.float32]]:
    """Side follows the request, grades mostly, glaucoma not at all; the annotator cannot tell the membrane."""
    rng = np.random.default_rng(0)
    asked = rng.integers(0, 2, (N, len(LABEL_NAMES))).astype(np.int8)
    asked[:, DR] = rng.integers(0, 5, N)
    asked[:50, GC] = -1
    seen, score = asked.copy(), rng.random((N, len(LABEL_NAMES))).astype(np.float32)
    wrong = rng.random(N) < 0.1
    seen[wrong, DR] = rng.integers(0, 5, int(wrong.sum()))
    score[:, SIDE] = np.clip(asked[:, SIDE] * 0.6 + rng.random(N) * 0.4, 0, 1)
    seen[:, EM], score[:, EM] = -1, np.nan
    section = consistency_section(asked, seen, score, {"is_em": "AUC 0.5"}, seed=0)
    return section["labels"], asked, seen, score


def test_figures_are_those_of_scikit_learn_on_the_known_rows() -> None:
    labels, asked, seen, score = _section()
    known = asked[:, GC] >= 0
    gc = labels["is_gc"]["asked"]
    assert gc["value"] == pytest.approx(roc_auc_score(asked[known, GC], score[known, GC]), rel=1e-9)
    assert gc["n"] == N - 50
    kappa = cohen_kappa_score(asked[:, DR], seen[:, DR], weights="quadratic")
    assert labels["dr_grade"]["asked"]["value"] == pytest.approx(kappa, rel=1e-9)
    assert labels["dr_grade"]["agreement"]["value"] == pytest.approx(np.mean(asked[:, DR] == seen[:, DR]))
    assert np.trace(labels["dr_grade"]["confusion"]) == np.sum(asked[:, DR] == seen[:, DR])


def test_what_follows_the_request_beats_permuted_conditions_and_what_does_not_does_not() -> None:
    labels = _section()[0]
    assert labels["eye_side"]["beats_permuted"] is True
    assert labels["dr_grade"]["beats_permuted"] is True
    assert labels["is_gc"]["beats_permuted"] is False
    chance = [e["permuted"] for e in labels.values() if e["beats_permuted"] is not None and e["statistic"] == "auc"]
    holds = [measure["low"] < 0.5 < measure["high"] for measure in chance]
    assert len(holds) == 14
    assert sum(holds) >= 12  # each interval misses chance once in twenty times


def test_a_label_that_the_annotator_cannot_tell_has_no_number() -> None:
    entry = _section()[0]["is_em"]
    for name in ("asked", "permuted", "agreement", "agreement_permuted"):
        assert entry[name] == {"status": "not measurable", "reason": CANNOT_TELL, "n": N}
    assert entry["beats_permuted"] is None
    assert entry["roc"] is None


def test_a_label_asked_with_one_value_only_has_no_auc() -> None:
    asked = np.zeros((60, len(LABEL_NAMES)), np.int8)
    section = consistency_section(asked, asked, np.full(asked.shape, 0.1, np.float32), {}, seed=0)
    entry = section["labels"]["is_gc"]
    assert entry["asked"]["status"] == "not measurable"
    assert "needs both classes" in entry["asked"]["reason"]


def test_a_side_that_is_not_told_does_not_agree() -> None:
    """Where the annotator sees no fundus, it names no side; leaving those rows out would flatter the generator."""
    asked = np.zeros((100, len(LABEL_NAMES)), np.int8)
    asked[:50, SIDE] = 1
    seen = asked.copy()
    seen[:10, SIDE] = -1
    section = consistency_section(asked, seen, np.where(asked > 0, 0.9, 0.1).astype(np.float32), {}, seed=0)
    assert section["labels"]["eye_side"]["agreement"]["value"] == pytest.approx(0.9)


def test_roc_band_holds_the_true_curve_at_each_point() -> None:
    """Scores N(1, 1) against N(0, 1): the true curve is known; 95 % of the bands hold it at a rate of 0.2."""
    from scipy.stats import norm

    truth = norm.sf(norm.isf(0.2) - 1.0)
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y = np.r_[np.ones(60), np.zeros(60)].astype(int)
        rate, sensitivity, low, high = roc_band(y, rng.normal(y.astype(float), 1.0))
        assert np.all(low <= sensitivity)
        assert np.all(sensitivity <= high)
        held += low[20] <= truth <= high[20]
        assert rate[20] == pytest.approx(0.2)
    assert held >= 0.95 * 200


def test_roc_band_is_around_the_curve() -> None:
    y, score = np.array([0, 1, 0, 1, 1, 0]), np.array([0.1, 0.8, 0.4, 0.35, 0.9, 0.5])
    np.testing.assert_array_equal(roc_band(y, score)[1], roc_curve(y, score)[1])

"""Operating points, against closed forms of two Gaussian score distributions and against scikit-learn."""

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.metrics import cohen_kappa_score, precision_score, roc_auc_score, roc_curve

from synfundus.diagnosis.config import OperatingPointConfig, OperatingPointsConfig, Rule
from synfundus.diagnosis.counts import LabelCounts
from synfundus.diagnosis.fitting import fit_calibration
from synfundus.diagnosis.held_out import Predictions
from synfundus.diagnosis.operating_fit import choose_threshold, fit_operating_points
from synfundus.diagnosis.operating_points import OperatingPoints
from synfundus.labels import HEADS, LABEL_NAMES, NUM_LABELS, NUM_VALUES, FloatArray

Labels = NDArray[np.int64]
GC = HEADS["is_gc"].start
DISTANCE = float(np.sqrt(2) * norm.ppf(0.95))
"""Distance of the two Gaussians, in standard deviations, at which the AUC is 0.95."""
RARE = 0.01


def binormal(n: int, seed: int, prevalence: float) -> tuple[Labels, NDArray[np.float64]]:
    """Return labels and scores of AUC 0.95; exactly the share `prevalence` is positive."""
    y = (np.arange(n) < round(prevalence * n)).astype(np.int64)
    return y, DISTANCE * y + np.random.default_rng(seed).normal(size=n)


def matched_threshold(prevalence: float) -> float:
    """Return the score that a share `prevalence` of a population with that prevalence reaches, in closed form."""

    def excess(t: float) -> float:
        return float(prevalence * norm.sf(t - DISTANCE) + (1 - prevalence) * norm.sf(t) - prevalence)

    return float(brentq(excess, -6.0, 9.0))


def glaucoma(y: Labels, score: NDArray[np.float64]) -> Predictions:
    """Return predictions in which only glaucoma has labels and logits."""
    n = len(y)
    p_BV, expert_BK = np.zeros((n, NUM_VALUES), np.float32), np.zeros((n, NUM_LABELS), np.bool_)
    logit_BV = np.full((n, NUM_VALUES), np.nan, np.float32)
    p_BV[:, GC], logit_BV[:, GC] = y, score
    expert_BK[:, LABEL_NAMES.index("is_gc")] = True
    return Predictions(logit_BV, p_BV, expert_BK, [str(i) for i in range(n)])


def annotate(config: OperatingPointConfig, *, seed: int) -> tuple[Labels, Labels]:
    """Return labels and annotations of 200 000 new images, calibrated on 20 000 validation images at 1 %."""
    validation = glaucoma(*binormal(20_000, seed, RARE))
    y, score = binormal(200_000, seed + 100, RARE)
    calibration = fit_calibration(validation, None)
    points = fit_operating_points({"is_gc": config}, calibration, validation)
    return y, points.binary("is_gc", calibration.probabilities(glaucoma(y, score).logit_BV))


def test_matched_prevalence_annotates_as_many_as_there_are_where_youden_annotates_14_times_as_many() -> None:
    ratios: dict[Rule, list[float]] = {"youden": [], "matched-prevalence": []}
    ppv: dict[Rule, list[float]] = {"youden": [], "matched-prevalence": []}
    for rule, found in ratios.items():
        for seed in range(5):
            y, annotated = annotate(OperatingPointConfig(rule=rule), seed=seed)
            found.append(float(annotated.mean() / y.mean()))
            ppv[rule].append(float(precision_score(y, annotated)))
    # Youden: half-way between the Gaussians, so sensitivity = specificity = 0.878.
    rate = norm.cdf(DISTANCE / 2)
    assert (RARE * rate + (1 - RARE) * (1 - rate)) / RARE == pytest.approx(13.0, abs=0.01)
    assert np.mean(ratios["youden"]) == pytest.approx(14, abs=2)
    assert np.mean(ppv["youden"]) == pytest.approx(0.06, abs=0.01)
    # Matched: the threshold at which p se + (1 - p)(1 - sp) = p. There, PPV equals the sensitivity.
    threshold = matched_threshold(RARE)
    assert np.mean(ratios["matched-prevalence"]) == pytest.approx(1.0, abs=0.05)
    assert np.mean(ppv["matched-prevalence"]) == pytest.approx(norm.sf(threshold - DISTANCE), abs=0.03)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"is_gx": {}}, "operating_points: 'is_gx' is not a label"),
        (
            {"is_gc": {"rule": "minimum-ppv"}},
            "minimum: required by minimum-ppv and minimum-sensitivity, refused by other rules",
        ),
        (
            {"is_gc": {"minimum": 0.5}},
            "minimum: required by minimum-ppv and minimum-sensitivity, refused by other rules",
        ),
        ({"is_gc": {"prevalence": 1.5}}, "is_gc.prevalence: expected a share between 0 and 1"),
        ({"is_gc": {"prevalence": [0.5, 0.5]}}, "is_gc.prevalence: expected a share between 0 and 1"),
        ({"dr_grade": {"prevalence": 0.1}}, "dr_grade.prevalence: expected 5 shares with the sum 1, one per grade"),
        ({"dr_grade": {"prevalence": [0.5, 0.5, 0.5, 0, 0]}}, "dr_grade.prevalence: expected 5 shares with the sum 1"),
        ({"is_gc": {"rules": "youden"}}, "did you mean 'rule'"),
    ],
)
def test_a_wrong_operating_point_is_refused_with_its_remedy(point: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        TypeAdapter(OperatingPointsConfig).validate_python(point)


@pytest.mark.parametrize("prevalence", [0.01, 0.2, 0.7])
def test_a_stated_prevalence_is_matched_whatever_the_share_of_positives_in_validation(prevalence: float) -> None:
    y, score = binormal(40_000, 0, 0.4)
    threshold, reason = choose_threshold(OperatingPointConfig(), y, score, prevalence, 0.0)
    assert threshold == pytest.approx(matched_threshold(prevalence), abs=0.1)
    assert reason is None


def test_minimum_ppv_is_met_at_the_assumed_prevalence_by_the_most_sensitive_threshold() -> None:
    """At 40 % positives in validation nearly every threshold has PPV 0.5; at the assumed 1 % few have."""
    y, score = binormal(40_000, 0, 0.4)
    config = OperatingPointConfig(rule="minimum-ppv", minimum=0.5)
    threshold, _ = choose_threshold(config, y, score, RARE, 0.0)
    assert threshold is not None
    weights = np.where(y == 1, RARE / y.mean(), (1 - RARE) / (1 - y.mean()))
    assert 0.5 <= precision_score(y, score >= threshold, sample_weight=weights) < 0.51
    closed = brentq(lambda t: RARE * norm.sf(t - DISTANCE) / ((1 - RARE) * norm.sf(t)) - 1.0, 0.0, 6.0)
    assert threshold == pytest.approx(closed, abs=0.1)


def test_minimum_sensitivity_is_met_by_the_highest_threshold() -> None:
    y, score = binormal(40_000, 0, 0.4)
    threshold, _ = choose_threshold(OperatingPointConfig(rule="minimum-sensitivity", minimum=0.9), y, score, RARE, 0.0)
    assert threshold is not None
    assert threshold == pytest.approx(DISTANCE + norm.ppf(0.1), abs=0.05)
    assert (score[y == 1] >= threshold).mean() >= 0.9
    assert (score[y == 1] > np.sort(score[score > threshold])[0]).mean() < 0.9 + 1 / y.sum()


def test_youden_is_the_best_point_of_the_roc_curve() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 200)
    score = rng.normal(size=200) + y
    threshold, _ = choose_threshold(OperatingPointConfig(rule="youden"), y, score, 0.5, 0.0)
    ours = (score[y == 1] >= threshold).mean() + (score[y == 0] < threshold).mean() - 1
    fpr, tpr, _ = roc_curve(y, score)
    assert ours == pytest.approx((tpr - fpr).max())


def test_among_equal_thresholds_of_youden_the_nearest_to_a_half_wins() -> None:
    youden = OperatingPointConfig(rule="youden")
    four = np.array([0.1, 0.2, 0.8, 0.9])
    assert choose_threshold(youden, np.array([0, 0, 1, 1]), four, 0.5, 0.5) == (0.5, None)
    # 0.2 and 0.825 are equally good: each separates one of four images correctly.
    threshold, _ = choose_threshold(youden, np.array([0, 1, 0, 1]), np.array([0.1, 0.3, 0.7, 0.95]), 0.5, 0.5)
    assert threshold == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("config", "score", "reason"),
    [
        (
            OperatingPointConfig(rule="minimum-ppv", minimum=0.9),
            [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
            "no threshold has a PPV of 0.9 at prevalence 0.1; the best on 6 validation images is 0.13",
        ),
        (
            OperatingPointConfig(rule="minimum-sensitivity", minimum=0.9),
            [0.2, 0.1, 0.3, 0.4, 0.5, 0.6],
            "a sensitivity of 0.9 needs all 6 validation images annotated 1",
        ),
        (
            OperatingPointConfig(),
            [0.0, 0.0, 1.0, 1.0, 1.0, 1.0],
            "no threshold annotates a share of 0.1; the nearest share on 6 validation images is 0.667",
        ),
        (OperatingPointConfig(), [0.5] * 6, "all 6 validation images have the same score"),
    ],
)
def test_a_rule_that_no_threshold_meets_gives_its_reason(
    config: OperatingPointConfig, score: list[float], reason: str
) -> None:
    y = np.array([0, 1, 0, 1, 1, 0])
    assert choose_threshold(config, y, np.array(score), 0.1, 0.5) == (None, reason)


def test_a_label_whose_rule_is_not_met_is_annotated_null_and_keeps_its_probability() -> None:
    y, score = binormal(2_000, 0, 0.4)
    validation = glaucoma(y, score)
    calibration = fit_calibration(validation, None)
    strict = OperatingPointConfig(rule="minimum-ppv", minimum=0.999, prevalence=1e-6)
    points = fit_operating_points({"is_gc": strict}, calibration, validation)
    p_BV = calibration.probabilities(validation.logit_BV)
    assert all(row["is_gc"] is None for row in points.annotate(p_BV))
    assert np.isfinite(p_BV[:, GC]).all()
    assert points.unmet["is_gc"].startswith("no threshold has a PPV of 0.999 at prevalence 1e-06")


def test_matched_prevalence_takes_the_nearest_share_by_ratio() -> None:
    """The two highest thresholds have the shares 0.0005 and 0.0097; the first is nearer to 0.005 in absolute terms."""
    y = np.concatenate([np.repeat([0, 1], [107, 10]), [0, 1]])
    score = np.arange(119.0)
    assert choose_threshold(OperatingPointConfig(), y, score, 0.005, 0.0) == (116.5, None)
    flipped = choose_threshold(OperatingPointConfig(), 1 - y[::-1], score, 0.995, 0.0)
    assert flipped == (1.5, None)


@pytest.mark.parametrize(
    "config",
    [
        OperatingPointConfig(),
        OperatingPointConfig(rule="youden"),
        OperatingPointConfig(rule="minimum-sensitivity", minimum=0.5),
    ],
)
def test_an_image_without_a_score_moves_no_threshold(config: OperatingPointConfig) -> None:
    y, score = binormal(200, 0, 0.4)
    more_y, more_score = np.concatenate([y, np.ones(100, np.int64)]), np.concatenate([score, np.full(100, np.nan)])
    assert choose_threshold(config, more_y, more_score, 0.4, 0.0) == choose_threshold(config, y, score, 0.4, 0.0)


SHARES = np.array([0.45, 0.15, 0.30, 0.06, 0.04])
CUTS = norm.ppf(np.cumsum(SHARES)[:-1])


def shrunken(n: int, seed: int) -> tuple[Predictions, Labels]:
    """Return predictions of an annotator that ranks well (AUC of grade 2 or more 0.86), and the grades.

    Its logits are three times too small, and only the head of grade 2 or more has learnt anything: the others are
    noise, as in the run on real photographs, where few images have high grades.
    """
    rng = np.random.default_rng(seed)
    severity = rng.normal(size=n)
    grade = np.searchsorted(CUTS, severity)
    seen = 0.75 * severity + np.sqrt(1 - 0.75**2) * rng.normal(size=n)
    p_BV, expert_BK = np.zeros((n, NUM_VALUES), np.float32), np.zeros((n, NUM_LABELS), np.bool_)
    logit_BV = np.full((n, NUM_VALUES), np.nan, np.float32)
    p_BV[:, :4], expert_BK[:, 0] = grade[:, None] > np.arange(4), True
    logit_BV[:, :4] = rng.normal(size=(n, 4))
    logit_BV[:, 1] = 0.6 * (seen - CUTS[1])
    return Predictions(logit_BV, p_BV, expert_BK, [str(i) for i in range(n)]), grade


def graded(rule: Rule = "matched-prevalence", *, seed: int = 0) -> tuple[Labels, Labels, FloatArray, OperatingPoints]:
    """Return grades, annotated grades, P(grade >= k) and operating points of 20 000 new images.

    600 images give the base rates of training, and 120 the thresholds.
    """
    validation, _ = shrunken(120, seed)
    training, _ = shrunken(600, seed + 1000)
    images, grade = shrunken(20_000, seed + 2000)
    counts = LabelCounts(training.expert_BK, training.p_BV.sum(axis=0).astype(np.int64))
    calibration = fit_calibration(validation, counts)
    points = fit_operating_points({"dr_grade": OperatingPointConfig(rule=rule)}, calibration, validation)
    p_BV = calibration.probabilities(images.logit_BV)
    return grade, points.grades(p_BV), p_BV[:, :4], points


def test_grades_follow_their_distribution_where_the_rounded_expected_grade_piles_up_at_1() -> None:
    kappas: list[float] = []
    rounded_kappas: list[float] = []
    shares: list[NDArray[np.float64]] = []
    rounded_shares: list[NDArray[np.float64]] = []
    for seed in range(5):
        grade, annotated, p_B4, _ = graded(seed=seed)
        rounded = np.floor(p_B4.sum(axis=1) + 0.5).astype(np.int64)
        assert roc_auc_score(grade >= 2, p_B4[:, 1]) == pytest.approx(0.86, abs=0.01)
        for found, values in ((shares, annotated), (rounded_shares, rounded)):
            found.append(np.bincount(values, minlength=5) / len(values))
        kappas.append(cohen_kappa_score(grade, annotated, weights="quadratic"))
        rounded_kappas.append(cohen_kappa_score(grade, rounded, weights="quadratic"))
    # The fault: a half of the images is graded 1, of which there are 15 %, and none 3 or 4.
    assert np.mean(rounded_shares, axis=0)[1] > 0.4
    assert np.mean(rounded_shares, axis=0)[3:].sum() < 0.01
    np.testing.assert_allclose(np.mean(shares, axis=0), SHARES, atol=0.06)
    assert np.mean(shares, axis=0)[3:].sum() == pytest.approx(0.10, abs=0.04)
    assert np.mean(kappas) > np.mean(rounded_kappas) + 0.05


@pytest.mark.parametrize("rule", ["matched-prevalence", "youden"])
def test_grades_keep_the_order_of_the_expected_grades(rule: Rule) -> None:
    _, annotated, p_B4, points = graded(rule)
    order = np.argsort(p_B4.sum(axis=1, dtype=np.float64), kind="stable")
    assert (np.diff(annotated[order]) >= 0).all()
    thresholds = [points.heads[f"dr_grade>={k}"].threshold for k in (1, 2, 3, 4)]
    assert thresholds == sorted(float(t) for t in thresholds if t is not None)


def test_every_grade_has_its_minimum_sensitivity_although_thresholds_are_in_order() -> None:
    """The threshold of grade 1 or more is naturally the higher one: a sixth of grade 2 scores lower than all of 1."""
    grade = np.repeat([0, 1, 2], [100, 50, 50])
    seen = np.concatenate([np.linspace(-3, -1, 100), np.linspace(1, 2, 50), np.linspace(-1.5, 0, 8), np.full(42, 3.0)])
    p_BV, expert_BK = np.zeros((200, NUM_VALUES), np.float32), np.zeros((200, NUM_LABELS), np.bool_)
    logit_BV = np.full((200, NUM_VALUES), np.nan, np.float32)
    p_BV[:, :4], expert_BK[:, 0], logit_BV[:, :4] = grade[:, None] > np.arange(4), True, seen[:, None]
    validation = Predictions(logit_BV, p_BV, expert_BK, [str(i) for i in range(200)])
    calibration = fit_calibration(validation, None)
    config = OperatingPointConfig(rule="minimum-sensitivity", minimum=0.9)
    points = fit_operating_points({"dr_grade": config}, calibration, validation)
    thresholds = [points.heads[f"dr_grade>={k}"].threshold for k in (1, 2)]
    annotated = points.grades(calibration.probabilities(logit_BV))
    assert thresholds == sorted(float(t) for t in thresholds if t is not None)
    assert [(annotated[grade >= k] >= k).mean() >= 0.9 for k in (1, 2)] == [True, True]


def test_a_stated_distribution_of_grades_is_matched() -> None:
    validation, _ = shrunken(5_000, 0)
    images, _ = shrunken(20_000, 1)
    calibration = fit_calibration(validation, None)
    healthy = OperatingPointConfig(prevalence=(0.9, 0.05, 0.03, 0.015, 0.005))
    points = fit_operating_points({"dr_grade": healthy}, calibration, validation)
    assert points.heads["dr_grade>=2"].prevalence == pytest.approx(0.05)
    # Reweighted to the stated distribution, the annotated grades have it.
    p_BV = calibration.probabilities(images.logit_BV)
    positive = images.p_BV[:, 1] == 1
    at_least_2 = points.grades(p_BV) >= 2
    share = 0.05 * at_least_2[positive].mean() + 0.95 * at_least_2[~positive].mean()
    assert share == pytest.approx(0.05, abs=0.01)


def test_grades_without_a_0_are_all_1_or_more_whatever_the_rounding_of_their_shares() -> None:
    validation, _ = shrunken(400, 0)
    shares = (0.0, 0.7, 0.1, 0.1, 0.1)
    assert sum(shares) < 1.0
    points = fit_operating_points(
        {"dr_grade": OperatingPointConfig(prevalence=shares)}, fit_calibration(validation, None), validation
    )
    first = points.heads["dr_grade>=1"]
    assert (first.prevalence, first.threshold, first.reason) == (1.0, 0.0, None)


def test_a_grade_that_training_lacks_is_never_annotated() -> None:
    validation, _ = shrunken(400, 0)
    rates = validation.p_BV.sum(axis=0).astype(np.int64)
    rates[3] = 0
    calibration = fit_calibration(validation, LabelCounts(validation.expert_BK, rates))
    points = fit_operating_points({}, calibration, validation)
    assert points.heads["dr_grade>=4"].reason == "the assumed prevalence of grade 4 or more is 0"
    assert "dr_grade" not in points.unmet
    assert points.grades(calibration.probabilities(validation.logit_BV)).max() == 3


def test_the_most_probable_grade_is_the_mode_of_the_distribution() -> None:
    _, annotated, p_B4, points = graded("most-probable")
    edges = np.concatenate([np.ones((len(p_B4), 1)), p_B4, np.zeros((len(p_B4), 1))], axis=1)
    np.testing.assert_array_equal(annotated, np.argmax(-np.diff(edges, axis=1), axis=1))
    assert points.unmet == {}


def test_few_images_without_a_false_alarm_do_not_show_a_high_ppv_at_a_low_prevalence() -> None:
    """Separable: 10 positives above 100 negatives. At 1 % the most that 100 negatives can show is PPV 0.505."""
    y = np.repeat([0, 1], [100, 10])
    score = np.arange(110.0)
    threshold, _ = choose_threshold(OperatingPointConfig(rule="minimum-ppv", minimum=0.5), y, score, RARE, 0.0)
    assert threshold == 99.5
    unmet, reason = choose_threshold(OperatingPointConfig(rule="minimum-ppv", minimum=0.8), y, score, RARE, 0.0)
    assert unmet is None
    assert str(reason).endswith("the best on 110 validation images is 0.51")

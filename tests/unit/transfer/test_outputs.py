"""Calibration and decisions of a model come from validation alone, by matched prevalence."""

from dataclasses import replace

import numpy as np

from support.transfer_example import photographs, predict
from synfundus.labels import HEAD_NAMES, HEADS
from synfundus.measures.statistics import ece
from synfundus.transfer.outputs import DecisionRule
from synfundus.transfer.targets import TARGETS, metric_input

VALIDATION, TEST = photographs(200, 1), photographs(200, 2)
GLAUCOMA = HEADS["is_gc"].start


def test_as_many_validation_photographs_are_flagged_as_experts_label_positive() -> None:
    predictions = predict(VALIDATION, 1.0, 5)
    outputs = DecisionRule.fit(predictions).apply(predictions)
    for head in ("is_gc", "eye_side", "dr_grade>=1", "dr_grade>=2", "dr_grade>=3", "dr_grade>=4"):
        v = HEAD_NAMES.index(head)
        assert outputs.decision_NV[:, v].sum() == VALIDATION.p_NV[:, v].sum(), head


def test_decided_grades_do_not_increase_with_the_grade() -> None:
    for separation in (0.0, 0.3, 2.0):
        decided = DecisionRule.fit(predict(VALIDATION, separation, 6)).apply(predict(TEST, separation, 7)).decision_NV
        assert (np.diff(decided[:, HEADS["dr_grade"]], axis=1) <= 0).all()


def test_calibration_makes_overconfident_scores_honest() -> None:
    validation, test = predict(VALIDATION, 1.0, 5), predict(TEST, 1.0, 5)
    boastful = [replace(found, logit_BV=12.0 * found.logit_BV + 3.0) for found in (validation, test)]
    outputs = DecisionRule.fit(boastful[0]).apply(boastful[1])
    y = TEST.p_NV[:, GLAUCOMA]
    honest = ece(y, outputs.probability_NV[:, GLAUCOMA]).value
    raw = ece(y, 1 / (1 + np.exp(-boastful[1].logit_BV[:, GLAUCOMA].astype(np.float64)))).value
    assert honest is not None
    assert raw is not None
    assert honest < 0.1 < raw


def test_labels_of_a_test_set_change_no_output() -> None:
    rule, test = DecisionRule.fit(predict(VALIDATION, 1.0, 5)), predict(TEST, 1.0, 8)
    relabelled = replace(test, p_BV=1.0 - test.p_BV, expert_BK=~test.expert_BK)
    for first, second in zip(vars(rule.apply(test)).values(), vars(rule.apply(relabelled)).values(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_head_that_validation_does_not_determine_has_scores_only() -> None:
    predictions = predict(VALIDATION, 1.0, 5)
    outputs = DecisionRule.fit(predictions).apply(predictions)
    (target,) = [target for target in TARGETS if target.name == "is_amd"]  # no expert knows it in the example
    assert np.isfinite(metric_input(target, "auc", outputs)).all()
    for metric in ("accuracy", "ece"):
        assert np.isnan(metric_input(target, metric, outputs)).all()


def test_a_grade_without_validation_photographs_is_never_decided() -> None:
    images = photographs(200, 1)
    images.p_NV[:, HEADS["dr_grade"].stop - 1] = 0.0
    outputs = DecisionRule.fit(predict(images, 1.0, 5)).apply(predict(TEST, 1.0, 9))
    (target,) = [target for target in TARGETS if target.ordinal]
    assert set(metric_input(target, "quadratic_kappa", outputs)) == {0.0, 1.0, 2.0, 3.0}

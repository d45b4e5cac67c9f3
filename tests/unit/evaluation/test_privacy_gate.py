"""The privacy gate: each check fails beyond its limit and no sooner, and a verdict names its reasons."""

from typing import Any

import pytest
from scipy.stats import binomtest

from support.copies_example import EXAMPLE_METRICS
from support.measure_example import measure, measure_around
from support.metrics_example import example_metrics
from support.privacy_example import example_attack, example_audit
from synfundus.evaluation.privacy_gate import (
    MAX_AUC,
    MAX_EXCESS,
    MIN_FOUND,
    chance_nearness,
    privacy_verdict,
    recognises_few,
    succeeds,
)
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import MeasuredPrivacy, UnmeasuredPrivacy
from synfundus.measures.privacy import (
    CanaryShare,
    DetectionRate,
    LabelInference,
    MembershipAttack,
    MemorisationShare,
    PrivacyCheck,
    PrivacyVerdict,
)


def privacy(**changes: Any) -> MeasuredPrivacy:
    measured = example_metrics().privacy
    assert isinstance(measured, MeasuredPrivacy)
    return measured.model_copy(update=changes)


def failed(verdict: PrivacyVerdict) -> list[str]:
    return [check.title for check in verdict.checks if check.status == "failed"]


def check_of(verdict: PrivacyVerdict, title: str) -> PrivacyCheck:
    (check,) = (check for check in verdict.checks if check.title == title)
    return check


def finding(**found: Measure | None) -> MeasuredPrivacy:
    """Return privacy whose copy detector finds other shares; a kind of None was not measured."""
    shares = {**EXAMPLE_METRICS.found, **{name.replace("_", " "): share for name, share in found.items()}}
    measured = {kind: share for kind, share in shares.items() if share is not None}
    return privacy(detector=EXAMPLE_METRICS.model_copy(update={"found": measured}))


SEARCH = "Does the search find copies?"


@pytest.mark.parametrize("kind", ["mirrored", "JPEG_of_quality_50"])
@pytest.mark.parametrize(("high", "fails"), [(MIN_FOUND - 0.001, True), (MIN_FOUND + 0.001, False)])
def test_a_copy_detector_that_misses_mild_alterations_fails_the_images(kind: str, high: float, *, fails: bool) -> None:
    verdict = privacy_verdict(finding(**{kind: Measure.measured(0.85, 0.8, high, 200)}), example_audit())
    assert (check_of(verdict, SEARCH).status == "failed") == fails
    assert verdict.passed("images") == (not fails)


def test_a_collapsed_copy_detector_finds_nothing_and_fails_though_no_sample_counts_as_a_copy() -> None:
    nothing = Measure.measured(0.0, 0.0, 0.02, 200)
    verdict = privacy_verdict(finding(mirrored=nothing, JPEG_of_quality_50=nothing), example_audit())
    assert failed(verdict) == [SEARCH]
    assert "mirrored: 0.000 (0.000 to 0.020)" in verdict.reasons[0]


@pytest.mark.parametrize("share", [None, Measure.not_measurable("no image", 0)])
def test_a_copy_detector_that_was_not_measured_does_not_pass(share: Measure | None) -> None:
    verdict = privacy_verdict(finding(mirrored=share), example_audit())
    assert check_of(verdict, SEARCH).status == "not measurable"
    assert not verdict.passed("images")


def test_an_audit_without_findings_passes_for_images_and_weights() -> None:
    verdict = privacy_verdict(privacy(), example_audit())
    assert failed(verdict) == []
    assert verdict.passed("images")
    assert verdict.passed("weights")
    assert verdict.reasons == []


def test_one_released_copy_fails_the_images_and_with_them_the_weights() -> None:
    verdict = privacy_verdict(privacy(num_below=1), example_audit())
    assert failed(verdict) == ["Does a released image copy a photograph of a patient?"]
    assert not verdict.passed("images")
    assert not verdict.passed("weights")
    (reason,) = verdict.reasons
    assert reason.startswith("Does a released image copy a photograph of a patient? 1 of 800 accepted samples")


def test_near_samples_fail_only_if_they_are_more_frequent_than_near_photographs_of_other_people() -> None:
    limit = chance_nearness(privacy())
    assert limit == 0.05  # upper bound of the test photographs that the example's detector takes for copies
    below = privacy(share_near=Measure.measured(0.03, limit - 0.001, 0.05, 800))
    above = privacy(share_near=Measure.measured(0.03, limit + 0.001, 0.05, 800))
    assert failed(privacy_verdict(below, example_audit())) == []
    assert failed(privacy_verdict(above, example_audit())) == [
        "Does the generator copy more often than chance resemblance explains?"
    ]


def test_without_test_photographs_chance_nearness_follows_from_the_validation_photographs() -> None:
    unknown = EXAMPLE_METRICS.model_copy(update={"false_rejections": Measure.not_measurable("no image", 0)})
    limit = chance_nearness(privacy(detector=unknown, expected_rate=0.01, num_validation=800))
    assert limit == pytest.approx(binomtest(8, 800).proportion_ci(method="wilson").high, rel=1e-9)


def test_few_test_photographs_do_not_raise_chance_nearness() -> None:
    """Wilson's upper bound of 0 of 4 is 0.49: a generator of which a third copies would pass."""
    few = EXAMPLE_METRICS.model_copy(update={"false_rejections": Measure.measured(0.0, 0.0, 0.49, 4)})
    unknown = EXAMPLE_METRICS.model_copy(update={"false_rejections": Measure.not_measurable("no image", 0)})
    without, with_few = (chance_nearness(privacy(detector=detector)) for detector in (unknown, few))
    assert with_few == without < 0.1
    copying = privacy(detector=few, share_near=measure(0.33, 0.03, 800))
    assert not privacy_verdict(copying, example_audit()).passed("images")


def test_a_training_that_ended_in_memorisation_fails_and_one_without_a_record_does_not() -> None:
    point = MemorisationShare(step=9, num_samples=64, num_near=30, share=Measure.measured(0.47, 0.35, 0.59, 64))
    curve = example_audit().memorisation
    assert failed(privacy_verdict(privacy(), example_audit(memorisation=(*curve, point)))) == [
        "Did the training end in memorisation?"
    ]
    assert privacy_verdict(privacy(), example_audit(memorisation=(point, *curve))).passed(
        "images"
    )  # only the end counts
    assert privacy_verdict(privacy(), example_audit(memorisation=())).passed("images")


def test_a_generator_with_canaries_is_for_audits_only() -> None:
    canary = CanaryShare(repeats=100, num_patients=3, num_samples=10, num_near=7, share=measure(0.7, 0.2, 10))
    verdict = privacy_verdict(privacy(), example_audit(canaries=(canary,)))
    assert not verdict.passed("images")
    assert "7 of 10 samples reproduce their canary at 100 repeats" in verdict.reasons[0]


@pytest.mark.parametrize(("low", "fails"), [(MAX_AUC - 0.001, False), (MAX_AUC + 0.001, True)])
def test_an_attack_succeeds_if_its_whole_interval_lies_beyond_the_limit(low: float, *, fails: bool) -> None:
    attack = example_attack("a", 0.6).model_copy(update={"auc": Measure.measured(0.65, low, 0.7, 600)})
    assert succeeds(attack) == fails
    assert privacy_verdict(privacy(), example_audit(attack_on_images=attack)).passed("images") == (not fails)


@pytest.mark.parametrize(("low", "fails"), [(0.049, False), (0.051, True)])
def test_an_attack_that_recognises_few_members_for_sure_succeeds_though_its_auc_is_chance(
    low: float, *, fails: bool
) -> None:
    rate = DetectionRate(
        false_positive_rate=0.01, num_non_members_needed=100, sensitivity=Measure.measured(0.08, low, 0.12, 300)
    )
    attack = example_attack("a", 0.5).model_copy(update={"rates": (rate,)})
    assert recognises_few(attack) == fails
    verdict = privacy_verdict(privacy(), example_audit(attack_on_images=attack))
    assert (check_of(verdict, FEW).status == "failed") == fails
    assert verdict.passed("images") == (not fails)


FEW = "Does the release give away a few people of the training?"


def small_hospital(auc: float) -> MembershipAttack:
    """Return an attack with so few other people that no low share of false accusations is measurable."""
    attack = example_attack("a", auc)
    unmeasured = Measure.not_measurable(
        "60 negatives count as 40 independent ones at this threshold; 1 % false positives need 368", 300
    )
    return attack.model_copy(
        update={"rates": tuple(rate.model_copy(update={"sensitivity": unmeasured}) for rate in attack.rates)}
    )


def test_low_rates_that_are_not_measurable_are_no_pass_and_do_not_block() -> None:
    verdict = privacy_verdict(privacy(), example_audit(attack_on_images=small_hospital(0.5)))
    check = check_of(verdict, FEW)
    assert (check.status, check.required) == ("not measurable", False)
    assert (
        "not measurable: 60 negatives count as 40 independent ones at this threshold; 1 % false positives need 368"
        in check.finding
    )
    assert verdict.passed("images")
    assert verdict.gaps == [check]
    assert not privacy_verdict(privacy(), example_audit(attack_on_images=small_hospital(0.9))).passed("images")


def test_initial_weights_leave_photographs_uncompared_so_the_images_do_not_pass() -> None:
    verdict = privacy_verdict(privacy(), example_audit(initial_weights=True))
    assert not verdict.passed("images")
    assert not verdict.passed("weights")
    (reason,) = verdict.reasons
    assert "photographs that those weights were trained on, which were not compared" in reason


def test_a_successful_attack_on_the_weights_blocks_the_weights_alone() -> None:
    verdict = privacy_verdict(privacy(), example_audit(attack_on_weights=example_attack("w", 0.8, num_references=2)))
    assert verdict.passed("images")
    assert not verdict.passed("weights")
    assert verdict.reasons == []


def test_weights_are_not_cleared_by_an_attack_without_reference_generators() -> None:
    verdict = privacy_verdict(privacy(), example_audit(attack_on_weights=example_attack("w", 0.5)))
    assert verdict.passed("images")
    assert not verdict.passed("weights")


@pytest.mark.parametrize(("low", "fails"), [(MAX_EXCESS - 0.001, False), (MAX_EXCESS + 0.001, True)])
def test_inference_fails_if_diagnoses_of_training_patients_are_guessed_better(low: float, *, fails: bool) -> None:
    inference = LabelInference(
        training=measure(0.4, 0.02, 900),
        held_out=measure(0.3, 0.02, 900),
        excess=measure_around(low + 0.02, 0.02, 1800),
    )
    assert privacy_verdict(privacy(), example_audit(inference=inference)).passed("images") == (not fails)


def test_what_was_not_measured_is_not_passed() -> None:
    unmeasured = UnmeasuredPrivacy(
        reason="there are no held-out images", num_training=9, num_held_out=0, num_synthetic=3
    )
    verdict = privacy_verdict(unmeasured, example_audit())
    assert not verdict.passed("images")
    assert any("There are no held-out images" in reason for reason in verdict.reasons)
    unknown = example_attack("a", 0.5).model_copy(update={"auc": Measure.not_measurable("needs both classes", 3)})
    assert not privacy_verdict(privacy(), example_audit(attack_on_images=unknown)).passed("images")


def test_every_check_states_a_rule_and_a_limit() -> None:
    for check in privacy_verdict(privacy(), example_audit()).checks:
        assert check.rule.endswith(".")
        assert check.limit.endswith(".")
        assert not check.finding.endswith(".")

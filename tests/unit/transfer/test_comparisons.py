"""Comparisons of arms: values agree with scikit-learn, corrections with statsmodels, and chance stays chance."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from statsmodels.stats.multitest import multipletests

from support.transfer_example import (
    EXTERNAL,
    SEPARATION,
    example_models,
    example_results,
    example_transfer,
)
from synfundus.labels import HEADS
from synfundus.measures.metric_names import MetricName
from synfundus.measures.transfer_metrics import MAIN_METRICS, ArmDifference, ComputedTransfer, family_role
from synfundus.transfer.measuring import GENERATOR_SAW_ALL, compare_models
from synfundus.transfer.predictions import external_key
from synfundus.transfer.targets import ALL_LABELS, TARGETS, metric_input
from synfundus.transfer.tasks import Task

REFERENCES: dict[MetricName, Callable[[Any, Any], float]] = {
    "auc": sklearn_metrics.roc_auc_score,
    "average_precision": sklearn_metrics.average_precision_score,
    "accuracy": sklearn_metrics.accuracy_score,
    "precision": sklearn_metrics.precision_score,
    "recall": sklearn_metrics.recall_score,
    "f1": sklearn_metrics.f1_score,
    "quadratic_kappa": lambda y, p: sklearn_metrics.cohen_kappa_score(y, p, weights="quadratic"),
}
SEEDS = (0, 1, 2)
SMALL = ("real", "synthetic", "synthetic-shuffled", "pretrained")


def find(transfer: ComputedTransfer, **wanted: object) -> ArmDifference:
    """Return the one difference with these attributes."""
    (found,) = [
        entry for entry in transfer.differences if all(getattr(entry, key) == value for key, value in wanted.items())
    ]
    return found


@pytest.fixture(scope="module")
def grid() -> tuple[ComputedTransfer, dict[tuple[str, float | None, int], Any], dict[str, Any]]:
    results = example_results(("resnet10t",), SEEDS, SMALL)
    models, tests = example_models(results)
    by_key = {(model.arm, model.fraction, model.seed): model for model in models}
    return compare_models(results, models, tests), by_key, {test.name: test for test in tests}


def test_every_score_is_the_mean_of_scikit_learns_over_the_seeds(grid: Any) -> None:
    transfer, models, tests = grid
    checked = set()
    for score in transfer.scores:
        if score.target == ALL_LABELS.name:
            continue
        target = next(target for target in TARGETS if target.name == score.target)
        task = Task.of(target, tests[score.test_set])
        for metric, measure in score.measures.items():
            if metric not in REFERENCES or not measure.measurable:
                continue
            outputs = [models[score.arm, score.fraction, seed].outputs[score.test_set] for seed in SEEDS]
            expected = [
                REFERENCES[metric](task.truth, metric_input(target, metric, output)[task.rows_N]) for output in outputs
            ]
            assert measure.value == pytest.approx(np.mean(expected)), (score, metric)
            if metric in MAIN_METRICS:
                assert score.main_by_seed == pytest.approx(expected)
            checked.add(metric)
    assert checked == set(REFERENCES)


def test_every_difference_is_that_of_the_scores_of_the_same_seeds(grid: Any) -> None:
    transfer, _, _ = grid
    scores = {(s.arm, s.architecture, s.fraction, s.test_set, s.target): s.measures for s in transfer.scores}
    for entry in transfer.differences:
        contrast = transfer.contrasts[entry.contrast]
        sides = [
            next(
                scores[arm, entry.architecture, fraction, entry.test_set, entry.target]
                for fraction in (entry.fraction, None)
                if (arm, entry.architecture, fraction, entry.test_set, entry.target) in scores
            )
            for arm in (contrast.arm, contrast.reference)
        ]
        for metric, found in entry.metrics.items():
            if found.difference.measurable:
                first, second = (side[metric].value for side in sides)
                assert found.difference.measure.value == pytest.approx(first - second)
        assert entry.num_seeds == 3


def test_an_arm_without_photographs_is_compared_at_each_fraction_of_its_reference(grid: Any) -> None:
    transfer, _, _ = grid
    found = {(entry.contrast, entry.fraction) for entry in transfer.differences}
    assert {fraction for key, fraction in found if key == "synthetic-against-real"} == {1.0, 0.1}
    assert {fraction for key, fraction in found if key == "synthetic-against-synthetic-shuffled"} == {None}


def test_holms_correction_runs_over_the_stated_family(grid: Any) -> None:
    transfer, _, _ = grid
    for family in transfer.families:
        members = [
            found
            for entry in transfer.differences
            for metric, found in entry.metrics.items()
            if (entry.contrast, family_role(transfer.targets[entry.target].kind, metric))
            == (family.contrast, family.role)
            and metric in family.metrics
        ]
        tested = [found for found in members if found.difference.measurable]
        assert (family.num_planned, family.num_measured) == (len(members), len(tested))
        reject, adjusted, _, _ = multipletests([found.difference.p_value for found in tested], 0.05, "holm")
        assert [found.adjusted_p_value for found in tested] == pytest.approx(list(adjusted))
        assert [found.survives for found in tested] == list(reject)
        assert family.num_better + family.num_worse == int(reject.sum())


def test_all_labels_together_are_the_mean_of_the_binary_targets(grid: Any) -> None:
    transfer, _, _ = grid
    scores = [score for score in transfer.scores if "auc" in score.measures]
    values = {(s.arm, s.fraction, s.test_set, s.target): s.measures["auc"].value for s in scores}
    binary = [name for name, target in transfer.targets.items() if target.kind == "binary"]
    for (arm, fraction, test_set, target), value in values.items():
        if target == ALL_LABELS.name:
            assert value == pytest.approx(np.mean([values[arm, fraction, test_set, name] for name in binary]))
    assert [row.num_labels for row in transfer.counts if row.target == ALL_LABELS.name] == [len(binary)] * 2


def test_the_primary_family_holds_all_labels_and_the_next_one_each_target_once_on_each_test_set(grid: Any) -> None:
    transfer, _, _ = grid
    settings = {"synthetic-against-synthetic-shuffled": 1, "synthetic-against-real": 2, "pretrained-against-real": 2}
    assert set(transfer.targets) == {"all_labels", "dr_grade>=2", "dr_grade", "eye_side", "is_gc"}
    assert next(iter(transfer.targets)) == ALL_LABELS.name
    for role, num_targets in (("primary", 1), ("by target", 4)):
        planned = {key: family.num_planned for key, family in transfer.families_of(role).items()}
        assert planned == {key: number * num_targets * len(transfer.test_sets) for key, number in settings.items()}


def test_a_real_gain_survives_and_a_missing_one_does_not(grid: Any) -> None:
    transfer, _, _ = grid
    control = find(transfer, contrast="synthetic-against-synthetic-shuffled", test_set="test", target="dr_grade")
    found = control.metrics["quadratic_kappa"]
    assert found.verdict == "better"
    assert found.difference.measure.interval[1] > 0.0
    same = find(transfer, contrast="pretrained-against-real", test_set="test", target="is_gc", fraction=1.0)
    assert SEPARATION["pretrained", 1.0] - SEPARATION["real", 1.0] < 0.3
    assert same.metrics["auc"].verdict == "no difference shown"


def test_the_detectable_difference_is_larger_than_half_the_interval() -> None:
    """80 % power at a corrected level needs more than what just excludes 0."""
    for entry in example_transfer().differences:
        for found in entry.metrics.values():
            if found.detectable is not None:
                value, low, _ = found.difference.measure.interval
                assert found.detectable > value - low


def test_equal_outputs_of_two_arms_are_not_certain() -> None:
    """Arms that are equal on every photograph have an interval with a width, or none, and no difference is free."""
    results = example_results(("resnet10t",), SEEDS, ("real", "pretrained"))
    models, tests = example_models(results)
    outputs = {(model.fraction, model.seed): model.outputs for model in models if model.arm == "real"}
    models = [replace(model, outputs=outputs[model.fraction, model.seed]) for model in models]
    for entry in compare_models(results, models, tests).differences:
        for found in entry.metrics.values():
            if found.difference.measurable:
                value, low, high = found.difference.measure.interval
                assert low < value == 0.0 < high
            assert found.detectable is None or found.detectable > 0.0


def test_arms_that_learn_nothing_show_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in SEPARATION:
        monkeypatch.setitem(SEPARATION, key, 0.0)
    results = example_results(("resnet10t",), SEEDS, SMALL)
    transfer = compare_models(results, *example_models(results))
    assert transfer.num_measured("by target") > 30
    assert list(transfer.surviving("primary")) == []
    assert list(transfer.surviving("by target")) == []


def test_a_lower_calibration_error_is_better() -> None:
    verdicts = {
        (np.sign(found.difference.measure.interval[0]), found.verdict)
        for entry in example_transfer().differences
        for metric, found in entry.metrics.items()
        if metric == "ece" and found.survives
    }
    assert verdicts <= {(-1.0, "better"), (1.0, "worse")}


def test_the_order_of_the_places_changes_nothing(grid: Any) -> None:
    transfer, _, _ = grid
    results = example_results(("resnet10t",), SEEDS, SMALL)
    models, tests = example_models(results)
    again = compare_models(results, models[::-1], tests)
    assert sorted(entry.to_json() for entry in again.differences) == sorted(e.to_json() for e in transfer.differences)
    assert again.families == transfer.families


def test_the_models_of_an_arm_that_another_repeats_in_part_are_compared() -> None:
    """The arm `real` has the first of two architectures, and `scratch` has both."""
    results = example_results(("resnet10t", "vit_tiny"), SEEDS, ("real", "scratch", "pretrained"))
    real, *rest = results.arms
    results = results.model_copy(
        update={
            "arms": (real.model_copy(update={"architectures": ("resnet10t",)}), *rest),
            "places": tuple(p for p in results.places if (p.arm, p.architecture) != ("real", "vit_tiny")),
        }
    )
    transfer = compare_models(results, *example_models(results))
    found = {(entry.contrast, entry.architecture) for entry in transfer.differences}
    assert found == {("pretrained-against-scratch", name) for name in ("resnet10t", "vit_tiny")}


def test_notes_name_what_was_not_measured_and_why() -> None:
    notes = "\n".join(example_transfer().notes)
    assert "Arm imagenet, vit_tiny, 6 models: transfer.arms.imagenet.weights.vit_tiny: no file is named" in notes
    assert "Pathological myopia, Test split: needs 2 patients of each class, has 0 with and 0 without" in notes
    assert (
        "Arm real at 10 % of the patients could not learn what its training images show in one class only: Glaucoma"
        " (1 seed); its scores are shown as they are"
    ) in notes
    assert (
        "Arm pretrained at 10 % of the patients could not learn in fine-tuning what its images show in one class only:"
        " Glaucoma (1 seed); its scores are shown as they are"
    ) in notes
    assert "External other-clinic: 2 photographs, because their patients are in the study's own dataset" in notes
    assert GENERATOR_SAW_ALL in notes
    assert "one seed" not in notes


def test_one_seed_is_measured_and_said() -> None:
    results = example_results(("resnet10t",), (0,), ("real", "pretrained"))
    transfer = compare_models(results, *example_models(results))
    assert transfer.num_measured("primary") > 0
    assert any("there is one seed" in note for note in transfer.notes)
    assert all(row.difference.reason == "needs 2 seeds, has 1" for row in transfer.convergence)


def test_a_target_without_both_classes_is_left_out_of_one_test_set_only(grid: Any) -> None:
    results = example_results(("resnet10t",), SEEDS, ("real", "pretrained"))
    models, tests = example_models(results)
    column = HEADS["is_gc"].start
    value = tests[1].value_NV.copy()
    value[:, column] = 0.0
    transfer = compare_models(results, models, [tests[0], replace(tests[1], value_NV=value)])
    found = {(row.test_set, row.target) for row in transfer.counts}
    assert ("test", "is_gc") in found
    assert (external_key(EXTERNAL), "is_gc") not in found

"""From the results of a study's grid to the section `transfer` of `metrics.json`, with everything not measured."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from synfundus.labels import HEAD_NAMES
from synfundus.measures.transfer_metrics import (
    ComputedTransfer,
    Convergence,
    LearningCurve,
    TrainingCounts,
    TransferContrast,
    TransferTarget,
    TransferTestSet,
)
from synfundus.storage import Storage
from synfundus.transfer.all_labels import AnyTask, tasks_of
from synfundus.transfer.comparisons import differences_of, pairs_of, scores_of
from synfundus.transfer.contrasts import describe_arm, distinct_arms, planned_contrasts
from synfundus.transfer.convergence import own_steps, steps_difference, steps_to
from synfundus.transfer.predictions import read_predictions
from synfundus.transfer.results import TransferResults, read_results
from synfundus.transfer.targets import ALL_LABELS, TARGETS
from synfundus.transfer.trained import Models, TestSet, TrainedModel, by_setting, trained_models

GENERATOR_SAW_ALL = (
    "Worth of samples to somebody with few patients in all: the generator learnt from the photographs of all training"
    " patients, also where an arm uses a small fraction of them. The comparison at a small fraction shows what samples"
    " give to somebody else with few patients"
)
VALIDATION_IN_FULL = (
    "Cost of few validation patients: every arm selects step and learning rate on the whole validation split, also at a"
    " small fraction of the training patients"
)


def measure_transfer(storage: Storage, folder: str) -> ComputedTransfer:
    """Return what the models of a complete `transfers/<study>/` learnt from the samples.

    Raises:
        WrongInputError: the stage `transfer` has not finished.
        StorageError: a file differs from the manifest.
    """
    results = read_results(storage, folder)
    models, tests = trained_models(results, partial(read_predictions, storage, folder))
    return compare_models(results, models, tests)


def compare_models(
    results: TransferResults, models: Sequence[TrainedModel], tests: Sequence[TestSet]
) -> ComputedTransfer:
    """Return scores, corrected differences, curves and notes of trained models."""
    settings = by_setting(models)
    tasks = tasks_of(tests)
    measurable = [task for task in tasks if task.reason is None]
    trained = {model.arm for model in models}
    arms = {name: arm for name, arm in distinct_arms(results.arms).items() if name in trained}
    contrasts = planned_contrasts(arms)
    differences, families = differences_of(settings, measurable, contrasts)
    targets = {task.target.name: task.target for task in measurable}
    return ComputedTransfer(
        arms={name: describe_arm(arm) for name, arm in arms.items()},
        contrasts=contrasts,
        targets={
            target.name: TransferTarget(title=target.title, kind=target.kind)
            for target in (ALL_LABELS, *TARGETS)
            if target.name in targets
        },
        test_sets={test.name: _describe_test(test) for test in tests},
        architectures=results.architectures,
        seeds=results.seeds,
        training=tuple(_training_counts(models)),
        counts=tuple(task.counts for task in measurable),
        scores=tuple(scores_of(settings, measurable)),
        differences=tuple(differences),
        families=tuple(families),
        curves=tuple(_learning_curve(model) for model in models),
        convergence=tuple(_convergence(settings, contrasts)),
        notes=tuple(_notes(results, models, tasks, measurable)),
    )


def _describe_test(test: TestSet) -> TransferTestSet:
    return TransferTestSet(
        title=test.title,
        external=test.external,
        num_images=len(test.patients),
        num_patients=len(np.unique(test.patients)),
    )


def _training_counts(models: Sequence[TrainedModel]) -> Iterator[TrainingCounts]:
    """Yield the photographs and patients of each fraction, largest fraction first."""
    for fraction in sorted({model.fraction for model in models if model.fraction is not None}, reverse=True):
        images = [model.cell.images for model in models if model.fraction == fraction]
        photographs, patients = [found.num_photographs for found in images], [found.num_patients for found in images]
        yield TrainingCounts(
            fraction=fraction, num_patients=max(patients), min_images=min(photographs), max_images=max(photographs)
        )


def _learning_curve(model: TrainedModel) -> LearningCurve:
    curve = model.cell.curve
    return LearningCurve(
        arm=model.arm,
        architecture=model.architecture,
        fraction=model.fraction,
        seed=model.seed,
        steps=tuple(point.step for point in curve),
        auc=tuple(point.auc for point in curve),
    )


def _convergence(settings: Models, contrasts: Mapping[str, TransferContrast]) -> Iterator[Convergence]:
    """Yield the steps to convergence of each comparison of two arms that train on photographs.

    An arm without photographs solves another task, whose steps cannot be compared.
    """
    for key, contrast in contrasts.items():
        for pair in pairs_of(settings, contrast):
            curves = {model.seed: model.cell.curve for model in pair.models if model.fraction is not None}
            references = {model.seed: model.cell.curve for model in pair.references if model.fraction is not None}
            if not curves or not references:
                continue
            yield Convergence(
                contrast=key,
                architecture=pair.architecture,
                fraction=pair.fraction,
                steps=tuple(own_steps(curves[seed]) for seed in curves),
                reference_steps=tuple(own_steps(references[seed]) for seed in curves),
                steps_to_reference=tuple(steps_to(curves[seed], references[seed][-1].auc) for seed in curves),
                difference=steps_difference(curves, references),
            )


def _notes(
    results: TransferResults,
    models: Sequence[TrainedModel],
    tasks: Sequence[AnyTask],
    measurable: Sequence[AnyTask],
) -> Iterator[str]:
    """Yield what was not measured, and why, one line each."""
    yield from _missing_places(results)
    for task in tasks:
        if task.reason is not None and (task.num_images or not task.test.external):
            yield f"{task.target.title}, {task.test.title}: {task.reason}"
    yield from _untrained_heads(results, models, measurable)
    yield from _external_notes(results)
    if len(results.seeds) == 1:
        yield "Variation between seeds: there is one seed, so all intervals cover other patients, but not other seeds"
    if any(model.fraction is not None and model.fraction < 1.0 for model in models):
        yield GENERATOR_SAW_ALL
        yield VALIDATION_IN_FULL


def _missing_places(results: TransferResults) -> Iterator[str]:
    """Yield the arms and networks that were not computed, each reason once."""
    missing = Counter(
        (place.arm, place.architecture, place.reason)
        for place in results.places
        if place.trained is None and place.arm in distinct_arms(results.arms)
    )
    for (arm, architecture, reason), count in missing.items():
        yield f"Arm {arm}, {architecture}, {_counted(count, 'model')}: {reason}"


def _untrained_heads(
    results: TransferResults, models: Sequence[TrainedModel], measurable: Sequence[AnyTask]
) -> Iterator[str]:
    """Yield for each arm and fraction the targets that it could not learn, because its images lack a class.

    An arm that starts from other weights may have learnt them before.
    """
    from_scratch = {arm.name for arm in results.arms if arm.start == "scratch"}
    titles = {task.target.name: task.target.title for task in measurable if task.target.name in HEAD_NAMES}
    lacking: dict[tuple[str, float | None], dict[str, set[int]]] = {}
    for model in models:
        images = model.cell.images
        for head, title in titles.items():
            if not 0 < images.positive[head] < images.known[head]:
                of_arm = lacking.setdefault((model.arm, model.fraction), {})
                of_arm.setdefault(title, set()).add(model.seed)
    for (arm, fraction), seeds in lacking.items():
        at = "" if fraction is None else f" at {100 * fraction:g} % of the patients"
        targets = ", ".join(f"{title} ({_counted(len(found), 'seed')})" for title, found in seeds.items())
        what = "what its training images" if arm in from_scratch else "in fine-tuning what its images"
        yield (
            f"Arm {arm}{at} could not learn {what} show in one class only: {targets}; its scores are shown as they are"
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _external_notes(results: TransferResults) -> Iterator[str]:
    if not results.external:
        yield "Test on photographs of another origin: the study names no external dataset (transfer.external)"
    for found in results.external:
        if found.num_excluded:
            yield (
                f"External {found.name}: {found.num_excluded} photographs, because their patients are in the study's"
                " own dataset"
            )
        if not found.patients_compared:
            yield (
                f"External {found.name}, shared patients: the datasets have other keys of the patient hashes, so a"
                " patient of both would not be found"
            )

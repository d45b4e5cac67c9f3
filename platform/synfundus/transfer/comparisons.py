"""Scores of the arms, planned differences between them, and Holm's correction: what the report shows of a grid.

Each difference is paired: both arms predict the same photographs, and seed s of one arm is compared with seed s of the
other. `measures.paired` counts patients and seeds as random. docs/transfer.md is the reading guide.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from synfundus.measures.difference import Difference
from synfundus.measures.metric_names import METRIC_NAMES, MetricName
from synfundus.measures.multiplicity import holm
from synfundus.measures.power import ALPHA, detectable_difference
from synfundus.measures.transfer_metrics import (
    MAIN_METRICS,
    ArmDifference,
    ArmScore,
    CorrectedDifference,
    DetectableRange,
    Family,
    Role,
    TransferContrast,
    Verdict,
    family_role,
)
from synfundus.transfer.all_labels import AnyTask
from synfundus.transfer.trained import Models, TrainedModel

FAMILIES: tuple[tuple[Role, tuple[MetricName, ...]], ...] = (
    ("primary", ("auc",)),
    ("by target", MAIN_METRICS),
    *(("secondary", (metric,)) for metric in METRIC_NAMES if metric not in MAIN_METRICS),
)
"""Families of a question: AUC of all labels together, the main metric of each target, each secondary metric alone."""
LARGEST: dict[MetricName, float] = {"quadratic_kappa": 2.0}
"""Largest possible difference of a metric whose range is not [0, 1]."""


def scores_of(settings: Models, tasks: Sequence[AnyTask]) -> Iterator[ArmScore]:
    """Yield the scores of every arm, network and fraction on every measurable task."""
    for (arm, architecture, fraction), by_seed in settings.items():
        models = [by_seed[seed] for seed in sorted(by_seed)]
        for task in tasks:
            yield ArmScore(
                arm=arm,
                architecture=architecture,
                fraction=fraction,
                test_set=task.test.name,
                target=task.target.name,
                num_seeds=len(models),
                measures={metric: task.score(metric, models) for metric in task.target.metrics},
                main_by_seed=task.main_values(models),
            )


@dataclass(frozen=True)
class _Compared:
    """Differences of one planned comparison for one setting and task, before the correction."""

    contrast: str
    architecture: str
    fraction: float | None
    task: AnyTask
    num_seeds: int
    differences: Mapping[MetricName, Difference]


def differences_of(
    settings: Models, tasks: Sequence[AnyTask], contrasts: Mapping[str, TransferContrast]
) -> tuple[list[ArmDifference], list[Family]]:
    """Return every planned difference with Holm's correction, and the families over which it ran."""
    compared = [
        _compare(key, pair, task)
        for key, contrast in contrasts.items()
        for pair in pairs_of(settings, contrast)
        for task in tasks
    ]
    families, corrected = _corrected_families(compared, contrasts)
    entries = [
        ArmDifference(
            contrast=entry.contrast,
            architecture=entry.architecture,
            fraction=entry.fraction,
            test_set=entry.task.test.name,
            target=entry.task.target.name,
            num_seeds=entry.num_seeds,
            metrics={metric: corrected[i, metric] for metric in entry.differences},
        )
        for i, entry in enumerate(compared)
    ]
    return entries, families


def _corrected_families(
    compared: Sequence[_Compared], contrasts: Iterable[str]
) -> tuple[list[Family], dict[tuple[int, MetricName], CorrectedDifference]]:
    """Return each family, and each difference after the correction over its family, by place and metric."""
    families, corrected = list[Family](), dict[tuple[int, MetricName], CorrectedDifference]()
    for key in contrasts:
        for role, metrics in FAMILIES:
            members = [
                (i, metric)
                for i, entry in enumerate(compared)
                for metric in metrics
                if entry.contrast == key
                and metric in entry.differences
                and family_role(entry.task.target.kind, metric) == role
            ]
            of_family = _correct([(metric, compared[i].differences[metric]) for i, metric in members])
            corrected |= dict(zip(members, of_family, strict=True))
            families.append(_family(key, role, metrics, [metric for _, metric in members], of_family))
    return families, corrected


@dataclass(frozen=True)
class Pair:
    """Models of an arm and its reference for one setting, with the same seeds in the same order."""

    architecture: str
    fraction: float | None
    """Fraction of the training patients; None if neither arm trains on photographs."""
    models: list[TrainedModel]
    references: list[TrainedModel]


def pairs_of(settings: Models, contrast: TransferContrast) -> Iterator[Pair]:
    """Yield the settings for which a comparison can be made, whatever its result.

    An arm without photographs is compared with the reference at each fraction.
    """
    for (arm, architecture, fraction), models in settings.items():
        for (reference, other, other_fraction), references in settings.items():
            if (arm, reference, architecture) != (contrast.arm, contrast.reference, other):
                continue
            if None not in (fraction, other_fraction) and fraction != other_fraction:
                continue
            seeds = sorted(models.keys() & references.keys())
            at = other_fraction if fraction is None else fraction
            yield Pair(architecture, at, [models[seed] for seed in seeds], [references[seed] for seed in seeds])


def _compare(contrast: str, pair: Pair, task: AnyTask) -> _Compared:
    return _Compared(
        contrast,
        pair.architecture,
        pair.fraction,
        task,
        len(pair.models),
        {metric: task.difference(metric, pair.models, pair.references) for metric in task.target.metrics},
    )


def _correct(members: Sequence[tuple[MetricName, Difference]]) -> list[CorrectedDifference]:
    """Return the differences of one family after Holm's correction."""
    adjusted = holm([difference.p_value for _, difference in members])
    num_tested = sum(p is not None for p in adjusted)
    return [
        CorrectedDifference(
            difference=difference,
            adjusted_p_value=p,
            detectable=_detectable(metric, difference, num_tested),
            verdict=_verdict(metric, difference, p),
        )
        for (metric, difference), p in zip(members, adjusted, strict=True)
    ]


def _detectable(metric: MetricName, difference: Difference, num_tested: int) -> float | None:
    """Return the true difference found with 80 % power at the first step of Holm's correction, if any is possible.

    A standard error of 0 says nothing about other patients, so there is none then, either.
    """
    mean = difference.mean
    if mean is None or mean.standard_error == 0.0:
        return None
    level = ALPHA / num_tested
    found = detectable_difference(mean.standard_error, mean.freedom_at(level), level)
    return found if found <= LARGEST.get(metric, 1.0) else None


def _verdict(metric: MetricName, difference: Difference, adjusted: float | None) -> Verdict:
    if adjusted is None:
        return "not measurable"
    if adjusted >= ALPHA:
        return "no difference shown"
    higher = difference.measure.interval[0] > 0.0
    return "better" if higher != (metric == "ece") else "worse"


def _family(
    contrast: str,
    role: Role,
    metrics: tuple[MetricName, ...],
    names: Sequence[MetricName],
    members: Sequence[CorrectedDifference],
) -> Family:
    detectable: dict[MetricName, list[float]] = defaultdict(list)
    for metric, member in zip(names, members, strict=True):
        if member.detectable is not None:
            detectable[metric].append(member.detectable)
    verdicts = [member.verdict for member in members]
    measured = [member for member in members if member.difference.measurable]
    return Family(
        contrast=contrast,
        role=role,
        metrics=metrics,
        num_planned=len(members),
        num_measured=len(measured),
        num_better=verdicts.count("better"),
        num_worse=verdicts.count("worse"),
        detectable={metric: DetectableRange(low=min(of), high=max(of)) for metric, of in detectable.items()},
        num_undetectable=sum(member.detectable is None for member in measured),
    )

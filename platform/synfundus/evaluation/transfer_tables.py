"""The report's section on transfer, as text: what was compared, on how many patients, and what survives correction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from synfundus.measures.metric_names import METRIC_NAMES
from synfundus.measures.transfer_metrics import (
    ArmDifference,
    ArmScore,
    ComputedTransfer,
    Convergence,
    CorrectedDifference,
    TargetCounts,
    TrainingCounts,
    Verdict,
)
from synfundus.measures.transfer_text import (
    METRIC_TITLES,
    contrast_title,
    count_patients,
    detectable_text,
    nothing_survives,
    percent_of_patients,
    what_was_compared,
)
from synfundus.measures.wording import format_measure, format_number, format_p


@dataclass(frozen=True)
class CountRow:
    """Photographs and patients of one test set with an expert's label of one target."""

    test_set: str
    target: str
    num_images: str
    num_patients: str
    num_positive: str
    num_positive_patients: str


@dataclass(frozen=True)
class FamilyRow:
    """One question, and what survives Holm's correction over its differences of the primary metrics."""

    question: str
    title: str
    num_planned: int
    num_measured: int
    num_better: int
    num_worse: int
    detectable: str


@dataclass(frozen=True)
class DifferenceRow:
    """One planned difference of the primary metric."""

    test_set: str
    target: str
    architecture: str
    training: str
    patients: str
    metric: str
    difference: str
    p_value: str
    adjusted: str
    detectable: str
    verdict: Verdict
    reason: str | None


@dataclass(frozen=True)
class MetricsRow:
    """All metrics of one comparison or arm."""

    cells: tuple[str, ...]
    """Arm, test set, target, network and fraction, as far as the table needs them."""
    metrics: tuple[str, ...]
    """Value with interval of each metric, in the order of `METRIC_TITLES`; empty if the target does not have it."""


@dataclass(frozen=True)
class ContrastTable:
    """One planned comparison of two arms."""

    key: str
    question: str
    title: str
    rows: list[DifferenceRow]
    every_metric: list[MetricsRow]


@dataclass(frozen=True)
class ConvergenceRow:
    """Steps to 95 % of a final validation AUC, one number for each seed."""

    comparison: str
    architecture: str
    training: str
    steps: str
    reference_steps: str
    steps_to_reference: str
    difference: str
    reason: str | None


@dataclass(frozen=True)
class TransferSection:
    """Everything that the section shows."""

    transfer: ComputedTransfer
    lead: str
    training: list[str]
    counts: list[CountRow]
    findings: list[tuple[str, DifferenceRow]]
    """Differences of the primary metrics that survive the correction, each with the title of its comparison."""
    nothing_survives: str
    """Sentence for a report without any; empty if there is one."""
    families: list[FamilyRow]
    contrasts: list[ContrastTable]
    metric_titles: list[str]
    scores: list[MetricsRow]
    convergence: list[ConvergenceRow]


def transfer_section(transfer: ComputedTransfer) -> TransferSection:
    """Return the texts of the section."""
    contrasts = [_contrast_table(transfer, key) for key in transfer.contrasts]
    findings = [(table.title, row) for table in contrasts for row in table.rows if row.verdict in ("better", "worse")]
    return TransferSection(
        transfer=transfer,
        lead=what_was_compared(transfer),
        training=[_training_text(row) for row in transfer.training],
        counts=[_count_row(transfer, row) for row in transfer.counts],
        findings=findings,
        nothing_survives="" if findings else nothing_survives(transfer),
        families=_family_rows(transfer),
        contrasts=[table for table in contrasts if table.rows],
        metric_titles=list(METRIC_TITLES.values()),
        scores=[_score_row(transfer, score) for score in transfer.scores],
        convergence=[_convergence_row(transfer, row) for row in transfer.convergence],
    )


def _training_text(row: TrainingCounts) -> str:
    images = " to ".join(dict.fromkeys(f"{number:,}" for number in (row.min_images, row.max_images)))
    return f"{100 * row.fraction:g} %: {row.num_patients:,} patients, {images} photographs"


def _count_row(transfer: ComputedTransfer, row: TargetCounts) -> CountRow:
    return CountRow(
        transfer.test_sets[row.test_set].title,
        transfer.targets[row.target].title,
        *(f"{n:,}" for n in (row.num_images, row.num_patients, row.num_positive, row.num_positive_patients)),
    )


def _family_rows(transfer: ComputedTransfer) -> list[FamilyRow]:
    return [
        FamilyRow(
            transfer.contrasts[key].question,
            contrast_title(transfer, key),
            family.num_planned,
            family.num_measured,
            family.num_better,
            family.num_worse,
            detectable_text(family),
        )
        for key, family in transfer.primary.items()
    ]


def _contrast_table(transfer: ComputedTransfer, key: str) -> ContrastTable:
    entries = [entry for entry in transfer.differences if entry.contrast == key]
    return ContrastTable(
        key=key,
        question=transfer.contrasts[key].question,
        title=contrast_title(transfer, key),
        rows=list(_difference_rows(transfer, entries)),
        every_metric=[
            MetricsRow(
                (
                    transfer.test_sets[entry.test_set].title,
                    transfer.targets[entry.target].title,
                    entry.architecture,
                    percent_of_patients(entry.fraction),
                ),
                tuple(_difference_text(entry.metrics.get(metric)) for metric in METRIC_NAMES),
            )
            for entry in entries
        ],
    )


def _difference_rows(transfer: ComputedTransfer, entries: Sequence[ArmDifference]) -> Iterator[DifferenceRow]:
    for entry in entries:
        metric = transfer.primary_metric(entry.target)
        found = entry.metrics[metric]
        patients, positive = count_patients(transfer, entry.test_set, entry.target)
        yield DifferenceRow(
            test_set=transfer.test_sets[entry.test_set].title,
            target=transfer.targets[entry.target].title,
            architecture=entry.architecture,
            training=percent_of_patients(entry.fraction),
            patients=f"{patients:,} ({positive:,} with the finding)",
            metric=METRIC_TITLES[metric],
            difference=format_measure(found.difference.measure),
            p_value=format_p(found.difference.p_value),
            adjusted=format_p(found.adjusted_p_value),
            detectable="none" if found.detectable is None else format_number(found.detectable),
            verdict=found.verdict,
            reason=found.difference.measure.reason,
        )


def _difference_text(found: CorrectedDifference | None) -> str:
    if found is None:
        return ""
    star = " *" if found.survives else ""
    return format_measure(found.difference.measure) + star


def _score_row(transfer: ComputedTransfer, score: ArmScore) -> MetricsRow:
    return MetricsRow(
        (
            transfer.arms[score.arm].title,
            transfer.test_sets[score.test_set].title,
            transfer.targets[score.target].title,
            score.architecture,
            percent_of_patients(score.fraction),
        ),
        tuple(format_measure(score.measures[metric]) if metric in score.measures else "" for metric in METRIC_NAMES),
    )


def _convergence_row(transfer: ComputedTransfer, row: Convergence) -> ConvergenceRow:
    def steps(found: Sequence[int | None]) -> str:
        return ", ".join("never" if number is None else f"{number:,}" for number in found)

    return ConvergenceRow(
        comparison=contrast_title(transfer, row.contrast),
        architecture=row.architecture,
        training=percent_of_patients(row.fraction),
        steps=steps(row.steps),
        reference_steps=steps(row.reference_steps),
        steps_to_reference=steps(row.steps_to_reference),
        difference=format_measure(row.difference),
        reason=row.difference.reason,
    )

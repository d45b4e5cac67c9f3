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
    Role,
    TargetCounts,
    TrainingCounts,
    Verdict,
    family_role,
)
from synfundus.measures.transfer_text import (
    ENDPOINTS,
    METRIC_TITLES,
    SHOWN,
    contrast_title,
    detectable_text,
    labels_of_the_mean,
    largest_gain,
    metric_title,
    nothing_survives,
    patients_text,
    percent_of_patients,
    surviving_secondary,
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
    """One family of a question, and what survives Holm's correction over it."""

    question: str
    title: str
    endpoint: str
    num_planned: int
    num_measured: int
    num_better: int
    num_worse: int
    detectable: str


@dataclass(frozen=True)
class DifferenceRow:
    """One planned difference of a target's main metric."""

    role: Role
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
    largest_gain: str
    """1 - the reference's value. Below the detectable difference, even a perfect arm has less than 80 % power."""
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
class Findings:
    """Differences that survive the correction over the families of a role."""

    endpoint: str
    rows: list[tuple[str, DifferenceRow]]
    """Surviving differences, each with the title of its comparison."""
    nothing_survives: str
    """Sentence for a report without any; empty if there is one."""


@dataclass(frozen=True)
class TransferSection:
    """Everything that the section shows."""

    transfer: ComputedTransfer
    lead: str
    training: list[str]
    counts: list[CountRow]
    findings: list[Findings]
    """Surviving differences of the primary endpoint, and those by target."""
    labels_of_the_mean: str
    """Labels whose AUCs the primary endpoint averages."""
    surviving_secondary: str
    """Surviving differences in secondary metrics; empty if there is none."""
    families: list[FamilyRow]
    contrasts: list[ContrastTable]
    metric_titles: list[str]
    scores: list[MetricsRow]
    convergence: list[ConvergenceRow]


def transfer_section(transfer: ComputedTransfer) -> TransferSection:
    """Return the texts of the section."""
    contrasts = [_contrast_table(transfer, key) for key in transfer.contrasts]
    return TransferSection(
        transfer=transfer,
        lead=what_was_compared(transfer),
        training=[_training_text(row) for row in transfer.training],
        counts=[_count_row(transfer, row) for row in transfer.counts],
        findings=[_findings(transfer, contrasts, role) for role in SHOWN],
        labels_of_the_mean=labels_of_the_mean(transfer),
        surviving_secondary=surviving_secondary(transfer),
        families=_family_rows(transfer),
        contrasts=[table for table in contrasts if table.rows],
        metric_titles=list(METRIC_TITLES.values()),
        scores=[_score_row(transfer, score) for score in transfer.scores],
        convergence=[_convergence_row(transfer, row) for row in transfer.convergence],
    )


def _findings(transfer: ComputedTransfer, contrasts: Sequence[ContrastTable], role: Role) -> Findings:
    rows = [
        (table.title, row)
        for table in contrasts
        for row in table.rows
        if row.role == role and row.verdict in ("better", "worse")
    ]
    return Findings(ENDPOINTS[role], rows, "" if rows else nothing_survives(transfer, role))


def _training_text(row: TrainingCounts) -> str:
    images = " to ".join(dict.fromkeys(f"{number:,}" for number in (row.min_images, row.max_images)))
    return f"{100 * row.fraction:g} %: {row.num_patients:,} patients, {images} photographs"


def _count_row(transfer: ComputedTransfer, row: TargetCounts) -> CountRow:
    return CountRow(
        transfer.test_sets[row.test_set].title,
        transfer.targets[row.target].title + (f" (mean of {row.num_labels})" if row.num_positive is None else ""),
        *(
            "" if number is None else f"{number:,}"
            for number in (row.num_images, row.num_patients, row.num_positive, row.num_positive_patients)
        ),
    )


def _family_rows(transfer: ComputedTransfer) -> list[FamilyRow]:
    return [
        FamilyRow(
            transfer.contrasts[key].question,
            contrast_title(transfer, key),
            ENDPOINTS[role],
            family.num_planned,
            family.num_measured,
            family.num_better,
            family.num_worse,
            detectable_text(family),
        )
        for key in transfer.contrasts
        for role in SHOWN
        if (family := transfer.families_of(role).get(key)) is not None
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
        metric = transfer.main_metric(entry.target)
        found = entry.metrics[metric]
        yield DifferenceRow(
            role=family_role(transfer.targets[entry.target].kind, metric),
            test_set=transfer.test_sets[entry.test_set].title,
            target=transfer.targets[entry.target].title,
            architecture=entry.architecture,
            training=percent_of_patients(entry.fraction),
            patients=patients_text(transfer, entry.test_set, entry.target),
            metric=metric_title(transfer, entry.target, metric),
            difference=format_measure(found.difference.measure),
            p_value=format_p(found.difference.p_value),
            adjusted=format_p(found.adjusted_p_value),
            detectable="none" if found.detectable is None else format_number(found.detectable),
            largest_gain="" if (gain := largest_gain(transfer, entry, metric)) is None else format_number(gain),
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

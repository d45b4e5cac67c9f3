"""Results of the transfer in words, for the report, the dataset card and the summary of a stage."""

from synfundus.measures.metric_names import MetricName
from synfundus.measures.transfer_metrics import ArmDifference, ComputedTransfer, Family
from synfundus.measures.wording import NOT_MEASURABLE, format_measure, format_number, format_p

METRIC_TITLES: dict[MetricName, str] = {
    "auc": "AUC",
    "average_precision": "Average precision",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "quadratic_kappa": "Quadratic kappa",
    "ece": "ECE",
}


def percent_of_patients(fraction: float | None) -> str:
    """Return `10 % of training patients`, or `no photographs` for arms without them."""
    return "no photographs" if fraction is None else f"{100 * fraction:g} % of training patients"


def contrast_title(transfer: ComputedTransfer, contrast: str) -> str:
    """Return `Pre-trained on samples - random start`: arm minus reference."""
    found = transfer.contrasts[contrast]
    return f"{transfer.arms[found.arm].title} \N{MINUS SIGN} {transfer.arms[found.reference].title}"


def what_was_compared(transfer: ComputedTransfer) -> str:
    """Return what was compared, in one or two sentences."""
    tests = " and ".join(
        f"{found.title} ({found.num_patients:,} patients, {found.num_images:,} photographs)"
        for found in transfer.test_sets.values()
    )
    seeds = f"{len(transfer.seeds)} seeds" if len(transfer.seeds) > 1 else "one seed"
    return (
        f"{len(transfer.arms)} ways of training (arms) were compared with {' and '.join(transfer.architectures)},"
        f" {seeds} each. Every model was tested on the same real photographs: {tests}."
    )


def count_patients(transfer: ComputedTransfer, test_set: str, target: str) -> tuple[int, int]:
    """Return the patients with an expert's label of a target, and those with the finding."""
    for row in transfer.counts:
        if (row.test_set, row.target) == (test_set, target):
            return row.num_patients, row.num_positive_patients
    return 0, 0


def _setting(transfer: ComputedTransfer, entry: ArmDifference) -> str:
    return (
        f"{transfer.test_sets[entry.test_set].title}, {transfer.targets[entry.target].title}, {entry.architecture},"
        f" {percent_of_patients(entry.fraction)}"
    )


def finding_text(transfer: ComputedTransfer, entry: ArmDifference, metric: MetricName) -> str:
    """Return a surviving difference with its p value, setting and patients."""
    found = entry.metrics[metric]
    patients, positive = count_patients(transfer, entry.test_set, entry.target)
    return (
        f"{contrast_title(transfer, entry.contrast)}: {METRIC_TITLES[metric]}"
        f" {format_measure(found.difference.measure)}, corrected p {format_p(found.adjusted_p_value)}."
        f" {_setting(transfer, entry)}; {patients:,} patients, {positive:,} with the finding."
    )


def nothing_survives(transfer: ComputedTransfer) -> str:
    """Return the statement for a study in which no primary difference survives."""
    if not transfer.num_measured:
        return "No planned difference is measurable."
    return (
        f"None of the {transfer.num_measured} measured differences of a primary metric survives the correction. That"
        " does not show that the arms are equal: the detectable differences say what these patients and seeds could"
        " have shown."
    )


def detectable_text(family: Family) -> str:
    """Return `AUC 0.080 to 0.310` for each metric of a family, and how many differences are not detectable."""
    parts = [
        f"{METRIC_TITLES[metric]} {format_number(found.low)} to {format_number(found.high)}"
        for metric, found in family.detectable.items()
    ]
    if family.num_undetectable:
        parts.append(f"none for {family.num_undetectable} of {family.num_measured}")
    return "; ".join(parts) or NOT_MEASURABLE

"""Results of the transfer in words, for the report, the dataset card and the summary of a stage."""

from synfundus.measures.metric_names import MetricName
from synfundus.measures.transfer_metrics import ArmDifference, ComputedTransfer, Family, Role, family_role
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


ENDPOINTS: dict[Role, str] = {
    "primary": "Primary endpoint: mean AUC over all labels",
    "by target": "By target: AUC of each label, quadratic kappa of the grade",
    "secondary": "Secondary metrics",
}
"""Endpoint of the families of a role."""
SHOWN: tuple[Role, ...] = ("primary", "by target")
"""Roles whose differences report and card show one by one."""


def metric_title(transfer: ComputedTransfer, target: str, metric: MetricName) -> str:
    """Return the name of a metric of a target."""
    return "Mean AUC" if transfer.targets[target].kind == "all labels" else METRIC_TITLES[metric]


def patients_text(transfer: ComputedTransfer, test_set: str, target: str) -> str:
    """Return `215 patients, 107 with the finding`; of all labels together, `215 patients, 16 labels`."""
    for row in transfer.counts:
        if (row.test_set, row.target) == (test_set, target):
            rest = f"{row.num_labels} label{'' if row.num_labels == 1 else 's'}"
            if row.num_positive_patients is not None:
                rest = f"{row.num_positive_patients:,} with the finding"
            return f"{row.num_patients:,} patients, {rest}"
    return ""


def _setting(transfer: ComputedTransfer, entry: ArmDifference) -> str:
    return (
        f"{transfer.test_sets[entry.test_set].title}, {transfer.targets[entry.target].title}, {entry.architecture},"
        f" {percent_of_patients(entry.fraction)}"
    )


def finding_text(transfer: ComputedTransfer, entry: ArmDifference, metric: MetricName) -> str:
    """Return a surviving difference with its P value, setting and patients."""
    found = entry.metrics[metric]
    return (
        f"{contrast_title(transfer, entry.contrast)}: {metric_title(transfer, entry.target, metric)}"
        f" {format_measure(found.difference.measure)}, corrected P value {format_p(found.adjusted_p_value)}."
        f" {_setting(transfer, entry)}; {patients_text(transfer, entry.test_set, entry.target)}."
    )


def labels_of_the_mean(transfer: ComputedTransfer) -> str:
    """Return the labels whose AUCs the primary endpoint averages, by name."""
    return ", ".join(target.title for target in transfer.targets.values() if target.kind == "binary")


def largest_gain(transfer: ComputedTransfer, entry: ArmDifference, metric: MetricName) -> float | None:
    """Return by how much a perfect arm would exceed the reference, 1 - its value; None if not measurable."""
    reference = transfer.contrasts[entry.contrast].reference
    place = (reference, entry.test_set, entry.target, entry.architecture)
    for score in transfer.scores:
        if (score.arm, score.test_set, score.target, score.architecture) == place and score.fraction in (
            entry.fraction,
            None,
        ):
            measure = score.measures[metric]
            return 1.0 - measure.interval[0] if measure.measurable else None
    return None


def num_underpowered(transfer: ComputedTransfer, role: Role) -> int:
    """Return the number of measured differences of a role whose detectable difference exceeds the largest gain.

    Even a perfect arm is found there with less than 80 % power.
    """
    underpowered = 0
    for entry in transfer.differences:
        metric = transfer.main_metric(entry.target)
        found = entry.metrics[metric]
        if family_role(transfer.targets[entry.target].kind, metric) == role and found.difference.measurable:
            gain = largest_gain(transfer, entry, metric)
            underpowered += gain is not None and (found.detectable is None or found.detectable > gain)
    return underpowered


def nothing_survives(transfer: ComputedTransfer, role: Role) -> str:
    """Return the statement for a study in which no difference of a role survives."""
    number = transfer.num_measured(role)
    if not number:
        return "No planned difference is measurable."
    of = f"of the primary endpoint (mean AUC of: {labels_of_the_mean(transfer)})" if role == "primary" else "by target"
    underpowered = num_underpowered(transfer, role)
    limit = (
        f" In {underpowered} of them even a perfect first arm is found with less than 80 % power."
        if underpowered
        else ""
    )
    return (
        f"None of the {number} measured differences {of} survives the correction. That does not show that the arms are"
        f" equal: the detectable differences say what these patients and seeds could have shown.{limit}"
    )


def surviving_secondary(transfer: ComputedTransfer) -> str:
    """Return which differences in secondary metrics survive, in one sentence; empty if none does."""
    found: dict[str, list[str]] = {}
    for entry, metric in transfer.surviving("secondary"):
        place = f"{contrast_title(transfer, entry.contrast)}, {transfer.targets[entry.target].title}"
        found.setdefault(place, []).append(METRIC_TITLES[metric])
    number = sum(map(len, found.values()))
    listed = "; ".join(f"{place}: {', '.join(dict.fromkeys(metrics))}" for place, metrics in found.items())
    return f"In secondary metrics, which decide nothing, {number} survive: {listed}." if found else ""


def detectable_text(family: Family) -> str:
    """Return `AUC 0.080 to 0.310` for each metric of a family, and how many differences are not detectable."""
    parts = [
        f"{METRIC_TITLES[metric]} {' to '.join(dict.fromkeys(map(format_number, (found.low, found.high))))}"
        for metric, found in family.detectable.items()
    ]
    if family.num_undetectable:
        parts.append(f"none for {family.num_undetectable} of {family.num_measured}")
    return "; ".join(parts) or NOT_MEASURABLE

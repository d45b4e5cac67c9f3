"""The report's tables, as rows of text. Numbers become text here; the template places them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from synfundus.diagnosis.metrics import AnnotatorMetrics, HeadMetrics
from synfundus.diagnosis.operating_points import OperatingPoint
from synfundus.labels import HEAD_NAMES, HEADS, LABELS
from synfundus.measures.judge_metrics import GroupSensitivity, IndependentJudge, Sensitivity, SensitivityComparison
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import (
    Comparison,
    ComputedSpace,
    EvaluationMetrics,
    Extrapolation,
    Fidelity,
    FidelityMeasures,
    LabelConsistency,
    Landmark,
    PowerSpectrum,
)
from synfundus.measures.wording import NOT_MEASURABLE, format_measure, format_number

REPORTED_SPLIT = "test"
"""Split on which the report shows the annotator's measures."""


def format_percent(measure: Measure) -> str:
    """Return `91 % (88 to 94)`, or `not measurable`."""
    if not measure.measurable:
        return NOT_MEASURABLE
    value, low, high = map(_in_percent, measure.interval)
    return f"{value} % ({low} to {high})"


def _in_percent(share: float) -> str:
    """Return a share in whole percent; with up to two decimals where 0 or 100 would say none or all wrongly."""
    percent = 100.0 * share
    texts = [f"{percent:.{decimals}f}" for decimals in (0, 1, 2)]
    if percent in (0.0, 100.0):
        return texts[0]
    return next((text for text in texts if abs(float(text)) not in (0.0, 100.0)), texts[-1])


@dataclass(frozen=True)
class ConsistencyRow:
    """One label: requests against predictions, beside the same with shuffled requests."""

    name: str
    title: str
    statistic: str
    num_requested: str
    num_predicted: str
    requested: str
    permuted: str
    agreement: str
    agreement_permuted: str
    by_annotator: str | None
    """The annotator's score, beside that of an independent judge; None if there is none."""
    on_photographs: str | None
    """The judge's score on test photographs; None if there is no independent judge."""
    n: int
    verdict: str
    reason: str | None
    """Reason why the label is not measurable; None if it is."""


def consistency_rows(metrics: EvaluationMetrics) -> list[ConsistencyRow]:
    """Return the rows of all 16 labels."""
    return [_consistency_row(label.name, metrics) for label in LABELS]


def _consistency_row(name: str, metrics: EvaluationMetrics) -> ConsistencyRow:
    entry, annotator, judge = metrics.consistency.labels[name], metrics.annotator_consistency, metrics.judge
    verdicts = {True: "follows", False: "no better than chance", None: NOT_MEASURABLE}
    return ConsistencyRow(
        name=name,
        title=entry.title,
        statistic="kappa" if entry.statistic == "quadratic_kappa" else "AUC",
        num_requested=_counts(entry.num_requested),
        num_predicted=_counts(entry.num_predicted) if any(entry.num_predicted) else "unknown",
        requested=format_measure(entry.requested),
        permuted=format_measure(entry.permuted),
        agreement=format_percent(entry.agreement),
        agreement_permuted=format_percent(entry.agreement_permuted),
        by_annotator=None if annotator is None else format_measure(annotator.labels[name].requested),
        on_photographs=format_measure(judge.test_scores[name]) if isinstance(judge, IndependentJudge) else None,
        n=entry.requested.n,
        verdict=verdicts[entry.beats_permuted],
        reason=entry.requested.reason,
    )


def _counts(counts: Sequence[int]) -> str:
    return " / ".join(f"{count:,}" for count in counts)


@dataclass(frozen=True)
class ConfusionCell:
    """Number of samples with one requested and one predicted value."""

    count: str
    share: float
    """Share of the row, 0 to 1, for shading."""


def confusion_rows(entry: LabelConsistency) -> list[list[ConfusionCell]]:
    """Return the confusion matrix: a row for each requested value."""
    return [
        [ConfusionCell(f"{count:,}", count / sum(row) if sum(row) else 0.0) for count in row] for row in entry.confusion
    ]


@dataclass(frozen=True)
class MeasureRow:
    """One measure of fidelity over all images."""

    title: str
    better: str
    held_out: str
    synthetic: str
    difference: str
    reason: str | None


@dataclass(frozen=True)
class StratumRow:
    """All measures of fidelity of one stratum."""

    title: str
    n: int
    held_out: list[str]
    synthetic: list[str]
    reason: str | None
    """Reason why no measure is measurable; None if one is."""


@dataclass(frozen=True)
class LandmarkRow:
    """KID of samples and of phantoms from held-out photographs."""

    n: int
    synthetic: str
    phantoms: str


@dataclass(frozen=True)
class ExtrapolationRow:
    """Fréchet distances at an unlimited number of images."""

    held_out: str
    synthetic: str
    difference: str


@dataclass(frozen=True)
class SpaceTable:
    """Fidelity in one feature space, or the reason why it was not computed."""

    title: str
    reason: str | None = None
    n: int = 0
    overall: Sequence[MeasureRow] = ()
    strata: Sequence[StratumRow] = ()
    extrapolation: ExtrapolationRow | None = None
    landmark: LandmarkRow | None = None


def space_tables(fidelity: Fidelity) -> list[SpaceTable]:
    """Return one table for each feature space."""
    return [
        _space_table(fidelity, space)
        if isinstance(space, ComputedSpace)
        else SpaceTable(title=space.title, reason=space.reason)
        for space in fidelity.ordered_spaces
    ]


def _space_table(fidelity: Fidelity, space: ComputedSpace) -> SpaceTable:
    overall = space.strata["overall"]
    return SpaceTable(
        title=space.title,
        n=overall.n,
        overall=_measure_rows(fidelity, overall),
        strata=[
            StratumRow(
                title=fidelity.strata[key].title,
                n=compared.n,
                held_out=[format_measure(measure) for _, measure in compared.held_out.items()],
                synthetic=[format_measure(measure) for _, measure in compared.synthetic.items()],
                reason=_common_reason(compared.synthetic),
            )
            for key, compared in space.strata.items()
            if key != "overall"
        ],
        extrapolation=_extrapolation_row(space.extrapolation),
        landmark=_landmark_row(space.landmark),
    )


def _measure_rows(fidelity: Fidelity, compared: Comparison) -> list[MeasureRow]:
    return [
        MeasureRow(
            title=fidelity.measures[name].title,
            better=fidelity.measures[name].better,
            held_out=format_measure(compared.held_out[name]),
            synthetic=format_measure(measure),
            difference=format_measure(compared.difference[name]),
            reason=measure.reason,
        )
        for name, measure in compared.synthetic.items()
    ]


def _extrapolation_row(limit: Extrapolation) -> ExtrapolationRow | None:
    if not limit.points:
        return None
    return ExtrapolationRow(*map(format_measure, (limit.held_out, limit.synthetic, limit.difference)))


def _landmark_row(landmark: Landmark | None) -> LandmarkRow | None:
    if landmark is None:
        return None
    return LandmarkRow(landmark.n, format_measure(landmark.synthetic), format_measure(landmark.phantoms))


def _common_reason(measures: FidelityMeasures) -> str | None:
    """Return why no measure of a comparison is measurable; None if one is."""
    reasons = [measure.reason for _, measure in measures.items()]
    return None if None in reasons else reasons[0]


@dataclass(frozen=True)
class OctaveRow:
    """Power of photographs and samples in one octave."""

    title: str
    held_out: str
    synthetic: str
    ratio: str
    reason: str | None


def octave_rows(spectrum: PowerSpectrum) -> list[OctaveRow]:
    """Return one row for each octave, from coarse to fine."""

    def power(value: float | None) -> str:
        return NOT_MEASURABLE if value is None else format_number(value)

    return [
        OctaveRow(
            octave.title,
            power(octave.held_out),
            power(octave.synthetic),
            format_measure(octave.ratio),
            octave.ratio.reason,
        )
        for octave in spectrum.octaves
    ]


@dataclass(frozen=True)
class SensitivityRow:
    """Sensitivity to a disease, or its mean over a group, on photographs and on samples."""

    title: str
    counts: str
    """Images with and without the finding in each set."""
    photographs: str
    samples: str
    difference: str
    reason: str | None
    """Reason why it is not measurable; None if it is."""
    is_group: bool


def sensitivity_rows(sensitivity: Sensitivity) -> list[SensitivityRow]:
    """Return the rows of both groups, then those of the eleven diseases."""
    groups = [_sensitivity_row(f"{g.title} (mean of {len(g.diseases)})", "", g) for g in sensitivity.groups.values()]
    return groups + [
        _sensitivity_row(disease.title, f"{disease.num_positive} / {disease.num_negative}", disease)
        for disease in sensitivity.diseases.values()
    ]


def _sensitivity_row(title: str, counts: str, entry: SensitivityComparison | GroupSensitivity) -> SensitivityRow:
    return SensitivityRow(
        title=title,
        counts=counts,
        photographs=format_percent(entry.photographs),
        samples=format_percent(entry.samples),
        difference=format_percent(entry.difference),
        reason=entry.difference.reason,
        is_group=isinstance(entry, GroupSensitivity),
    )


@dataclass(frozen=True)
class AnnotatorRow:
    """One head of the annotator on held-out photographs."""

    title: str
    num_images: int
    num_patients: int
    num_positive: int
    auc: str
    point: str
    """Rule of the operating point, or why no threshold meets it."""
    prevalence: str
    """Prevalence that the operating point and PPV assume."""
    decided: list[str]
    """Average precision, sensitivity, specificity, PPV, F1 and ECE."""
    unusable: str | None
    """Reason why the head is unusable; None if it is usable."""


def annotator_rows(metrics: AnnotatorMetrics) -> list[AnnotatorRow]:
    """Return one row for each label, four for the grades."""
    heads = metrics.splits[REPORTED_SPLIT].heads
    return [
        _annotator_row(
            _head_title(label.title, label.name, head),
            heads[head],
            metrics.operating_points.get(head),
            metrics.unusable_heads.get(head),
        )
        for label in LABELS
        for head in HEAD_NAMES[HEADS[label.name]]
    ]


def _head_title(title: str, label: str, head: str) -> str:
    """Return the title of a head: `Diabetic retinopathy grade, ≥ 2` for one of several heads of a label."""
    return title if head == label else f"{title}, {head.removeprefix(label).replace('>=', '≥ ')}"


def _annotator_row(title: str, head: HeadMetrics, point: OperatingPoint | None, unusable: str | None) -> AnnotatorRow:
    decided = (head.average_precision, head.sensitivity, head.specificity, head.ppv, head.f1, head.ece)
    return AnnotatorRow(
        title=title,
        num_images=head.num_images,
        num_patients=head.num_patients,
        num_positive=head.num_positive,
        auc=format_measure(head.auc),
        point="" if point is None else point.reason or point.words,
        prevalence="" if point is None else format_number(point.prevalence),
        decided=[format_measure(measure) for measure in decided],
        unusable=unusable,
    )


def flatten(tree: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield a JSON tree as (dotted key, value) rows; `prefix` stands before each key."""
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{path}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from flatten({str(i): item for i, item in enumerate(value)}, f"{path}.")
        elif isinstance(value, list):
            yield path, ", ".join(map(str, value)) or "none"
        else:
            yield path, "none" if value is None else str(value)

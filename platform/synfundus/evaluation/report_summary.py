"""The tiles of the report's summary: the main results, for readers who read no further."""

from dataclasses import dataclass

from synfundus.diagnosis.metrics import AnnotatorMetrics
from synfundus.evaluation.report_tables import format_percent
from synfundus.labels import NUM_LABELS
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import (
    Counts,
    EvaluationMetrics,
    Fidelity,
    MeasuredPrivacy,
    PowerSpectrum,
    Privacy,
)
from synfundus.measures.transfer_metrics import ComputedTransfer, Transfer
from synfundus.measures.wording import NOT_MEASURABLE, format_number, grader_name


@dataclass(frozen=True)
class SummaryTile:
    """One tile of the summary."""

    title: str
    value: str
    comment: str


def summary_tiles(metrics: EvaluationMetrics, annotator: AnnotatorMetrics) -> list[SummaryTile]:
    """Return the tiles in their order."""
    consistency = metrics.consistency
    side = consistency.labels["eye_side"]
    num_measurable = len(consistency.labels) - len(consistency.not_measurable)
    return [
        SummaryTile("Synthetic images", f"{metrics.counts.synthetic.num_images:,}", _set_sizes(metrics.counts)),
        SummaryTile(
            "Eye side as requested",
            _share(side.agreement),
            f"of the samples show the requested eye side, as the {grader_name(metrics.judge)} predicts it; with"
            f" shuffled requests {_share(side.agreement_permuted)}",
        ),
        SummaryTile(
            "Labels that follow the request",
            f"{len(consistency.followed)} of {num_measurable}",
            "agree with the request better than with shuffled requests, and the 95 % intervals do not overlap;"
            f" {NUM_LABELS - num_measurable} of {NUM_LABELS} labels cannot be measured",
        ),
        _distance_tile(metrics.fidelity),
        _detail_tile(metrics.spectrum),
        _transfer_tile(metrics.transfer),
        _copies_tile(metrics.privacy),
        SummaryTile(
            "Annotated labels",
            f"{NUM_LABELS - len(annotator.unusable.keys() | annotator.unmet.keys())} of {NUM_LABELS}",
            "are predicted by the annotator; the others are annotated as unknown and not evaluated",
        ),
    ]


def _share(measure: Measure) -> str:
    """Return a share as a percentage without its interval."""
    return format_percent(measure).split(" (")[0]


def _set_sizes(counts: Counts) -> str:
    reference, held_out = (
        f"{images.num_images:,} {name} photographs of {images.num_patients or 0:,} patients"
        for images, name in ((counts.reference, "training"), (counts.held_out, "held-out"))
    )
    return f"compared with {reference} and {held_out}"


def _distance_tile(fidelity: Fidelity) -> SummaryTile:
    title = "Distance from real photographs"
    spaces = fidelity.computed_spaces
    overall = spaces[0].strata["overall"] if spaces else None
    if overall is None or (synthetic := overall.synthetic.kid.value) is None:
        return SummaryTile(title, NOT_MEASURABLE, "see the section on likeness")
    held_out = overall.held_out.kid.value
    return SummaryTile(
        title,
        format_number(synthetic),
        f"is the kernel distance (KID) of the samples in {spaces[0].title.lower()}; held-out photographs:"
        f" {NOT_MEASURABLE if held_out is None else format_number(held_out)}; lower is nearer",
    )


def _detail_tile(spectrum: PowerSpectrum) -> SummaryTile:
    title = "Fine detail"
    if (top := spectrum.top) is None or not top.ratio.measurable:
        return SummaryTile(title, NOT_MEASURABLE, "see the section on likeness")
    _, low, high = top.ratio.interval
    return SummaryTile(
        title,
        _share(top.ratio),
        f"of the power that held-out photographs have in the top octave ({top.title});"
        f" 95 % interval {100 * low:.0f} to {100 * high:.0f} %; 100 % is equal",
    )


def _transfer_tile(transfer: Transfer) -> SummaryTile:
    title = "Worth for training"
    if not isinstance(transfer, ComputedTransfer):
        return SummaryTile(title, NOT_MEASURABLE, transfer.reason)
    families = transfer.families_of("primary").values()
    return SummaryTile(
        title,
        f"{sum(family.num_better for family in families)} better, {sum(family.num_worse for family in families)} worse",
        f"of {transfer.num_measured('primary')} measured differences in mean AUC over all labels, between ways of"
        " training, survive Holm's correction; the others do not show that the ways are equal",
    )


def _copies_tile(privacy: Privacy) -> SummaryTile:
    title = "Near a training photograph"
    if not isinstance(privacy, MeasuredPrivacy):
        return SummaryTile(title, NOT_MEASURABLE, privacy.reason)
    return SummaryTile(
        title,
        f"{privacy.num_near} of {privacy.num_sampled:,}",
        f"samples were nearer to a training photograph than {100 - 100 * privacy.expected_rate:.3g} % of photographs of"
        f" other people are{'; they were rejected' if privacy.num_near else ''}",
    )

"""The report's tables about variety, as rows of text: effective number, twins, combinations, anatomy, findings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synfundus.evaluation.report_tables import format_percent
from synfundus.labels import LABEL_BY_NAME, READABILITY
from synfundus.measures.diversity_metrics import (
    AnatomyComparison,
    AnatomyDistribution,
    AnatomyName,
    Diversity,
    FindingCombination,
    NearestOther,
    RequestedFinding,
    VendiComparison,
)
from synfundus.measures.metrics import Fidelity
from synfundus.measures.wording import NOT_MEASURABLE, format_measure, format_number, format_p

COPY_SPACE_TITLE = "Copy descriptors"


@dataclass(frozen=True)
class VarietyRow:
    """One measure of variety in one space."""

    title: str
    space: str
    n: int
    held_out: str
    synthetic: str
    ratio: str
    reason: str | None


def variety_rows(diversity: Diversity, fidelity: Fidelity) -> list[VarietyRow]:
    """Return the Vendi scores, then the distances to the nearest other image, of each space."""

    def title(space: str) -> str:
        return fidelity.spaces[space].title if space in fidelity.spaces else COPY_SPACE_TITLE

    return [
        *(_vendi_row(title(space), compared) for space, compared in diversity.vendi.items()),
        *(_twins_row(title(space), compared) for space, compared in diversity.nearest_other.items()),
    ]


def _vendi_row(space: str, compared: VendiComparison) -> VarietyRow:
    return VarietyRow(
        "Effective number of images (Vendi score)",
        space,
        compared.n,
        format_measure(compared.held_out),
        format_measure(compared.synthetic),
        format_measure(compared.ratio),
        compared.ratio.reason,
    )


def _twins_row(space: str, compared: NearestOther) -> VarietyRow:
    return VarietyRow(
        "Share with a twin in the same set",
        space,
        compared.n,
        f"{100 * compared.quantile:.3g} %, by definition",
        format_percent(compared.twins),
        f"distance to the nearest other image: {format_measure(compared.median_ratio)}",
        compared.twins.reason,
    )


@dataclass(frozen=True)
class CombinationRow:
    """A rare combination of findings, by name."""

    title: str
    num_photographs: int
    num_patients: int
    num_requested: int
    num_annotated: int


def combination_rows(rarest: Sequence[FindingCombination]) -> list[CombinationRow]:
    """Return the named combinations, rarest first."""
    return [
        CombinationRow(
            " + ".join(row.findings) or "No known finding",
            row.num_photographs,
            row.num_patients,
            row.num_requested,
            row.num_annotated,
        )
        for row in rarest
    ]


@dataclass(frozen=True)
class AnatomyRow:
    """One measure of anatomy, real beside synthetic."""

    title: str
    unit: str
    left_out: str
    error: str
    """Median error and rank correlation on phantoms."""
    found: tuple[str, str]
    """Share of the photographs and of the samples in which it was found."""
    values: tuple[str, str]
    """Median and the range of 90 % of the values, of photographs and of samples."""
    difference: str
    distance: str
    p_adjusted: str
    verdict: str
    reason: str | None


def anatomy_rows(anatomy: Mapping[AnatomyName, AnatomyComparison]) -> list[AnatomyRow]:
    """Return one row for each measure of anatomy."""
    return [_anatomy_row(entry) for entry in anatomy.values()]


def _anatomy_row(entry: AnatomyComparison) -> AnatomyRow:
    error = entry.error
    verdicts = {True: "differs", False: "no difference found", None: NOT_MEASURABLE}
    return AnatomyRow(
        title=entry.title,
        unit=entry.unit,
        left_out=", ".join(_finding(name, lowest) for name, lowest in entry.left_out.items()),
        error="not known"
        if error is None
        else f"{format_number(error.median_error)} (rank correlation {error.rank_correlation:.2f})",
        found=(format_percent(entry.held_out.found), format_percent(entry.synthetic.found)),
        values=(_values(entry.held_out), _values(entry.synthetic)),
        difference=format_measure(entry.difference),
        distance="" if entry.distance is None else format_number(entry.distance),
        p_adjusted=format_p(entry.p_adjusted),
        verdict=verdicts[entry.differs],
        reason=entry.difference.reason,
    )


def _finding(name: str, lowest: int) -> str:
    """Return the words for an image that is left out: a disease, a grade or more, or an unreadable region."""
    title = LABEL_BY_NAME[name].title
    if name == "is_fundus":
        return "no fundus"
    if name in READABILITY:
        return title.replace(" readable", " not readable").lower()
    return f"{title.lower()} {lowest} or more" if name == "dr_grade" else title.lower()


def _values(distribution: AnatomyDistribution) -> str:
    """Return `0.160 (0.140 to 0.180)`: the median and the range of 90 % of the values."""
    if not distribution.quantiles:
        return NOT_MEASURABLE
    low, _, median, _, high = map(format_number, distribution.quantiles)
    return f"{median} ({low} to {high})"


@dataclass(frozen=True)
class FindingRow:
    """One finding that was requested of phantoms."""

    title: str
    diameter: str
    sensitivity: str
    specificity: str
    n: int
    detected: str
    present: str
    present_without: str
    reason: str | None


def finding_rows(findings: Mapping[str, RequestedFinding]) -> list[FindingRow]:
    """Return one row for each finding, smallest first."""
    return [
        FindingRow(
            title=entry.title,
            diameter=f"{100 * entry.diameter:.1f} % of the field, {entry.diameter_px:.1f} px",
            sensitivity=format_percent(entry.sensitivity),
            specificity=format_percent(entry.specificity),
            n=entry.detected.n,
            detected=format_percent(entry.detected),
            present=format_percent(entry.present),
            present_without=format_percent(entry.present_without),
            reason=entry.present.reason,
        )
        for entry in findings.values()
    ]

"""The report: one self-contained HTML page for clinicians, in two editions from one template.

The private edition may show real photographs. The public one shows none, and nothing that leads to a person:
`public_content` removes them before the template is rendered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from pydantic import JsonValue

from synfundus.diagnosis.metrics import AnnotatorMetrics
from synfundus.evaluation import report_diversity
from synfundus.evaluation import report_tables as tables
from synfundus.evaluation.data_uri import image_uri
from synfundus.evaluation.examples import Pixels
from synfundus.evaluation.figures.labels import labels_not_measurable, labels_without_values
from synfundus.evaluation.figures.training import LossCurves
from synfundus.evaluation.privacy_page import attack_rows, gate_view
from synfundus.evaluation.report_figures import ReportFigures, plot_figures
from synfundus.evaluation.report_summary import summary_tiles
from synfundus.evaluation.report_text import MEANINGS, TRANSFER_MEANINGS
from synfundus.evaluation.transfer_tables import transfer_section
from synfundus.fundus.origin import OTHER_SOURCES, Origin
from synfundus.measures.editions import Edition, edition_mark, withhold
from synfundus.measures.metrics import EvaluationMetrics, MeasuredPrivacy
from synfundus.measures.templates import read_template
from synfundus.measures.transfer_metrics import ComputedTransfer
from synfundus.measures.wording import RESEARCH_ONLY, describe_judge, format_measure, format_number, grader_name
from synfundus.samples.chain import chain_sentences

HERO_IMAGES = 8


@dataclass(frozen=True)
class ReportContent:
    """Everything that the report shows."""

    title: str
    study: Mapping[str, JsonValue]
    """Settings of the study, resolved."""
    metrics: EvaluationMetrics
    annotator_metrics: AnnotatorMetrics
    real_photographs: bool = True
    """False if the study's photographs are phantoms: the page then says so."""
    origin: Origin = OTHER_SOURCES
    """Releases that the study's photographs come from: the page then says that they are synthetic."""
    curves: Sequence[LossCurves] = ()
    """Losses of each training."""
    synthetic: Mapping[str, Sequence[Pixels]] = field(default_factory=dict)
    """Samples, by the title of the requested finding."""
    real: Mapping[str, Sequence[Pixels]] = field(default_factory=dict)
    """Photographs, by the title of their finding. Private."""
    closest_pairs: Sequence[tuple[Pixels, Pixels, float]] = ()
    """(sample, nearest training photograph, distance ratio), smallest first. Private."""
    provenance: Mapping[str, JsonValue] = field(default_factory=dict)
    """Versions and digests."""

    @cached_property
    def figures(self) -> ReportFigures:
        """The figures of both editions, plotted once from what the public edition may show."""
        shown = public_content(self)
        return plot_figures(shown.metrics, shown.curves)


def public_content(content: ReportContent) -> ReportContent:
    """Return the content without photographs, and without what leads to a person: paths, file names, ids."""
    metrics = withhold(content.metrics)
    if isinstance(metrics.privacy, MeasuredPrivacy):
        metrics = metrics.model_copy(update={"privacy": metrics.privacy.model_copy(update={"closest": ()})})
    return replace(
        content,
        title=withhold(content.title),
        study=withhold(content.study),
        origin=withhold(content.origin),
        metrics=metrics,
        annotator_metrics=withhold(content.annotator_metrics),
        synthetic={withhold(title): images for title, images in content.synthetic.items()},
        real={},
        closest_pairs=(),
        provenance=withhold(content.provenance),
    )


def render_report(content: ReportContent, edition: Edition) -> str:
    """Return the page. The same content gives the same text."""
    shown = content if edition == "private" else public_content(content)
    metrics, annotator = shown.metrics, shown.annotator_metrics
    return read_template("synfundus.evaluation", "report.html.j2").render(
        edition=edition,
        edition_mark=edition_mark(edition),
        research_only=RESEARCH_ONLY,
        title=shown.title,
        metrics=metrics,
        real_photographs=shown.real_photographs,
        chain=chain_sentences(shown.origin),
        number=format_number,
        meanings=MEANINGS,
        tiles=summary_tiles(metrics, annotator),
        judge=describe_judge(metrics.judge),
        grader=grader_name(metrics.judge),
        labels=tables.consistency_rows(metrics),
        sensitivities=tables.sensitivity_rows(metrics.sensitivity),
        grades=tables.confusion_rows(metrics.consistency.labels["dr_grade"]),
        spaces=tables.space_tables(metrics.fidelity),
        annotator=tables.annotator_rows(annotator),
        kappa=annotator.splits[tables.REPORTED_SPLIT].quadratic_kappa,
        format_measure=format_measure,
        not_measured=list(dict.fromkeys(metrics.notes)),
        study=list(tables.flatten(shown.study)),
        provenance=list(tables.flatten(shown.provenance)),
        octaves=tables.octave_rows(metrics.spectrum),
        transfer=transfer_section(metrics.transfer) if isinstance(metrics.transfer, ComputedTransfer) else None,
        transfer_meanings=TRANSFER_MEANINGS,
        percent=tables.format_percent,
        **_diversity_tables(metrics),
        without_values=labels_without_values(metrics.label_distributions),
        without_score=labels_not_measurable(metrics.consistency),
        figures=content.figures,
        gate=gate_view(metrics.verdict),
        audit=metrics.audit,
        attacks=attack_rows([metrics.audit.attack_on_images, metrics.audit.attack_on_weights]),
        **_images(shown),
    )


def _diversity_tables(metrics: EvaluationMetrics) -> dict[str, Sequence[object]]:
    """Return the tables of the section on variety, by their names in its template."""
    diversity = metrics.diversity
    requested = diversity.requested_findings
    return {
        "variety": report_diversity.variety_rows(diversity, metrics.fidelity),
        "rare_combinations": report_diversity.combination_rows(diversity.combinations.rarest),
        "anatomy": report_diversity.anatomy_rows(diversity.anatomy),
        "requested_findings": () if requested is None else report_diversity.finding_rows(requested.findings),
    }


@dataclass(frozen=True)
class Sheet:
    """Example images of one finding, as data URIs."""

    title: str
    synthetic: list[str]
    real: list[str]


def _sheets(content: ReportContent) -> list[Sheet]:
    return [
        Sheet(
            title=title,
            synthetic=[image_uri(image) for image in content.synthetic.get(title, ())],
            real=[image_uri(image) for image in content.real.get(title, ())],
        )
        for title in dict.fromkeys([*content.synthetic, *content.real])
    ]


def _images(content: ReportContent) -> dict[str, object]:
    """Return the images of the page as data URIs, by their names in its template."""
    sheets = _sheets(content)
    pairs = [(image_uri(sample), image_uri(near), ratio) for sample, near, ratio in content.closest_pairs]
    return {"sheets": sheets, "hero": _hero(sheets), "pairs": pairs}


def _hero(sheets: Sequence[Sheet]) -> list[str]:
    """Return the first sample of each finding, then the second ones, for the strip of the summary."""
    samples = [sheet.synthetic[place] for place in (0, 1) for sheet in sheets if len(sheet.synthetic) > place]
    return samples[:HERO_IMAGES]

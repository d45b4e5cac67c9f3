"""The report: one self-contained HTML page that a clinician can read, in two editions from one template.

The private edition may show real photographs. The public one gets none, nor anything that leads to a person: they are
taken out of the content before the template sees it.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jinja2

from synfundus.evaluation import report_figures as figures
from synfundus.evaluation import report_tables as tables
from synfundus.evaluation.pictures import Pixels
from synfundus.measures.editions import Edition, edition_mark, withhold
from synfundus.measures.wording import RESEARCH_ONLY, format_number

HERO_PICTURES = 8


@dataclass(frozen=True)
class ReportContent:
    """Everything that the report shows, as plain data."""

    title: str
    study: Mapping[str, Any]
    """Resolved settings."""
    metrics: Mapping[str, Any]
    """metrics.json of the evaluation; docs/evaluation.md."""
    annotator_metrics: Mapping[str, Any]
    """metrics.json of the annotator."""
    real_photographs: bool = True
    """False where the study's photographs are phantoms: the page then says that its "real" means drawn."""
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    """Title of a training: (step, loss) points."""
    synthetic: Mapping[str, Sequence[Pixels]] = field(default_factory=dict)
    """Condition in words: samples of it."""
    real: Mapping[str, Sequence[Pixels]] = field(default_factory=dict)
    """The same conditions: photographs that have it. Private."""
    closest_pairs: Sequence[tuple[Pixels, Pixels, float]] = ()
    """(synthetic, nearest training image, distance), nearest first. Private."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Versions, seeds, digests, hardware."""


def public_content(content: ReportContent) -> ReportContent:
    """The content without any photograph of a person, and without what leads to one (places, files, ids)."""
    metrics = dict(withhold(content.metrics))
    metrics["privacy"] = {key: value for key, value in metrics["privacy"].items() if key != "closest"}
    return replace(
        content,
        title=withhold(content.title),
        study=withhold(content.study),
        metrics=metrics,
        annotator_metrics=withhold(content.annotator_metrics),
        curves={withhold(title): points for title, points in content.curves.items()},
        synthetic={withhold(title): pictures for title, pictures in content.synthetic.items()},
        real={},
        closest_pairs=(),
        provenance=withhold(content.provenance),
    )


def render_report(content: ReportContent, edition: Edition) -> str:
    """The page. The same content gives the same text."""
    shown = content if edition == "private" else public_content(content)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("synfundus.evaluation"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        edition=edition,
        edition_mark=edition_mark(edition),
        research_only=RESEARCH_ONLY,
        title=shown.title,
        metrics=shown.metrics,
        real_photographs=shown.real_photographs,
        number=format_number,
        **_tables(shown),
        **_figures(shown),
        **_pictures(shown),
    )


def report_figures(content: ReportContent) -> dict[str, bytes]:
    """The figures by themselves, as SVG; none of them shows a photograph or names a person."""
    found = _figures(content)
    uris = {name: uri for name, uri in found.items() if isinstance(uri, str)}
    uris |= {f"strata-{number}": uri for number, (_, uri) in enumerate(found["strata"])}
    return {name: base64.b64decode(uri.partition(",")[2]) for name, uri in sorted(uris.items())}


def _tables(content: ReportContent) -> dict[str, Any]:
    metrics, annotator = content.metrics, content.annotator_metrics
    labels = metrics["consistency"]["labels"]
    return {
        "facts": tables.summary(metrics, annotator),
        "labels": tables.consistency_rows(labels),
        "grades": tables.confusion(labels["dr_grade"]),
        "spaces": tables.fidelity_tables(metrics["fidelity"]),
        "annotator": tables.annotator_rows(annotator),
        "kappa": tables.grade_kappa(annotator),
        "meanings": tables.MEANINGS,
        "not_measured": list(dict.fromkeys(metrics["notes"])),
        "study": tables.flatten(content.study),
        "provenance": tables.flatten(content.provenance),
    }


def _figures(content: ReportContent) -> dict[str, Any]:
    metrics, fidelity = content.metrics, content.metrics["fidelity"]
    labels, privacy = metrics["consistency"]["labels"], metrics["privacy"]
    spaces = [space for space in fidelity["spaces"].values() if space["status"] == "computed"]
    drawn = ((space["title"], figures.draw_strata(space, fidelity["strata"], fidelity["measures"])) for space in spaces)
    return {
        "distributions": figures.draw_distributions(metrics["label_distributions"]),
        "consistency": figures.draw_consistency(labels),
        "roc": figures.draw_roc(labels),
        "strata": [(title, uri) for title, uri in drawn if uri],
        "distances": figures.draw_distances(privacy) if privacy["status"] == "measured" else None,
        "curves": figures.draw_curves(content.curves),
    }


def _pictures(content: ReportContent) -> dict[str, Any]:
    """Pictures as data URIs: a strip for the summary, sheets per condition, closest pairs."""
    sheets = [
        {
            "title": title,
            "synthetic": [figures.picture_uri(picture) for picture in content.synthetic.get(title, ())],
            "real": [figures.picture_uri(picture) for picture in content.real.get(title, ())],
        }
        for title in dict.fromkeys([*content.synthetic, *content.real])
    ]
    hero = [sheet["synthetic"][k] for k in (0, 1) for sheet in sheets if len(sheet["synthetic"]) > k]
    pairs = [
        (figures.picture_uri(synthetic), figures.picture_uri(real), distance)
        for synthetic, real, distance in content.closest_pairs
    ]
    return {"sheets": sheets, "hero": hero[:HERO_PICTURES], "pairs": pairs}

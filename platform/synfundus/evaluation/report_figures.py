"""All figures of one report, for its page and as files."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from synfundus.evaluation.figures.labels import plot_consistency, plot_distributions, plot_roc, plot_sensitivity
from synfundus.evaluation.figures.likeness import plot_distances, plot_extrapolation, plot_spectrum, plot_strata
from synfundus.evaluation.figures.training import LossCurves, plot_losses
from synfundus.measures.metrics import EvaluationMetrics, MeasuredPrivacy


@dataclass(frozen=True)
class ReportFigures:
    """The figures as data URIs; None for a figure without data."""

    distributions: str | None
    consistency: str | None
    roc: str | None
    strata: Mapping[str, str]
    """One figure for each feature space with a measurable stratum, by the title of the space."""
    extrapolation: Mapping[str, str]
    """One figure for each feature space with a Fréchet distance, by the title of the space."""
    sensitivity: str | None
    spectrum: str | None
    distances: str | None
    losses: str | None

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield name and URI of each figure that has data."""
        for name in ("distributions", "consistency", "roc", "sensitivity", "spectrum", "distances", "losses"):
            uri: str | None = getattr(self, name)
            if uri is not None:
                yield name, uri
        for name, of_spaces in (("strata", self.strata), ("extrapolation", self.extrapolation)):
            for number, uri in enumerate(of_spaces.values()):
                yield f"{name}-{number}", uri

    def files(self) -> dict[str, bytes]:
        """Return the figures as SVG by name; none of them shows a photograph or names a person."""
        return {name: base64.b64decode(uri.partition(",")[2]) for name, uri in sorted(self.items())}


def plot_figures(metrics: EvaluationMetrics, curves: Sequence[LossCurves]) -> ReportFigures:
    """Plot all figures of a report."""
    spaces = metrics.fidelity.computed_spaces
    strata = {space.title: plot_strata(space, metrics.fidelity) for space in spaces}
    extrapolations = {space.title: plot_extrapolation(space.extrapolation) for space in spaces}
    return ReportFigures(
        distributions=plot_distributions(metrics.label_distributions),
        consistency=plot_consistency(metrics.consistency),
        roc=plot_roc(metrics.consistency),
        strata={title: uri for title, uri in strata.items() if uri is not None},
        extrapolation={title: uri for title, uri in extrapolations.items() if uri is not None},
        sensitivity=plot_sensitivity(metrics.sensitivity),
        spectrum=plot_spectrum(metrics.spectrum),
        distances=plot_distances(metrics.privacy) if isinstance(metrics.privacy, MeasuredPrivacy) else None,
        losses=plot_losses(curves),
    )

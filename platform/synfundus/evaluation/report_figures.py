"""All figures of one report, for its page and as files."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from synfundus.evaluation.figures.diversity import plot_anatomy, plot_requested_findings
from synfundus.evaluation.figures.labels import plot_consistency, plot_distributions, plot_roc, plot_sensitivity
from synfundus.evaluation.figures.likeness import plot_extrapolation, plot_ratios, plot_spectrum, plot_strata
from synfundus.evaluation.figures.memorisation import plot_memorisation
from synfundus.evaluation.figures.training import LossCurves, plot_losses
from synfundus.evaluation.figures.transfer import plot_curves, plot_forest, plot_gain
from synfundus.measures.metrics import EvaluationMetrics, MeasuredPrivacy
from synfundus.measures.transfer_metrics import ComputedTransfer, Transfer

_SINGLE = (
    *("distributions", "consistency", "roc", "sensitivity", "spectrum"),
    *("anatomy", "requested_findings", "ratios", "memorisation", "losses", "transfer_curves"),
)
"""Figures of which a report has one."""


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
    anatomy: str | None
    requested_findings: str | None
    ratios: str | None
    memorisation: str | None
    losses: str | None
    transfer_forests: Mapping[str, str]
    """Differences between two arms, one figure for each planned comparison with a measurable one, by its key."""
    transfer_gains: Mapping[str, str]
    """Differences against the fraction of training patients, one figure for each test, by its title."""
    transfer_curves: str | None

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield name and URI of each figure that has data."""
        for name in _SINGLE:
            uri: str | None = getattr(self, name)
            if uri is not None:
                yield name.replace("_", "-"), uri
        for name, several in (
            ("strata", self.strata),
            ("extrapolation", self.extrapolation),
            ("transfer-forest", self.transfer_forests),
            ("transfer-gain", self.transfer_gains),
        ):
            for number, uri in enumerate(several.values()):
                yield f"{name}-{number}", uri

    def files(self) -> dict[str, bytes]:
        """Return the figures as SVG by name; none of them shows a photograph or names a person."""
        return {name: base64.b64decode(uri.partition(",")[2]) for name, uri in sorted(self.items())}


def plot_figures(metrics: EvaluationMetrics, curves: Sequence[LossCurves]) -> ReportFigures:
    """Plot all figures of a report."""
    spaces = metrics.fidelity.computed_spaces
    privacy = metrics.privacy if isinstance(metrics.privacy, MeasuredPrivacy) else None
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
        anatomy=plot_anatomy(metrics.diversity.anatomy),
        requested_findings=plot_requested_findings(metrics.diversity.requested_findings),
        ratios=None if privacy is None else plot_ratios(privacy),
        memorisation=None if privacy is None else plot_memorisation(metrics.audit.memorisation, privacy),
        losses=plot_losses(curves),
        **_plot_transfer(metrics.transfer),
    )


class _TransferFigures(TypedDict):
    """Figures of the transfer."""

    transfer_forests: Mapping[str, str]
    transfer_gains: Mapping[str, str]
    transfer_curves: str | None


def _plot_transfer(transfer: Transfer) -> _TransferFigures:
    """Plot the figures of the transfer; none if no model was trained on the samples."""
    if not isinstance(transfer, ComputedTransfer):
        return {"transfer_forests": {}, "transfer_gains": {}, "transfer_curves": None}
    forests = {key: plot_forest(transfer, key) for key in transfer.contrasts}
    gains = {found.title: plot_gain(transfer, name) for name, found in transfer.test_sets.items()}
    return {
        "transfer_forests": {key: uri for key, uri in forests.items() if uri is not None},
        "transfer_gains": {title: uri for title, uri in gains.items() if uri is not None},
        "transfer_curves": plot_curves(transfer),
    }

"""Figures of variety: anatomy of photographs beside that of samples, and presence of requested findings by size."""

from collections.abc import Mapping

from matplotlib.axes import Axes

from synfundus.evaluation.figures.style import (
    CHANCE,
    GRID,
    PHOTOGRAPHS,
    REQUESTED,
    SYNTHETIC,
    panels,
    plot_measure,
    point_legend,
    styled_figure,
    svg_uri,
    wrapped,
)
from synfundus.measures.diversity_metrics import AnatomyComparison, AnatomyDistribution, AnatomyName, RequestedFindings

COLUMNS = 3


def plot_anatomy(anatomy: Mapping[AnatomyName, AnatomyComparison]) -> str | None:
    """Plot median, middle half and middle 90 % of each measure, photographs above samples; None without a value."""
    shown = [entry for entry in anatomy.values() if entry.held_out.quantiles and entry.synthetic.quantiles]
    if not shown:
        return None
    rows = -(-len(shown) // COLUMNS)
    with styled_figure(0.5 + 1.25 * rows) as figure:
        for axes, entry in zip(panels(figure, len(shown), COLUMNS), shown, strict=True):
            _plot_spread(axes, 0, entry.held_out, PHOTOGRAPHS, "D")
            _plot_spread(axes, 1, entry.synthetic, SYNTHETIC, "o")
            axes.set_title(wrapped(entry.title, 46), loc="left")
            axes.set(ylim=(1.6, -0.6), yticks=[], xlabel=entry.unit)
            axes.grid(axis="x", color=GRID)
        point_legend(figure, (("D", PHOTOGRAPHS, "held-out photographs"), ("o", SYNTHETIC, "samples")))
        return svg_uri(figure)


def _plot_spread(axes: Axes, y: float, distribution: AnatomyDistribution, colour: str, marker: str) -> None:
    low, lower, median, upper, high = distribution.quantiles
    axes.plot([low, high], [y, y], color=colour, linewidth=1.2, solid_capstyle="butt")
    axes.plot([lower, upper], [y, y], color=colour, linewidth=5, alpha=0.45, solid_capstyle="butt")
    axes.plot(median, y, marker, color=colour, markersize=5)


def plot_requested_findings(requested: RequestedFindings | None) -> str | None:
    """Plot the rate at which each finding is there, requested and not requested, against its size in pixels.

    Findings that are not measurable have no point. The result is None if none is measurable.
    """
    shown = [] if requested is None else [e for e in requested.findings.values() if e.present.measurable]
    if not shown:
        return None
    with styled_figure(0.9 + 0.32 * len(shown)) as figure:
        axes = figure.subplots()
        for row, entry in enumerate(shown):
            plot_measure(axes, row - 0.15, entry.present, REQUESTED, "o")
            plot_measure(axes, row + 0.15, entry.present_without, CHANCE, "D")
        titles = [wrapped(f"{entry.title} ({entry.diameter_px:.1f} px)", 46) for entry in shown]
        axes.set_yticks(range(len(shown)), titles)
        axes.set(ylim=(len(shown) - 0.5, -0.5), xlim=(-0.02, 1.02))
        axes.set_xlabel("share of the samples in which the finding is there, with 95 % interval")
        axes.grid(axis="x", color=GRID)
        point_legend(figure, (("o", REQUESTED, "requested"), ("D", CHANCE, "requested to be absent")))
        return svg_uri(figure)

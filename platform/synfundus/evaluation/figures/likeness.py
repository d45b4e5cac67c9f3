"""Figures of likeness: measures of each stratum, the extrapolated Fréchet distance, the spectrum, nearness."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from synfundus.evaluation.figures.style import (
    GRID,
    PHOTOGRAPHS,
    SYNTHETIC,
    THRESHOLD,
    label_rows,
    plot_measure,
    point_legend,
    styled_figure,
    svg_uri,
)
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import (
    ComputedSpace,
    Extrapolation,
    Fidelity,
    MeasuredPrivacy,
    MeasureName,
    PowerSpectrum,
)
from synfundus.measures.wording import format_number

STRATA_MEASURES: tuple[MeasureName, ...] = ("kid", "recall", "coverage")
POINTS = (("D", PHOTOGRAPHS, "held-out photographs"), ("o", SYNTHETIC, "samples"))


def plot_strata(space: ComputedSpace, fidelity: Fidelity) -> str | None:
    """Plot three measures of each stratum, photographs beside samples; None if no stratum is measurable."""
    shown = [
        key
        for key, compared in space.strata.items()
        if any(compared.synthetic[name].measurable for name in STRATA_MEASURES)
    ]
    if not shown:
        return None
    with styled_figure(1.1 + 0.28 * len(shown)) as figure:
        grid = figure.subplots(1, len(STRATA_MEASURES), sharey=True, squeeze=False)[0]
        for axes, name in zip(grid, STRATA_MEASURES, strict=True):
            for row, key in enumerate(shown):
                plot_measure(axes, row - 0.15, space.strata[key].held_out[name], PHOTOGRAPHS, "D")
                plot_measure(axes, row + 0.15, space.strata[key].synthetic[name], SYNTHETIC, "o")
            text = fidelity.measures[name]
            axes.set_title(f"{text.title} ({text.better} is better)", loc="left")
            axes.grid(axis="x", color=GRID)
        label_rows(grid[0], [f"{fidelity.strata[key].title} (n = {space.strata[key].n})" for key in shown])
        point_legend(figure, POINTS)
        return svg_uri(figure)


def plot_extrapolation(extrapolation: Extrapolation) -> str | None:
    """Plot the Fréchet distance against 1 / n with its value at an unlimited n; None if it is not measurable."""
    if not extrapolation.points:
        return None
    inverse = [1 / point.n for point in extrapolation.points]
    with styled_figure(2.8) as figure:
        axes = figure.subplots()
        for marker, colour, limit, values in (
            ("D", PHOTOGRAPHS, extrapolation.held_out, [point.held_out for point in extrapolation.points]),
            ("o", SYNTHETIC, extrapolation.synthetic, [point.synthetic for point in extrapolation.points]),
        ):
            _plot_line_to_limit(axes, inverse, values, limit, colour, marker)
        axes.set_xticks([0, *inverse], ["unlimited", *(f"n = {point.n}" for point in extrapolation.points)])
        axes.set(xlabel="number of images, on a scale of 1 / n", ylabel="Fréchet distance")
        axes.set_xlim(-0.04 * max(inverse), 1.04 * max(inverse))
        axes.grid(color=GRID)
        point_legend(figure, POINTS)
        return svg_uri(figure)


def _plot_line_to_limit(
    axes: Axes, inverse: Sequence[float], values: Sequence[float], limit: Measure, colour: str, marker: str
) -> None:
    value, low, high = limit.interval
    axes.plot([0, 0], [low, high], color=colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot(0, value, marker, color=colour, markersize=5)
    axes.plot(inverse, values, marker, color=colour, markersize=5, markerfacecolor="white")
    ends = np.array([0, max(inverse)])
    axes.plot(ends, np.polyval(np.polyfit(inverse, values, 1), ends), color=colour, linewidth=0.9)


def plot_spectrum(spectrum: PowerSpectrum) -> str | None:
    """Plot the power in each octave, and the ratio of samples to photographs; None if no octave is measurable."""
    octaves = [octave for octave in spectrum.octaves if octave.ratio.measurable]
    if not octaves:
        return None
    places = range(len(octaves))
    with styled_figure(2.8) as figure:
        power, ratio = figure.subplots(1, 2)
        power.plot(places, [octave.held_out for octave in octaves], "D-", color=PHOTOGRAPHS, markersize=5)
        power.plot(places, [octave.synthetic for octave in octaves], "o-", color=SYNTHETIC, markersize=5)
        power.set_title("Mean power (squared grey levels)", loc="left")
        power.set_yscale("log")
        for place, octave in zip(places, octaves, strict=True):
            value, low, high = octave.ratio.interval
            ratio.plot([place, place], [low, high], color=SYNTHETIC, linewidth=1.6, solid_capstyle="butt")
            ratio.plot(place, value, "o", color=SYNTHETIC, markersize=5)
        ratio.axhline(1.0, color=PHOTOGRAPHS, linewidth=0.9)
        ratio.set_title("Samples / held-out photographs, with 95 % interval", loc="left")
        ratio.set_yscale("log")
        ratio.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ratio.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ratio.yaxis.set_minor_formatter(NullFormatter())
        low, high = ratio.get_ylim()
        ratio.set_ylim(min(low, 0.45), max(high, 2.2))
        for axes in (power, ratio):
            axes.set_xticks(places, [f"{octave.low:g} to {octave.high:g}" for octave in octaves])
            axes.set_xlim(-0.5, len(octaves) - 0.5)
            axes.set_xlabel("octave, in cycles per image side")
            axes.grid(axis="y", color=GRID)
        point_legend(figure, POINTS)
        return svg_uri(figure)


def plot_ratios(privacy: MeasuredPrivacy) -> str:
    """Plot the distance ratios of held-out photographs and samples to the training photographs, and the threshold."""
    edges = privacy.ratios.bin_edges
    series = (
        (privacy.ratios.held_out, "held-out photographs", PHOTOGRAPHS),
        (privacy.ratios.synthetic, "samples", SYNTHETIC),
    )
    with styled_figure(2.8) as figure:
        axes = figure.subplots()
        for counts, text, colour in series:
            shares = np.asarray(counts, float) / max(sum(counts), 1)
            axes.stairs(shares, edges, color=colour, linewidth=1.6, label=text)
            axes.stairs(shares, edges, color=colour, alpha=0.12, fill=True)
        threshold = f"threshold ({format_number(privacy.threshold)})"
        axes.axvline(privacy.threshold, color=THRESHOLD, linewidth=1.2, linestyle=(0, (4, 3)), label=threshold)
        axes.set(xlabel="distance to the nearest training photograph / to another patient's", ylabel="share of images")
        axes.set(xlim=(edges[0], edges[-1]))
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside upper left", ncols=3)
        return svg_uri(figure)

"""The report's figures, as SVG in data URIs: the same numbers give the same bytes."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from synfundus.labels import LABELS, Label
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import (
    ComputedSpace,
    Consistency,
    Fidelity,
    LabelDistribution,
    MeasuredPrivacy,
    MeasureName,
    RocCurve,
)

# Okabe and Ito's colours, which colour-blind readers can distinguish.
PHOTOGRAPHS, REQUESTED, PREDICTED, CHANCE = "#5b6770", "#0072b2", "#d55e00", "#9aa5ad"
SYNTHETIC = PREDICTED
THRESHOLD = "#b00020"
GRID = "#eceff1"
STYLE: Any = {
    "svg.hashsalt": "synfundus",
    "svg.fonttype": "path",  # stores letters as outlines, because the reader's machine may lack the font
    "font.family": "DejaVu Sans",  # ships with matplotlib
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#7a868e",
    "xtick.color": "#3b464d",
    "ytick.color": "#3b464d",
    "legend.frameon": False,
}
WIDTH_IN = 11.1
SMALL_IMAGE_PX, LARGEST_IMAGE_PX = 128, 256
WEBP_QUALITY = 90
SMOOTHING_POINTS = 15
ROC_COLUMNS = 5
STRATA_MEASURES: tuple[MeasureName, ...] = ("frechet_distance", "kid", "coverage")


def image_uri(pixels_HWC: NDArray[np.uint8]) -> str:
    """Return one image as a data URI: a small one as it is (PNG), else at most 256 px (WebP)."""
    image, sink = Image.fromarray(pixels_HWC), io.BytesIO()
    if max(image.size) <= SMALL_IMAGE_PX:
        image.save(sink, "PNG", optimize=True)
        return _data_uri("image/png", sink.getvalue())
    image.thumbnail((LARGEST_IMAGE_PX, LARGEST_IMAGE_PX), Image.Resampling.LANCZOS)
    image.save(sink, "WEBP", quality=WEBP_QUALITY, method=4)
    return _data_uri("image/webp", sink.getvalue())


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@contextmanager
def _styled_figure(height_in: float) -> Iterator[Figure]:
    """Yield an empty figure in the report's style."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure


def _svg_uri(figure: Figure) -> str:
    sink = io.BytesIO()
    figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    return _data_uri("image/svg+xml", sink.getvalue())


def _point_legend(figure: Figure, points: Sequence[tuple[str, str, str]]) -> None:
    """Explain (marker, colour, text) points above the axes."""
    handles = [mpl.lines.Line2D([], [], color=c, marker=m, markersize=5, label=text) for m, c, text in points]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(points))


def _plot_measure(axes: Axes, y: float, measure: Measure, colour: str, marker: str) -> None:
    """Plot a point with its interval; nothing if the measure is not measurable."""
    if not measure.measurable:
        return
    value, low, high = measure.interval
    axes.plot([low, high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot(value, y, marker, color=colour, markersize=5)


def plot_distributions(distributions: Mapping[str, LabelDistribution]) -> str:
    """Plot the share of each value of each label: training photographs (experts' labels), requested, predicted."""
    with _styled_figure(7.6) as figure:
        grid = figure.subplots(4, 4, squeeze=False)
        for axes, label in zip(grid.flat, LABELS, strict=True):
            _plot_distribution(axes, label, distributions[label.name])
        texts = ((PHOTOGRAPHS, "photographs, by experts"), (REQUESTED, "requested"), (PREDICTED, "predicted"))
        handles = [mpl.patches.Patch(color=colour, label=text) for colour, text in texts]
        figure.legend(handles=handles, loc="outside upper left", ncols=3)
        figure.supylabel("share of the known values", fontsize=9)
        return _svg_uri(figure)


def _plot_distribution(axes: Axes, label: Label, entry: LabelDistribution) -> None:
    values = np.arange(len(entry.values))
    series = ((entry.reference_expert, PHOTOGRAPHS), (entry.requested, REQUESTED), (entry.predicted, PREDICTED))
    for place, (occurrences, colour) in enumerate(series):
        counts = np.asarray(occurrences.counts, float)
        if counts.sum():
            axes.bar(values + 0.27 * (place - 1), counts / counts.sum(), 0.25, color=colour)
        else:
            axes.text(values.mean() + 0.27 * (place - 1), 0.02, "none", rotation=90, ha="center", color=colour)
    axes.set(xticks=values, xlim=(values[0] - 0.6, values[-1] + 0.6), ylim=(0, 1.02), yticks=(0, 0.5, 1))
    axes.set_title(_short_title(label), loc="left")
    if label.name == "eye_side":
        axes.set_xticklabels(["right", "left"])
    elif label.max_value == 1:
        axes.set_xticklabels(["no", "yes"])


def plot_consistency(consistency: Consistency) -> str:
    """Plot the AUC (kappa for grades) of the annotator against the requests, beside that of shuffled requests."""
    with _styled_figure(5.2) as figure:
        axes = figure.subplots()
        for row, label in enumerate(LABELS):
            entry = consistency.labels[label.name]
            if not entry.requested.measurable:
                axes.text(0.5, row, "not measurable", ha="center", va="center", color=CHANCE, fontsize=8)
                continue
            _plot_measure(axes, row - 0.16, entry.requested, REQUESTED, "o")
            _plot_measure(axes, row + 0.16, entry.permuted, CHANCE, "D")
        axes.set_yticks(range(len(LABELS)), [label.title for label in LABELS])
        axes.invert_yaxis()
        axes.axvline(0.5, color="#c9d1d6", linewidth=0.8, zorder=0)
        axes.set_xlabel("AUC (quadratic kappa for the diabetic retinopathy grade) with 95 % interval")
        axes.grid(axis="x", color=GRID, zorder=0)
        axes.set_axisbelow(True)
        _point_legend(figure, (("o", REQUESTED, "requests"), ("D", CHANCE, "shuffled requests (chance)")))
        return _svg_uri(figure)


def plot_roc(consistency: Consistency) -> str | None:
    """Plot the ROC curves with their bands; None if no label has one."""
    curves = [(label, roc) for label in LABELS if (roc := consistency.labels[label.name].roc) is not None]
    if not curves:
        return None
    rows = -(-len(curves) // ROC_COLUMNS)
    with _styled_figure(2.2 * rows) as figure:
        grid = figure.subplots(rows, ROC_COLUMNS, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat[len(curves) :]:
            axes.set_visible(False)
        for axes, (label, roc) in zip(grid.flat, curves, strict=False):
            _plot_roc_curve(axes, label, roc)
        figure.supxlabel("false positive rate", fontsize=9)
        figure.supylabel("sensitivity", fontsize=9)
        return _svg_uri(figure)


def _plot_roc_curve(axes: Axes, label: Label, roc: RocCurve) -> None:
    axes.fill_between(roc.false_positive_rate, roc.low, roc.high, color=REQUESTED, alpha=0.18, linewidth=0)
    axes.plot(roc.false_positive_rate, roc.sensitivity, color=REQUESTED, linewidth=1.4)
    axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
    axes.set_title(_wrapped(_short_title(label)), loc="left", fontsize=8)


def _short_title(label: Label) -> str:
    return label.title.removesuffix(" (0 right, 1 left)")


def _wrapped(title: str, width: int = 22) -> str:
    """Return the title in lines of at most `width` characters."""
    lines = [""]
    for word in title.split():
        if lines[-1] and len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def plot_strata(space: ComputedSpace, fidelity: Fidelity) -> str | None:
    """Plot three measures of each stratum, photographs beside samples; None if no stratum is measurable."""
    shown = [
        key
        for key, compared in space.strata.items()
        if any(compared.synthetic[name].measurable for name in STRATA_MEASURES)
    ]
    if not shown:
        return None
    with _styled_figure(1.1 + 0.28 * len(shown)) as figure:
        grid = figure.subplots(1, len(STRATA_MEASURES), sharey=True, squeeze=False)[0]
        for axes, name in zip(grid, STRATA_MEASURES, strict=True):
            for row, key in enumerate(shown):
                _plot_measure(axes, row - 0.15, space.strata[key].held_out[name], PHOTOGRAPHS, "D")
                _plot_measure(axes, row + 0.15, space.strata[key].synthetic[name], SYNTHETIC, "o")
            text = fidelity.measures[name]
            axes.set_title(f"{text.title} ({text.better} is better)", loc="left")
            axes.grid(axis="x", color=GRID)
            axes.set_axisbelow(True)
        titles = [f"{fidelity.strata[key].title} (n = {space.strata[key].n})" for key in shown]
        grid[0].set_yticks(range(len(shown)), titles)
        grid[0].invert_yaxis()
        _point_legend(figure, (("D", PHOTOGRAPHS, "held-out photographs"), ("o", SYNTHETIC, "samples")))
        return _svg_uri(figure)


def plot_distances(privacy: MeasuredPrivacy) -> str:
    """Plot the distances of held-out photographs and samples to the nearest training photograph, and the threshold."""
    edges = privacy.distances.bin_edges
    series = (
        (privacy.distances.held_out, "held-out photographs", PHOTOGRAPHS),
        (privacy.distances.synthetic, "samples", SYNTHETIC),
    )
    with _styled_figure(2.8) as figure:
        axes = figure.subplots()
        for counts, text, colour in series:
            shares = np.asarray(counts, float) / max(sum(counts), 1)
            axes.stairs(shares, edges, color=colour, linewidth=1.6, label=text)
            axes.stairs(shares, edges, color=colour, alpha=0.12, fill=True)
        axes.axvline(privacy.threshold, color=THRESHOLD, linewidth=1.2, linestyle=(0, (4, 3)), label="threshold")
        axes.set(xlabel="distance to the nearest training photograph", ylabel="share of the images")
        axes.set(xlim=(edges[0], edges[-1]))
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper right")
        return _svg_uri(figure)


def plot_losses(curves: Mapping[str, Sequence[tuple[int, float]]]) -> str | None:
    """Plot the loss of each training against the step, with its running mean; None if there is no point."""
    known = {title: np.asarray(points, float) for title, points in curves.items() if len(points)}
    if not known:
        return None
    with _styled_figure(2.8) as figure:
        grid = figure.subplots(1, len(known), squeeze=False)[0]
        for axes, (title, points) in zip(grid, known.items(), strict=True):
            _plot_loss(axes, title, points[:, 0], points[:, 1])
        return _svg_uri(figure)


def _plot_loss(axes: Axes, title: str, steps: NDArray[np.float64], losses: NDArray[np.float64]) -> None:
    window = min(SMOOTHING_POINTS, len(losses))
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    axes.plot(steps, losses, color=REQUESTED, alpha=0.25, linewidth=0.9)
    axes.plot(steps[window - 1 :], smooth, color=REQUESTED, linewidth=1.6)
    axes.set_title(title, loc="left")
    axes.set(xlabel="step", ylabel="loss")
    if losses.min() > 0 and losses.max() > 20 * losses.min():
        axes.set_yscale("log")
    axes.grid(color=GRID)
    axes.set_axisbelow(True)

"""The report's figures, as SVG in data URIs: the same numbers give the same bytes."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from synfundus.labels import LABELS
from synfundus.measures.wording import is_measured

# Okabe and Ito's colours, told apart by people who are colour-blind.
REAL, ASKED, SEEN, CHANCE = "#5b6770", "#0072b2", "#d55e00", "#9aa5ad"
STYLE: Any = {
    "svg.hashsalt": "synfundus",
    "svg.fonttype": "path",  # letters as outlines: the reader's machine may lack the font
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#7a868e",
    "xtick.color": "#3b464d",
    "ytick.color": "#3b464d",
    "legend.frameon": False,
}
SMALL_PICTURE_PX, LARGEST_PICTURE_PX = 128, 256
WEBP_QUALITY = 90
SMOOTHING_POINTS = 15
SHORT_TITLES = {"dr_grade": "Diabetic retinopathy grade", "is_retinal_region_readable": "Retinal region readable"}


def picture_uri(pixels_HWC: NDArray[np.uint8]) -> str:
    """One picture as a data URI: PNG as it is when small, else WebP of at most 256 px."""
    image, sink = Image.fromarray(pixels_HWC), io.BytesIO()
    if max(image.size) <= SMALL_PICTURE_PX:
        image.save(sink, "PNG", optimize=True)
        return _data_uri("image/png", sink.getvalue())
    image.thumbnail((LARGEST_PICTURE_PX, LARGEST_PICTURE_PX), Image.Resampling.LANCZOS)
    image.save(sink, "WEBP", quality=WEBP_QUALITY, method=4)
    return _data_uri("image/webp", sink.getvalue())


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _figure(width_in: float, height_in: float) -> Figure:
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def _svg_uri(figure: Figure) -> str:
    sink = io.BytesIO()
    figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    return _data_uri("image/svg+xml", sink.getvalue())


def draw_distributions(distributions: Mapping[str, Any]) -> str:
    """Share of each value of each label: real photographs (experts' values), asked, seen."""
    series = (
        ("reference_expert", "real, by experts", REAL),
        ("condition", "asked", ASKED),
        ("annotation", "seen", SEEN),
    )
    with mpl.rc_context(STYLE):
        figure = _figure(11.1, 7.6)
        grid = figure.subplots(4, 4, squeeze=False)
        for axes, label in zip(grid.flat, LABELS, strict=True):
            entry = distributions[label.name]
            values = np.arange(len(entry["values"]))
            for place, (kind, _, colour) in enumerate(series):
                counts = np.asarray(entry[kind]["counts"], float)
                if counts.sum():
                    axes.bar(values + 0.27 * (place - 1), counts / counts.sum(), 0.25, color=colour)
                else:
                    axes.text(values.mean() + 0.27 * (place - 1), 0.02, "none", rotation=90, ha="center", color=colour)
            axes.set(xticks=values, xlim=(values[0] - 0.6, values[-1] + 0.6), ylim=(0, 1.02), yticks=(0, 0.5, 1))
            axes.set_title(label.title.replace(" (0 right, 1 left)", ""), loc="left")
            if label.name == "eye_side":
                axes.set_xticklabels(["right", "left"])
            elif label.max_value == 1:
                axes.set_xticklabels(["no", "yes"])
        handles = [mpl.patches.Patch(color=colour, label=text) for _, text, colour in series]
        figure.legend(handles=handles, loc="outside upper left", ncols=3)
        figure.supylabel("share of the known values", fontsize=9)
        return _svg_uri(figure)


def _whiskers(axes: Axes, y: float, measure: Mapping[str, Any], colour: str, marker: str) -> None:
    """A point with its interval."""
    if measure["low"] is not None:
        axes.plot([measure["low"], measure["high"]], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot(measure["value"], y, marker, color=colour, markersize=5)


def draw_consistency(labels: Mapping[str, Any]) -> str:
    """AUC (kappa for grades) of the annotator against what was asked, beside the same with conditions shuffled."""
    with mpl.rc_context(STYLE):
        figure = _figure(11.1, 5.2)
        axes = figure.subplots()
        for row, label in enumerate(LABELS):
            entry = labels[label.name]
            if not is_measured(entry["asked"]):
                axes.text(0.5, row, "not measurable", ha="center", va="center", color=CHANCE, fontsize=8)
                continue
            _whiskers(axes, row - 0.16, entry["asked"], ASKED, "o")
            if is_measured(entry["permuted"]):
                _whiskers(axes, row + 0.16, entry["permuted"], CHANCE, "D")
        axes.set_yticks(range(len(LABELS)), [label.title for label in LABELS])
        axes.invert_yaxis()
        axes.axvline(0.5, color="#c9d1d6", linewidth=0.8, zorder=0)
        axes.set_xlabel("AUC (quadratic kappa for the diabetic retinopathy grade) with 95 % interval")
        axes.grid(axis="x", color="#eceff1", zorder=0)
        axes.set_axisbelow(True)
        points = (("o", ASKED, "conditions as asked"), ("D", CHANCE, "conditions shuffled (chance)"))
        handles = [mpl.lines.Line2D([], [], color=c, marker=m, markersize=5, label=text) for m, c, text in points]
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
        return _svg_uri(figure)


def draw_roc(labels: Mapping[str, Any]) -> str | None:
    """ROC curves with their bands; None when no label has one."""
    drawn = [label for label in LABELS if labels[label.name].get("roc")]
    if not drawn:
        return None
    columns = 5
    rows = -(-len(drawn) // columns)
    with mpl.rc_context(STYLE):
        figure = _figure(11.1, 2.2 * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat[len(drawn) :]:
            axes.set_visible(False)
        for axes, label in zip(grid.flat, drawn, strict=False):
            curve = labels[label.name]["roc"]
            x = curve["false_positive_rate"]
            axes.fill_between(x, curve["low"], curve["high"], color=ASKED, alpha=0.18, linewidth=0)
            axes.plot(x, curve["sensitivity"], color=ASKED, linewidth=1.4)
            axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
            axes.set_title(_wrapped(label.title), loc="left", fontsize=8)
        figure.supxlabel("false positive rate", fontsize=9)
        figure.supylabel("sensitivity", fontsize=9)
        return _svg_uri(figure)


def _wrapped(title: str, width: int = 22) -> str:
    words, lines = title.replace(" (0 right, 1 left)", "").split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def draw_strata(space: Mapping[str, Any], strata: Mapping[str, Any], measures: Mapping[str, Any]) -> str | None:
    """Three measures for each group of images: held-out photographs beside synthetic ones; None if none is measured."""
    names = [name for name in ("frechet_distance", "kid", "coverage") if name in measures]

    def measured(stratum: str) -> bool:
        found = space["strata"].get(stratum, {}).get("synthetic", {})
        return any(is_measured(found.get(name)) for name in names)

    shown = [stratum for stratum in strata if measured(stratum)]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        figure = _figure(11.1, 1.1 + 0.28 * len(shown))
        grid = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, name in zip(grid, names, strict=True):
            for row, stratum in enumerate(shown):
                compared = space["strata"][stratum]
                for offset, part, colour, marker in ((-0.15, "held_out", REAL, "D"), (0.15, "synthetic", SEEN, "o")):
                    if is_measured(compared[part].get(name)):
                        _whiskers(axes, row + offset, compared[part][name], colour, marker)
            axes.set_title(f"{measures[name]['title']} ({measures[name]['better']} is better)", loc="left")
            axes.grid(axis="x", color="#eceff1")
            axes.set_axisbelow(True)
        titles = [f"{strata[s]['title']} (n = {space['strata'][s]['n']})" for s in shown]
        grid[0].set_yticks(range(len(shown)), titles)
        grid[0].invert_yaxis()
        points = (("D", REAL, "held-out photographs"), ("o", SEEN, "synthetic"))
        handles = [mpl.lines.Line2D([], [], color=c, marker=m, markersize=5, label=text) for m, c, text in points]
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
        return _svg_uri(figure)


def draw_distances(privacy: Mapping[str, Any]) -> str:
    """Distance to the nearest training image: held-out photographs and synthetic ones, with the threshold."""
    edges = privacy["distances"]["bin_edges"]
    with mpl.rc_context(STYLE):
        figure = _figure(11.1, 2.8)
        axes = figure.subplots()
        for part, text, colour in (("held_out", "held-out photographs", REAL), ("synthetic", "synthetic", SEEN)):
            counts = np.asarray(privacy["distances"][part], float)
            shares = counts / max(counts.sum(), 1)
            axes.stairs(shares, edges, color=colour, linewidth=1.6, label=text)
            axes.stairs(shares, edges, color=colour, alpha=0.12, fill=True)
        axes.axvline(privacy["threshold"], color="#b00020", linewidth=1.2, linestyle=(0, (4, 3)), label="threshold")
        axes.set(
            xlabel="distance to the nearest training image", ylabel="share of the images", xlim=(edges[0], edges[-1])
        )
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper right")
        return _svg_uri(figure)


def draw_curves(curves: Mapping[str, Sequence[tuple[int, float]]]) -> str | None:
    """Loss against step for each training; the dark line is a running mean. None without a point."""
    known = {title: np.asarray(points, float) for title, points in curves.items() if len(points)}
    if not known:
        return None
    with mpl.rc_context(STYLE):
        figure = _figure(11.1, 2.8)
        grid = figure.subplots(1, len(known), squeeze=False)[0]
        for axes, (title, points) in zip(grid, known.items(), strict=True):
            steps, losses = points[:, 0], points[:, 1]
            window = min(SMOOTHING_POINTS, len(losses))
            smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
            axes.plot(steps, losses, color=ASKED, alpha=0.25, linewidth=0.9)
            axes.plot(steps[window - 1 :], smooth, color=ASKED, linewidth=1.6)
            axes.set_title(title, loc="left")
            axes.set(xlabel="step", ylabel="loss")
            if losses.min() > 0 and losses.max() > 20 * losses.min():
                axes.set_yscale("log")
            axes.grid(color="#eceff1")
            axes.set_axisbelow(True)
        return _svg_uri(figure)

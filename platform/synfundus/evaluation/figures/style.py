"""Colours, fonts and parts that all figures share."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from synfundus.evaluation.data_uri import data_uri
from synfundus.measures.measure import Measure

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
    "axes.axisbelow": True,
    "xtick.color": "#3b464d",
    "ytick.color": "#3b464d",
    "legend.frameon": False,
}
WIDTH_IN = 11.1


@contextmanager
def styled_figure(height_in: float) -> Iterator[Figure]:
    """Yield an empty figure in the report's style."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure


def panels(figure: Figure, count: int, columns: int) -> list[Axes]:
    """Return this many panels in rows of `columns`, row by row; places that are left in the last row stay empty."""
    grid = figure.subplots(-(-count // columns), columns, squeeze=False)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    return list(grid.flat[:count])


def svg_uri(figure: Figure) -> str:
    """Return a figure as a data URI."""
    sink = io.BytesIO()
    figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    return data_uri("image/svg+xml", sink.getvalue())


def point_legend(figure: Figure, points: Sequence[tuple[str, str, str]]) -> None:
    """Add a legend of (marker, colour, text) points above the axes."""
    handles = [mpl.lines.Line2D([], [], color=c, marker=m, markersize=5, label=text) for m, c, text in points]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(points))


def plot_measure(axes: Axes, y: float, measure: Measure, colour: str, marker: str) -> None:
    """Plot a point with its interval in a row; nothing if the measure is not measurable."""
    if not measure.measurable:
        return
    value, low, high = measure.interval
    axes.plot([low, high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot(value, y, marker, color=colour, markersize=5)


def label_rows(axes: Axes, titles: Sequence[str]) -> None:
    """Name one row for each title, the first on top, with room for the points of all rows."""
    axes.set_yticks(range(len(titles)), [wrapped(title, 46) for title in titles])
    axes.set_ylim(len(titles) - 0.5, -0.5)


def wrapped(title: str, width: int) -> str:
    """Return the title in lines of at most `width` characters."""
    lines = [""]
    for word in title.split():
        if lines[-1] and len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)

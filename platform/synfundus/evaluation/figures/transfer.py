"""Figures of the transfer: differences between arms, gain against the fraction of patients, learning curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from synfundus.evaluation.figures.style import GRID, label_rows, panels, styled_figure, svg_uri, wrapped
from synfundus.measures.transfer_metrics import (
    ArmDifference,
    ComputedTransfer,
    CorrectedDifference,
    LearningCurve,
)
from synfundus.measures.transfer_text import contrast_title, percent_of_patients

# Okabe and Ito's colours without yellow, which is too pale for a line on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b6770", "#000000")
MARKERS = ("o", "D", "s", "^", "v", "P", "X")
DASHED = (0, (3, 2))
GAIN_COLUMNS = 3
SUMMARY = "#e8edf1"
"""Background of the primary endpoint in a forest plot."""


@dataclass(frozen=True)
class _Look:
    """Colour and line of one series."""

    colour: str
    marker: str
    dashed: bool

    @classmethod
    def of(cls, names: Sequence[str]) -> dict[str, "_Look"]:
        """Return a look for each name, in their order."""
        return {
            name: cls(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], i >= len(COLOURS))
            for i, name in enumerate(names)
        }


def plot_forest(transfer: ComputedTransfer, contrast: str) -> str | None:
    """Plot the difference in the main metric of one comparison for each target; None if none is measurable.

    A row of panels is a test set, a column a fraction of the training patients. A filled point survives the correction.
    All labels together, the primary endpoint, stand first: shaded, with thicker lines.
    """
    entries = [
        entry for entry in transfer.differences if entry.contrast == contrast and _main_difference(entry, transfer)
    ]
    targets = [name for name in transfer.targets if any(entry.target == name for entry in entries)]
    if not targets:
        return None
    test_sets = _in_order(transfer.test_sets, [entry.test_set for entry in entries])
    fractions = _fractions([entry.fraction for entry in entries])
    networks = [name for name in transfer.architectures if any(entry.architecture == name for entry in entries)]
    looks = _Look.of(networks)
    with styled_figure(0.9 + len(test_sets) * (0.55 + 0.34 * len(targets))) as figure:
        grid = figure.subplots(len(test_sets), len(fractions), squeeze=False, sharex=True, sharey=True)
        for entry in entries:
            axes = grid[test_sets.index(entry.test_set), fractions.index(entry.fraction)]
            shift = _dodge(networks.index(entry.architecture), len(networks))
            _plot_difference(axes, targets.index(entry.target) + shift, entry, transfer, looks[entry.architecture])
        for row, test_set in enumerate(test_sets):
            for column, fraction in enumerate(fractions):
                title = f"{transfer.test_sets[test_set].title}\n{percent_of_patients(fraction)}"
                _finish_forest(grid[row, column], title, targets, transfer)
        label = "first arm minus reference: AUC (quadratic kappa for the grade), with 95 % interval"
        figure.supxlabel(label, fontsize=9)
        _forest_legend(figure, looks)
        return svg_uri(figure)


def _plot_difference(axes: Axes, y: float, entry: ArmDifference, transfer: ComputedTransfer, look: _Look) -> None:
    found = _main_difference(entry, transfer)
    assert found is not None
    value, low, high = found.difference.measure.interval
    summary = transfer.targets[entry.target].kind == "all labels"
    axes.plot([low, high], [y, y], color=look.colour, linewidth=2.8 if summary else 1.6, solid_capstyle="butt")
    face = look.colour if found.survives else "white"
    axes.plot(value, y, look.marker, color=look.colour, markerfacecolor=face, markersize=8 if summary else 5)


def _finish_forest(axes: Axes, title: str, targets: Sequence[str], transfer: ComputedTransfer) -> None:
    axes.axvline(0.0, color="#7a868e", linewidth=0.9, zorder=0.5)
    axes.set_title(title, loc="left")
    axes.grid(axis="x", color=GRID)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.margins(x=0.05)
    label_rows(axes, [_target_title(transfer, name) for name in targets])
    for row, name in enumerate(targets):
        if transfer.targets[name].kind == "all labels":
            axes.axhspan(row - 0.5, row + 0.5, color=SUMMARY, zorder=0)
            for label in axes.get_yticklabels()[row : row + 1]:  # panels of further columns have none
                label.set_fontweight("bold")


def _forest_legend(figure: Figure, looks: Mapping[str, _Look]) -> None:
    handles = [
        mpl.lines.Line2D([], [], color=look.colour, marker=look.marker, markersize=5, label=name)
        for name, look in looks.items()
    ]
    for face, text in (("#3b464d", "survives Holm's correction"), ("white", "does not")):
        handles.append(
            mpl.lines.Line2D([], [], color="#3b464d", marker="o", markerfacecolor=face, linewidth=0, label=text)
        )
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))


def plot_gain(transfer: ComputedTransfer, test_set: str) -> str | None:
    """Plot the differences in the main metric against the fraction, a panel for each target and network.

    None if no comparison is measurable at two fractions of the training patients.
    """
    entries = [
        entry
        for entry in transfer.differences
        if entry.test_set == test_set and entry.fraction is not None and _main_difference(entry, transfer)
    ]
    fractions = _fractions([entry.fraction for entry in entries])
    if len(fractions) < 2:
        return None
    shown = list(dict.fromkeys((entry.target, entry.architecture) for entry in entries))
    contrasts = _in_order(transfer.contrasts, [entry.contrast for entry in entries])
    looks = _Look.of(contrasts)
    rows = -(-len(shown) // GAIN_COLUMNS)
    with styled_figure(0.7 + 0.2 * -(-len(contrasts) // 2) + 2.1 * rows) as figure:
        for axes, (target, architecture) in zip(panels(figure, len(shown), GAIN_COLUMNS), shown, strict=True):
            of_panel = [e for e in entries if e.target == target and e.architecture == architecture]
            _plot_gain_panel(axes, transfer, of_panel, fractions, looks)
            axes.set_title(wrapped(f"{_target_title(transfer, target)}, {architecture}", 52), loc="left")
        figure.supxlabel("fraction of the training patients whose photographs are used", fontsize=9)
        figure.supylabel("difference, with 95 % interval", fontsize=9)
        _line_legend(figure, {contrast_title(transfer, key): look for key, look in looks.items()}, columns=2)
        return svg_uri(figure)


def _plot_gain_panel(
    axes: Axes,
    transfer: ComputedTransfer,
    entries: Sequence[ArmDifference],
    fractions: Sequence[float | None],
    looks: Mapping[str, _Look],
) -> None:
    axes.axhline(0.0, color="#7a868e", linewidth=0.9, zorder=0.5)
    for number, (key, look) in enumerate(looks.items()):
        points = [
            (fractions.index(entry.fraction), *found.difference.measure.interval)
            for entry in entries
            if entry.contrast == key and (found := _main_difference(entry, transfer)) is not None
        ]
        if not points:
            continue
        place, value, low, high = np.array(sorted(points)).T
        x = place + 0.8 * _dodge(number, len(looks))
        style = DASHED if look.dashed else "-"
        axes.plot(x, value, look.marker, color=look.colour, markersize=4, linestyle=style, linewidth=0.9)
        axes.vlines(x, low, high, color=look.colour, linewidth=1.4)
    axes.set_xticks(range(len(fractions)), [f"{100 * (f or 0):g} %" for f in fractions])
    axes.set_xlim(-0.5, len(fractions) - 0.5)
    axes.grid(axis="y", color=GRID)


def plot_curves(transfer: ComputedTransfer) -> str | None:
    """Plot the validation AUC against the step: mean of the seeds, and the band from the lowest to the highest one.

    A row of panels is a network, a column a fraction of the training patients. Arms without photographs stand in every
    column.
    """
    curves = [curve for curve in transfer.curves if curve.steps]
    if not curves:
        return None
    arms = _in_order(transfer.arms, [curve.arm for curve in curves])
    looks = _Look.of(arms)
    networks = _in_order(dict.fromkeys(transfer.architectures), [curve.architecture for curve in curves])
    labelled = [curve.fraction for curve in curves if curve.fraction is not None]
    fractions = _fractions(labelled) or [None]
    with styled_figure(0.7 + 0.2 * -(-len(arms) // 3) + 2.4 * len(networks)) as figure:
        grid = figure.subplots(len(networks), len(fractions), squeeze=False, sharey=True)
        for row, network in enumerate(networks):
            for column, fraction in enumerate(fractions):
                axes = grid[row, column]
                shown = [c for c in curves if c.architecture == network and c.fraction in (fraction, None)]
                for arm in arms:
                    _plot_band(axes, [curve for curve in shown if curve.arm == arm], looks[arm])
                axes.set_title(f"{network}\n{percent_of_patients(fraction)}", loc="left")
                axes.grid(color=GRID)
                axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        figure.supxlabel("step", fontsize=9)
        figure.supylabel("AUC on the validation split", fontsize=9)
        _line_legend(figure, {transfer.arms[arm].title: look for arm, look in looks.items()}, columns=3)
        return svg_uri(figure)


def _plot_band(axes: Axes, curves: Sequence[LearningCurve], look: _Look) -> None:
    """Plot mean and range of the seeds at the steps that all of them have."""
    if not curves:
        return
    by_seed = [dict(zip(curve.steps, curve.auc, strict=True)) for curve in curves]
    steps = sorted(set.intersection(*(set(points) for points in by_seed)))
    auc_SP = np.array([[points[step] for step in steps] for points in by_seed])
    axes.fill_between(steps, auc_SP.min(axis=0), auc_SP.max(axis=0), color=look.colour, alpha=0.13, linewidth=0)
    style = DASHED if look.dashed else "-"
    axes.plot(steps, auc_SP.mean(axis=0), look.marker, color=look.colour, linestyle=style, markersize=3, linewidth=1.3)


def _line_legend(figure: Figure, looks: Mapping[str, _Look], columns: int) -> None:
    handles = [
        mpl.lines.Line2D(
            [],
            [],
            color=look.colour,
            marker=look.marker,
            markersize=4,
            linestyle=DASHED if look.dashed else "-",
            label=wrapped(title, 110 // columns),
        )
        for title, look in looks.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)


def _main_difference(entry: ArmDifference, transfer: ComputedTransfer) -> CorrectedDifference | None:
    """Return the difference of the target's main metric; None if it is not measurable."""
    found = entry.metrics.get(transfer.main_metric(entry.target))
    return found if found is not None and found.difference.measurable else None


def _target_title(transfer: ComputedTransfer, target: str) -> str:
    found = transfer.targets[target]
    return found.title + {"ordinal": " (kappa)", "all labels": " (mean AUC)", "binary": ""}[found.kind]


def _fractions(found: Sequence[float | None]) -> list[float | None]:
    """Return the fractions from small to large, arms without photographs first."""
    return sorted(set(found), key=lambda fraction: -1.0 if fraction is None else fraction)


def _in_order(names: Mapping[str, object], found: Sequence[str]) -> list[str]:
    """Return those names that were found, in their own order."""
    return [name for name in names if name in found]


def _dodge(place: int, count: int) -> float:
    """Return the shift of one of `count` series within a row of height 1, in (-0.4, 0.4)."""
    return 0.0 if count == 1 else 0.6 * (place / (count - 1) - 0.5)

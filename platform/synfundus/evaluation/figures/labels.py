"""Figures of labels: how often each value occurs, and whether samples show what was requested.

Each shows the labels with data. `labels_without_values` and `labels_not_measurable` name the others for the caption.
"""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from synfundus.evaluation.figures.style import (
    CHANCE,
    GRID,
    PHOTOGRAPHS,
    PREDICTED,
    REQUESTED,
    SYNTHETIC,
    label_rows,
    panels,
    plot_measure,
    point_legend,
    styled_figure,
    svg_uri,
    wrapped,
)
from synfundus.labels import LABELS, Label
from synfundus.measures.judge_metrics import GroupSensitivity, Sensitivity, SensitivityComparison
from synfundus.measures.metrics import Consistency, LabelDistribution, RocCurve

COLUMNS = 4
ROC_COLUMNS = 5
TITLE_CHARACTERS = 34


def labels_without_values(distributions: Mapping[str, LabelDistribution]) -> list[str]:
    """Return the titles of the labels of which no value is known, requested or predicted."""
    return [short_title(label) for label in LABELS if not _has_values(distributions[label.name])]


def labels_not_measurable(consistency: Consistency) -> list[str]:
    """Return the titles of the labels whose request cannot be compared with the prediction."""
    return [short_title(label) for label in LABELS if not consistency.labels[label.name].requested.measurable]


def short_title(label: Label) -> str:
    """Return the title of a label without the code of its values."""
    return label.title.removesuffix(" (0 right, 1 left)")


def _has_values(entry: LabelDistribution) -> bool:
    return any(sum(occurrences.counts) for occurrences in (entry.reference_expert, entry.requested, entry.predicted))


def plot_distributions(distributions: Mapping[str, LabelDistribution]) -> str | None:
    """Plot the share of each value of each label: training photographs (experts' labels), requested, predicted.

    Labels without any value have no panel. The result is None if no label has a value.
    """
    shown = [label for label in LABELS if _has_values(distributions[label.name])]
    if not shown:
        return None
    rows = -(-len(shown) // COLUMNS)
    with styled_figure(0.4 + 1.8 * rows) as figure:
        for axes, label in zip(panels(figure, len(shown), COLUMNS), shown, strict=True):
            _plot_distribution(axes, label, distributions[label.name])
        texts = ((PHOTOGRAPHS, "photographs, by experts"), (REQUESTED, "requested"), (PREDICTED, "predicted"))
        handles = [mpl.patches.Patch(color=colour, label=text) for colour, text in texts]
        figure.legend(handles=handles, loc="outside upper left", ncols=3)
        figure.supylabel("share of known values", fontsize=9)
        return svg_uri(figure)


def _plot_distribution(axes: Axes, label: Label, entry: LabelDistribution) -> None:
    values = np.arange(len(entry.values))
    series = ((entry.reference_expert, PHOTOGRAPHS), (entry.requested, REQUESTED), (entry.predicted, PREDICTED))
    for place, (occurrences, colour) in enumerate(series):
        counts = np.asarray(occurrences.counts, float)
        if counts.sum():
            axes.bar(values + 0.27 * (place - 1), counts / counts.sum(), 0.25, color=colour)
        else:
            # In the place of its own first bar, so that no other bar hides it.
            axes.text(0.27 * (place - 1), 0.04, "none", rotation=90, ha="center", color=colour, fontsize=7)
    axes.set(xticks=values, xlim=(values[0] - 0.6, values[-1] + 0.6), ylim=(0, 1.02), yticks=(0, 0.5, 1))
    axes.set_title(wrapped(short_title(label), TITLE_CHARACTERS), loc="left")
    if label.name == "eye_side":
        axes.set_xticklabels(["right", "left"])
    elif label.max_value == 1:
        axes.set_xticklabels(["no", "yes"])


def plot_consistency(consistency: Consistency) -> str | None:
    """Plot the AUC (kappa for grades) of the grader against the requests, beside that of shuffled requests.

    Labels that are not measurable have no row. The result is None if no label is measurable.
    """
    shown = [label for label in LABELS if consistency.labels[label.name].requested.measurable]
    if not shown:
        return None
    with styled_figure(1.0 + 0.28 * len(shown)) as figure:
        axes = figure.subplots()
        for row, label in enumerate(shown):
            entry = consistency.labels[label.name]
            plot_measure(axes, row - 0.16, entry.requested, REQUESTED, "o")
            plot_measure(axes, row + 0.16, entry.permuted, CHANCE, "D")
        label_rows(axes, [label.title for label in shown])
        axes.set_xlabel("AUC (quadratic kappa for the diabetic retinopathy grade) with 95 % interval")
        axes.grid(axis="x", color=GRID)
        point_legend(figure, (("o", REQUESTED, "requests"), ("D", CHANCE, "shuffled requests (chance)")))
        return svg_uri(figure)


def plot_roc(consistency: Consistency) -> str | None:
    """Plot the ROC curves with their bands; None if no label has one."""
    curves = [(label, roc) for label in LABELS if (roc := consistency.labels[label.name].roc) is not None]
    if not curves:
        return None
    rows = -(-len(curves) // ROC_COLUMNS)
    with styled_figure(0.6 + 2.4 * rows) as figure:
        grid = figure.add_gridspec(rows, ROC_COLUMNS)
        for place, (label, roc) in enumerate(curves):
            axes = figure.add_subplot(grid[place // ROC_COLUMNS, place % ROC_COLUMNS])
            _plot_roc_curve(axes, label, roc)
            if place % ROC_COLUMNS == 0:
                axes.set_ylabel("sensitivity")
            if place + ROC_COLUMNS >= len(curves):  # no panel below
                axes.set_xlabel("false positive rate")
        return svg_uri(figure)


def _plot_roc_curve(axes: Axes, label: Label, roc: RocCurve) -> None:
    axes.fill_between(roc.false_positive_rate, roc.low, roc.high, color=REQUESTED, alpha=0.18, linewidth=0)
    axes.plot(roc.false_positive_rate, roc.sensitivity, color=REQUESTED, linewidth=1.4)
    axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), box_aspect=1)
    axes.set_title(wrapped(short_title(label), 22), loc="left", fontsize=8)


def plot_sensitivity(sensitivity: Sensitivity) -> str | None:
    """Plot the sensitivity of each measurable group and disease, photographs beside samples; None if there is none."""
    entries: list[GroupSensitivity | SensitivityComparison] = [
        *sensitivity.groups.values(),
        *sensitivity.diseases.values(),
    ]
    shown = [entry for entry in entries if entry.difference.measurable]
    if not shown:
        return None
    with styled_figure(1.0 + 0.28 * len(shown)) as figure:
        axes = figure.subplots()
        for row, entry in enumerate(shown):
            plot_measure(axes, row - 0.16, entry.photographs, PHOTOGRAPHS, "D")
            plot_measure(axes, row + 0.16, entry.samples, SYNTHETIC, "o")
        label_rows(axes, [entry.title for entry in shown])
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel(f"sensitivity at a specificity of {sensitivity.specificity:.0%}, with 95 % interval")
        axes.grid(axis="x", color=GRID)
        point_legend(figure, (("D", PHOTOGRAPHS, "held-out photographs"), ("o", SYNTHETIC, "samples")))
        return svg_uri(figure)

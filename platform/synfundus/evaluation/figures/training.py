"""Figure of the trainings: the loss of each one against the step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from synfundus.evaluation.figures.style import GRID, PHOTOGRAPHS, REQUESTED, point_legend, styled_figure, svg_uri

SMOOTHING_POINTS = 15
Points = Sequence[tuple[int, float]]
"""(step, loss) points."""


@dataclass(frozen=True)
class LossCurves:
    """Losses of one training."""

    title: str
    training: Points
    """Loss of the training's own batches."""
    held_out: Points = ()
    """Loss on validation images with fixed noise and timesteps."""


def plot_losses(curves: Sequence[LossCurves]) -> str | None:
    """Plot the loss of each training with its running mean, and on validation images; None if there is no point."""
    known = [curve for curve in curves if curve.training or curve.held_out]
    if not known:
        return None
    with styled_figure(3.0) as figure:
        grid = figure.subplots(1, len(known), squeeze=False)[0]
        for axes, curve in zip(grid, known, strict=True):
            _plot_losses(axes, curve)
        texts = [("", REQUESTED, "training")]
        if any(curve.held_out for curve in known):
            texts.append(("D", PHOTOGRAPHS, "validation images, same noise at each checkpoint"))
        point_legend(figure, texts)
        return svg_uri(figure)


def _plot_losses(axes: Axes, curve: LossCurves) -> None:
    if curve.training:
        steps, losses = np.asarray(curve.training, float).T
        _plot_with_running_mean(axes, steps, losses)
    if curve.held_out:
        axes.plot(*np.asarray(curve.held_out, float).T, "D-", color=PHOTOGRAPHS, markersize=4, linewidth=1.2)
    axes.set_title(curve.title, loc="left")
    axes.set(xlabel="step", ylabel="loss")
    values = np.array([loss for _, loss in (*curve.training, *curve.held_out)])
    if values.min() > 0 and values.max() > 20 * values.min():
        axes.set_yscale("log")
    axes.grid(color=GRID)


def _plot_with_running_mean(axes: Axes, steps: NDArray[np.float64], losses: NDArray[np.float64]) -> None:
    """Plot the losses; few of them as they are, many of them pale below their running mean."""
    if len(losses) < 2 * SMOOTHING_POINTS:
        axes.plot(steps, losses, "o-", color=REQUESTED, markersize=3, linewidth=1.2)
        return
    smooth = np.convolve(losses, np.ones(SMOOTHING_POINTS) / SMOOTHING_POINTS, mode="valid")
    axes.plot(steps, losses, color=REQUESTED, alpha=0.25, linewidth=0.9)
    axes.plot(steps[SMOOTHING_POINTS - 1 :], smooth, color=REQUESTED, linewidth=1.6)

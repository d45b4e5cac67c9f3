"""Figure of memorisation: the share of samples near a training photograph, checkpoint by checkpoint."""

from collections.abc import Sequence

from synfundus.evaluation.figures.style import (
    GRID,
    PHOTOGRAPHS,
    SYNTHETIC,
    point_legend,
    styled_figure,
    svg_uri,
)
from synfundus.measures.metrics import MeasuredPrivacy
from synfundus.measures.privacy import MemorisationShare


def plot_memorisation(points: Sequence[MemorisationShare], privacy: MeasuredPrivacy) -> str | None:
    """Plot the share at each checkpoint with its interval, and that of held-out photographs; None without a point."""
    if not points:
        return None
    steps = [point.step for point in points]
    shares = [tuple(100 * value for value in point.share.interval) for point in points]
    with styled_figure(2.6) as figure:
        axes = figure.subplots()
        axes.fill_between(
            steps,
            [low for _, low, _ in shares],
            [high for *_, high in shares],
            color=SYNTHETIC,
            alpha=0.15,
            linewidth=0,
        )
        axes.plot(steps, [value for value, *_ in shares], "o-", color=SYNTHETIC, markersize=4, linewidth=1.4)
        axes.axhline(100 * privacy.expected_rate, color=PHOTOGRAPHS, linestyle="--", linewidth=1.2)
        axes.set(xlabel="step of the training", ylabel="near a training photograph (%)", ylim=(0, None))
        axes.grid(color=GRID)
        point_legend(
            figure,
            [
                ("o", SYNTHETIC, f"samples, {points[-1].num_samples} at each checkpoint, with 95 % interval"),
                ("_", PHOTOGRAPHS, "held-out photographs of other people"),
            ],
        )
        return svg_uri(figure)

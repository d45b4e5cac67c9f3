"""Nothing of a figure is cut off or empty, whatever the study lacks: every text and point lies where it can be seen."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from support.metrics_example import example_metrics
from support.transfer_example import example_transfer
from synfundus.evaluation.figures import diversity, labels, likeness, memorisation, training, transfer
from synfundus.evaluation.figures.labels import labels_not_measurable, labels_without_values
from synfundus.evaluation.figures.training import LossCurves
from synfundus.labels import LABEL_NAMES, LABELS
from synfundus.measures.diversity_metrics import ANATOMY_MEASURES, AnatomyName
from synfundus.measures.inputs import Floats
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import (
    ComputedSpace,
    Consistency,
    Extrapolation,
    LabelDistribution,
    MeasuredPrivacy,
    Octave,
    PowerSpectrum,
)

NONE = Measure.not_measurable("no image", 0)
Plot = Callable[[], str | None]


@pytest.fixture
def plotted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Plot], Figure]:
    """Return a function that plots a figure and returns it instead of its SVG."""
    figures: list[Figure] = []

    def keep(figure: Figure) -> str:
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
        figures.append(figure)
        return "data:,"

    for module in (diversity, labels, likeness, memorisation, training, transfer):
        monkeypatch.setattr(module, "svg_uri", keep)

    def plot(make: Plot) -> Figure:
        assert make() == "data:,"
        return figures.pop()

    return plot


def assert_nothing_is_cut_off(figure: Figure) -> None:
    """Require all texts inside the figure, and the vertices of all lines inside the limits of their axes."""
    page = figure.bbox
    for axes in figure.axes:
        if not axes.get_visible():
            continue
        titles = [axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]  # type: ignore[attr-defined]
        x_ticks, y_ticks = _ticks_in_view(axes.xaxis, axes.get_xlim()), _ticks_in_view(axes.yaxis, axes.get_ylim())
        for text in (*titles, *x_ticks, *y_ticks):
            if text.get_text():
                box = text.get_window_extent()
                assert page.x0 <= box.x0 <= box.x1 <= page.x1, text.get_text()
                assert page.y0 <= box.y0 <= box.y1 <= page.y1, text.get_text()
        for line in axes.get_lines():
            if line.get_transform() == axes.transData:
                _assert_inside(line, axes.get_xlim(), axes.get_ylim())


def _ticks_in_view(axis: Axis, limits: tuple[float, float]) -> list[Text]:
    """Return the labels of those ticks that are drawn."""
    places = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)
    return [label for place, label in places if min(limits) <= place <= max(limits)]


def _points(line: Line2D) -> tuple[Floats, Floats]:
    """Return the coordinates of a line's points."""
    return np.asarray(line.get_xdata(), np.float64), np.asarray(line.get_ydata(), np.float64)


def _assert_inside(line: Line2D, x_limits: tuple[float, float], y_limits: tuple[float, float]) -> None:
    for numbers, limits in zip(_points(line), (x_limits, y_limits), strict=True):
        assert min(limits) <= numbers.min() <= numbers.max() <= max(limits)


def with_measurable(names: Sequence[str]) -> Consistency:
    """Return the example's consistency, in which only these labels are measurable."""
    consistency = example_metrics().consistency
    missing = {"requested": NONE, "permuted": NONE, "beats_permuted": None, "roc": None}
    entries = {
        name: entry if name in names else entry.model_copy(update=missing) for name, entry in consistency.labels.items()
    }
    return consistency.model_copy(update={"labels": entries})


def with_values(names: Sequence[str], *, predicted: bool = True) -> dict[str, LabelDistribution]:
    """Return the example's distributions, in which only these labels have values."""
    found = {}
    for name, entry in example_metrics().label_distributions.items():
        empty = entry.requested.model_copy(update={"counts": (0,) * len(entry.values)})
        emptied = ("reference_expert", "requested", "predicted") if name not in names else ("predicted",)
        found[name] = entry if name in names and predicted else entry.model_copy(update=dict.fromkeys(emptied, empty))
    return found


USABLE = tuple(name for name in LABEL_NAMES if name not in ("is_htr", "is_em"))


@pytest.mark.parametrize("names", [USABLE, ("dr_grade", "eye_side"), ("dr_grade",), ("is_gc",)], ids=len)
def test_every_measurable_request_has_a_whole_row_and_the_others_are_named(
    names: tuple[str, ...], plotted: Callable[[Plot], Figure]
) -> None:
    consistency = with_measurable(names)
    figure = plotted(lambda: labels.plot_consistency(consistency))
    assert_nothing_is_cut_off(figure)
    assert len(figure.axes[0].get_yticklabels()) == len(names)
    assert len(labels_not_measurable(consistency)) == len(LABELS) - len(names)


@pytest.mark.parametrize("predicted", [True, False])
@pytest.mark.parametrize("names", [LABEL_NAMES, ("dr_grade", "eye_side"), ("is_gc",)], ids=len)
def test_only_labels_with_values_have_a_panel_and_the_others_are_named(
    names: tuple[str, ...], predicted: bool, plotted: Callable[[Plot], Figure]
) -> None:
    distributions = with_values(names, predicted=predicted)
    figure = plotted(lambda: labels.plot_distributions(distributions))
    assert_nothing_is_cut_off(figure)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == len(names)
    assert len(labels_without_values(distributions)) == len(LABELS) - len(names)
    for axes in panels:
        assert len(axes.texts) == (0 if predicted else 1)
        for text in axes.texts:
            box = text.get_window_extent()
            assert not any(
                box.overlaps(bar.get_window_extent())
                for bar in axes.patches
                if isinstance(bar, Rectangle) and bar.get_height() > 0
            )


@pytest.mark.parametrize("names", [USABLE, ("eye_side",), ("eye_side", "is_retinal_region_readable")], ids=len)
def test_every_roc_curve_is_whole(names: tuple[str, ...], plotted: Callable[[Plot], Figure]) -> None:
    consistency = with_measurable(names)
    figure = plotted(lambda: labels.plot_roc(consistency))
    assert_nothing_is_cut_off(figure)
    assert len(figure.axes) == sum(entry.roc is not None for entry in consistency.labels.values())


def test_strata_extrapolation_and_spectrum_are_whole(plotted: Callable[[Plot], Figure]) -> None:
    metrics = example_metrics()
    space = metrics.fidelity.spaces["annotator"]
    assert isinstance(space, ComputedSpace)
    alone = space.model_copy(update={"strata": {"overall": space.strata["overall"]}})
    for make in (
        lambda: likeness.plot_strata(space, metrics.fidelity),
        lambda: likeness.plot_strata(alone, metrics.fidelity),
        lambda: likeness.plot_extrapolation(space.extrapolation),
        lambda: likeness.plot_spectrum(metrics.spectrum),
        lambda: likeness.plot_spectrum(PowerSpectrum(octaves=metrics.spectrum.octaves[-1:])),
    ):
        assert_nothing_is_cut_off(plotted(make))


def test_the_extrapolated_point_lies_on_the_line_of_the_others(plotted: Callable[[Plot], Figure]) -> None:
    space = example_metrics().fidelity.spaces["annotator"]
    assert isinstance(space, ComputedSpace)
    lines = plotted(lambda: likeness.plot_extrapolation(space.extrapolation)).axes[0].get_lines()
    points = [_points(line) for line in lines]
    starts = [float(y[0]) for x, y in points if len(x) == 2 and x[1] > 0]
    assert starts == pytest.approx([8.0, 29.5])


def test_nearness_with_its_legend_is_whole(plotted: Callable[[Plot], Figure]) -> None:
    privacy = example_metrics().privacy
    assert isinstance(privacy, MeasuredPrivacy)
    figure = plotted(lambda: likeness.plot_ratios(privacy))
    assert_nothing_is_cut_off(figure)
    assert not figure.legends[0].get_window_extent().overlaps(figure.axes[0].bbox)


@pytest.mark.parametrize("names", [ANATOMY_MEASURES, ("cup_to_disc",), ANATOMY_MEASURES[:4]], ids=len)
def test_anatomy_of_both_sets_is_whole(names: Sequence[AnatomyName], plotted: Callable[[Plot], Figure]) -> None:
    anatomy = example_metrics().diversity.anatomy
    figure = plotted(lambda: diversity.plot_anatomy({name: anatomy[name] for name in names}))
    assert_nothing_is_cut_off(figure)
    assert len([axes for axes in figure.axes if axes.get_visible()]) == len(names)


def test_requested_findings_are_listed_by_size_without_those_not_measurable(plotted: Callable[[Plot], Figure]) -> None:
    requested = example_metrics().diversity.requested_findings
    assert requested is not None
    unmeasured = requested.findings["is_gc"].model_copy(update={"present": NONE})
    findings = {**requested.findings, "is_rvo": unmeasured}
    figure = plotted(lambda: diversity.plot_requested_findings(requested.model_copy(update={"findings": findings})))
    assert_nothing_is_cut_off(figure)
    texts = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()]
    assert texts == ["Diabetic retinopathy grade, 1 or more (1.0 px)", "Glaucoma (6.4 px)"]


def test_memorisation_shows_the_share_of_each_checkpoint_in_percent(plotted: Callable[[Plot], Figure]) -> None:
    metrics = example_metrics()
    privacy, points = metrics.privacy, metrics.audit.memorisation
    assert isinstance(privacy, MeasuredPrivacy)
    figure = plotted(lambda: memorisation.plot_memorisation(points, privacy))
    assert_nothing_is_cut_off(figure)
    steps, shares = _points(figure.axes[0].get_lines()[0])
    assert steps.tolist() == [500, 1000, 1500]
    assert shares == pytest.approx([0.0, 100 / 64, 0.0])
    assert memorisation.plot_memorisation((), privacy) is None


@pytest.mark.parametrize("count", [1, 2, 14, 29, 30, 400])
def test_every_loss_curve_shows_its_points_or_their_mean(count: int, plotted: Callable[[Plot], Figure]) -> None:
    losses = [(10 * (i + 1), 1 / (i + 1)) for i in range(count)]
    held_out = [(10, 0.9), (10 * count, 0.4)]
    curves = [
        LossCurves("Annotator", losses),
        LossCurves("Generator", losses, held_out),
        LossCurves("Without points", []),
    ]
    figure = plotted(lambda: training.plot_losses(curves))
    assert_nothing_is_cut_off(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Annotator", "Generator"]
    lines = figure.axes[1].get_lines()
    assert len(_points(lines[0])[0]) == count
    assert _points(lines[-1])[0].tolist() == [10.0, 10.0 * count]
    if count >= 30:
        assert len(_points(lines[1])[0]) == count - 14
    else:
        assert lines[0].get_marker() == "o"  # one point without a marker would be invisible


@pytest.mark.parametrize("architectures", [("resnet10t",), ("resnet10t", "vit_tiny")], ids=len)
def test_every_figure_of_the_transfer_is_whole(
    architectures: tuple[str, ...], plotted: Callable[[Plot], Figure]
) -> None:
    found = example_transfer(architectures)
    for contrast in found.contrasts:
        assert_nothing_is_cut_off(plotted(lambda contrast=contrast: transfer.plot_forest(found, contrast)))  # type: ignore[misc]
    for test_set in found.test_sets:
        assert_nothing_is_cut_off(plotted(lambda test_set=test_set: transfer.plot_gain(found, test_set)))  # type: ignore[misc]
    assert_nothing_is_cut_off(plotted(lambda: transfer.plot_curves(found)))


def test_a_forest_plot_has_a_point_for_each_measured_difference_and_fills_those_that_survive(
    plotted: Callable[[Plot], Figure],
) -> None:
    found = example_transfer()
    figure = plotted(lambda: transfer.plot_forest(found, "pretrained-against-real"))
    points = [line for axes in figure.axes for line in axes.get_lines() if line.get_marker() not in ("None", None)]
    entries = [entry for entry in found.differences if entry.contrast == "pretrained-against-real"]
    members = [entry.metrics[found.main_metric(entry.target)] for entry in entries]
    assert sorted(float(_points(line)[0][0]) for line in points) == pytest.approx(
        sorted(member.difference.measure.interval[0] for member in members)
    )
    assert sum(line.get_markerfacecolor() != "white" for line in points) == sum(member.survives for member in members)


def test_the_band_of_a_learning_curve_reaches_from_the_lowest_to_the_highest_seed(
    plotted: Callable[[Plot], Figure],
) -> None:
    found = example_transfer(("resnet10t",))
    figure = plotted(lambda: transfer.plot_curves(found))
    curves = [curve for curve in found.curves if (curve.arm, curve.fraction) == ("real", 0.1)]
    aucs = np.array([curve.auc for curve in curves])
    bands = [band.get_paths()[0].vertices for band in figure.axes[0].collections]
    assert any(
        vertices[:, 1].min() == pytest.approx(aucs.min()) and vertices[:, 1].max() == pytest.approx(aucs.max())
        for vertices in np.asarray(bands, dtype=object)
    )


def test_a_figure_without_data_does_not_exist() -> None:
    nothing = Extrapolation(points=(), held_out=NONE, synthetic=NONE, difference=NONE)
    unmeasured = Octave(low=2, high=4, held_out=None, synthetic=3.0, ratio=NONE)
    assert labels.plot_consistency(with_measurable([])) is None
    assert labels.plot_roc(with_measurable([])) is None
    assert labels.plot_distributions(with_values([])) is None
    assert likeness.plot_extrapolation(nothing) is None
    assert likeness.plot_spectrum(PowerSpectrum(octaves=(unmeasured,))) is None
    assert likeness.plot_spectrum(PowerSpectrum(octaves=())) is None
    assert training.plot_losses([LossCurves("Generator", [])]) is None
    empty = example_transfer(("resnet10t",)).model_copy(update={"differences": (), "curves": ()})
    assert transfer.plot_forest(empty, "pretrained-against-real") is None
    assert transfer.plot_gain(empty, "test") is None
    assert transfer.plot_curves(empty) is None
    assert diversity.plot_anatomy({}) is None
    assert diversity.plot_requested_findings(None) is None

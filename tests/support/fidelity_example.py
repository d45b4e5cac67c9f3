"""Fidelity and power spectrum with plausible numbers."""

from collections.abc import Sequence

from support.measure_example import UNUSABLE, measure
from synfundus.evaluation.measure_texts import MEASURE_TEXTS
from synfundus.evaluation.strata import GROUPS, STRATA
from synfundus.fundus.splits import NO_JUDGE
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import (
    MEASURE_NAMES,
    Comparison,
    ComputedSpace,
    Extrapolation,
    ExtrapolationPoint,
    Fidelity,
    FidelityMeasures,
    Landmark,
    MeasureName,
    Octave,
    PowerSpectrum,
    SkippedSpace,
)

VALUES: dict[MeasureName, tuple[float, float]] = {
    "kid": (0.0004, 0.021),
    "precision": (0.83, 0.71),
    "recall": (0.81, 0.52),
    "density": (0.98, 0.77),
    "coverage": (0.95, 0.70),
    "frechet_distance": (12.0, 31.5),
}
"""Value of held-out photographs and of samples."""
SMALL_N = Measure.not_measurable("90 images; needs 152, 10 times the effective dimension 15.2", 90)
"""Why a small stratum has no Fréchet distance."""


def _fidelity_measures(values: Sequence[float], n: int) -> FidelityMeasures:
    measures = {name: measure(value, 0.1 * value, n) for name, value in zip(MEASURE_NAMES, values, strict=True)}
    return FidelityMeasures.model_validate(_without_frechet_at_small_n(measures))


def _without_frechet_at_small_n(measures: dict[MeasureName, Measure]) -> dict[MeasureName, Measure]:
    return {**measures, "frechet_distance": SMALL_N} if measures["kid"].n < 152 else measures


def _comparison(n: int, scale: float) -> Comparison:
    factors = [scale if MEASURE_TEXTS[name].better == "lower" else 1 / scale for name in MEASURE_NAMES]
    held_out, synthetic = (
        [VALUES[name][column] * factor for name, factor in zip(MEASURE_NAMES, factors, strict=True)]
        for column in (0, 1)
    )
    gaps = {name: s - h for name, s, h in zip(MEASURE_NAMES, synthetic, held_out, strict=True)}
    return Comparison(
        n=n,
        effective_dimension=15.2,
        held_out=_fidelity_measures(held_out, n),
        synthetic=_fidelity_measures(synthetic, n),
        difference=FidelityMeasures.model_validate(
            _without_frechet_at_small_n(
                {name: Measure.measured(gap, gap - 0.1, gap + 0.1, n) for name, gap in gaps.items()}
            )
        ),
    )


def example_fidelity() -> Fidelity:
    """Return one computed space of features and two that are not."""
    few = FidelityMeasures.not_measurable(Measure.not_measurable("12 images, needs 50", 12))
    too_small = Comparison(n=12, effective_dimension=None, held_out=few, synthetic=few, difference=few)
    return Fidelity(
        measures=dict(MEASURE_TEXTS),
        strata={key: stratum.text for key, stratum in STRATA.items()},
        groups=dict(GROUPS),
        spaces={
            "judge": SkippedSpace(title="Judge features", reason=NO_JUDGE),
            "annotator": ComputedSpace(
                title="Annotator features",
                dim=512,
                strata={
                    key: too_small if key in UNUSABLE else _comparison(800 if key == "overall" else 90, 1 + 0.05 * i)
                    for i, key in enumerate(STRATA)
                },
                extrapolation=_extrapolation(),
                landmark=Landmark(n=800, synthetic=measure(0.03, 0.002, 800), phantoms=measure(3.21, 0.09, 800)),
            ),
            "inception": SkippedSpace(title="Inception features", reason="no weights named"),
        },
    )


def _extrapolation() -> Extrapolation:
    """Return distances on the lines 8 + 3200 / n and 29.5 + 1600 / n."""
    return Extrapolation(
        points=tuple(
            ExtrapolationPoint(n=n, held_out=8 + 3200 / n, synthetic=29.5 + 1600 / n) for n in (800, 533, 400)
        ),
        held_out=measure(8.0, 1.0, 800),
        synthetic=measure(29.5, 2.0, 800),
        difference=measure(21.5, 2.5, 800),
    )


def example_spectrum() -> PowerSpectrum:
    """Return four octaves, in which samples lose power."""
    powers = ((2.0, 4.0, 9000.0, 9100.0), (4.0, 8.0, 800.0, 780.0), (8.0, 16.0, 60.0, 48.0), (16.0, 32.0, 5.0, 3.4))
    return PowerSpectrum(
        octaves=tuple(
            Octave(low=low, high=high, held_out=real, synthetic=made, ratio=measure(made / real, 0.05, 800))
            for low, high, real, made in powers
        )
    )

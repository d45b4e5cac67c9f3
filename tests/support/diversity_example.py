"""Diversity and anatomy with plausible numbers."""

from support.measure_example import measure
from synfundus.evaluation.anatomy_comparison import QUANTILES, TEXTS
from synfundus.measures.diversity_metrics import (
    ANATOMY_MEASURES,
    AnatomyComparison,
    AnatomyDistribution,
    AnatomyError,
    AnatomyName,
    ClosePair,
    CombinationCoverage,
    Diversity,
    FindingCombination,
    NearestOther,
    RequestedFinding,
    RequestedFindings,
    VendiComparison,
)
from synfundus.measures.measure import Measure


def _anatomy(name: AnatomyName) -> AnatomyComparison:
    """Return a measure whose samples lie 0.02 above the photographs; that of the cup is not measurable."""
    text, centre = TEXTS[name], {"disc_height": 0.0, "field": 0.95}.get(name, 0.2)
    measurable = name != "cup_to_disc"

    def spread(shift: float) -> AnatomyDistribution:
        quantiles = tuple(centre + shift + 0.1 * (share - 0.5) for share in QUANTILES)
        return AnatomyDistribution(num_images=400, found=measure(0.97, 0.02, 400), quantiles=quantiles)

    few = Measure.not_measurable("found in 4 held-out photographs and 380 samples; needs 20 of each", 4)
    return AnatomyComparison(
        title=text.title,
        unit=text.unit,
        left_out=dict(text.left_out),
        error=AnatomyError(size_px=64, median_error=0.01, rank_correlation=0.9, found=0.98),
        held_out=spread(0.0),
        synthetic=spread(0.02),
        difference=Measure.measured(0.02, 0.01, 0.03, 380) if measurable else few,
        distance=0.2 if measurable else None,
        p_value=0.0004 if measurable else None,
        p_adjusted=0.002 if measurable else None,
    )


def _requested_finding(title: str, diameter: float) -> RequestedFinding:
    rates = (0.98, 0.97, 0.8, 0.05, 0.82, 0.02)
    names = ("sensitivity", "specificity", "detected", "detected_without", "present", "present_without")
    measures = {name: measure(rate, 0.01, 120) for name, rate in zip(names, rates, strict=True)}
    return RequestedFinding(title=title, diameter=diameter, diameter_px=64 * diameter, **measures)


def example_diversity() -> Diversity:
    """Return samples that vary less than photographs."""
    return Diversity(
        vendi={
            "annotator": VendiComparison(
                n=800,
                held_out=measure(12.5, 0.4, 800),
                synthetic=measure(9.1, 0.3, 800),
                ratio=measure(0.73, 0.03, 800),
            )
        },
        nearest_other={
            "copies": NearestOther(
                n=800,
                quantile=0.05,
                threshold=0.61,
                twins=measure(0.12, 0.03, 800),
                median_ratio=measure(0.9, 0.02, 800),
                closest=(ClosePair(sample_ids=(3, 41), distance=0.2),),
            )
        },
        combinations=CombinationCoverage(
            n=1200,
            by_training=measure(0.93, 0.02, 800),
            by_requests=measure(0.81, 0.03, 800),
            by_annotations=measure(0.78, 0.03, 800),
            num_combinations=140,
            num_requested=90,
            num_annotated=85,
            min_patients=10,
            num_unnamed=100,
            rarest=(
                FindingCombination(
                    findings=("Glaucoma", "Pathological myopia"),
                    num_photographs=14,
                    num_patients=11,
                    num_requested=20,
                    num_annotated=17,
                ),
            ),
        ),
        anatomy={name: _anatomy(name) for name in ANATOMY_MEASURES},
        requested_findings=RequestedFindings(
            num_training_phantoms=2000,
            num_test_phantoms=800,
            findings={
                "dr_grade>=1": _requested_finding("Diabetic retinopathy grade, 1 or more", 0.015),
                "is_gc": _requested_finding("Glaucoma", 0.1),
            },
        ),
    )

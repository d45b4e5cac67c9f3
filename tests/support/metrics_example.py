"""Metrics of an evaluation and of an annotator with plausible numbers, for tests of their readers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from support.copies_example import EXAMPLE_METRICS
from synfundus.diagnosis.metrics import AnnotatorMetrics, HeadMetrics, SplitMetrics
from synfundus.diagnosis.operating_points import OperatingPoint
from synfundus.evaluation.anatomy_comparison import QUANTILES, TEXTS
from synfundus.evaluation.measure_texts import MEASURE_TEXTS
from synfundus.evaluation.privacy_gate import privacy_verdict
from synfundus.evaluation.strata import GROUPS, STRATA
from synfundus.fundus.splits import NO_JUDGE
from synfundus.labels import DISEASES, HEAD_NAMES, LABEL_BY_NAME, LABEL_NAMES, LABELS, Label
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
from synfundus.measures.judge_metrics import (
    GroupSensitivity,
    IndependentJudge,
    Sensitivity,
    SensitivityComparison,
    TeacherAsJudge,
)
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import (
    MEASURE_NAMES,
    ClosestPair,
    Comparison,
    ComputedSpace,
    Consistency,
    Counts,
    EvaluationMetrics,
    ExpectedCounts,
    Extrapolation,
    ExtrapolationPoint,
    Fidelity,
    FidelityMeasures,
    LabelConsistency,
    LabelDistribution,
    Landmark,
    MeasuredPrivacy,
    MeasureName,
    Octave,
    PowerSpectrum,
    ProtocolSettings,
    RatioHistogram,
    RocCurve,
    SetCounts,
    SkippedSpace,
    ValueCounts,
)
from synfundus.measures.privacy import (
    DetectionRate,
    LabelInference,
    MembershipAttack,
    MemorisationShare,
    PrivacyAudit,
)
from synfundus.measures.transfer_metrics import SkippedTransfer

UNUSABLE = ("is_htr", "is_em")
"""Labels that the annotator cannot predict."""
UNUSABLE_REASON = "the annotator cannot predict this label"
NO_TRANSFER = "the study has no section transfer"
IMAGE_ID = "0123456789abcdef"
VALUES: dict[MeasureName, tuple[float, float]] = {
    "kid": (0.0004, 0.021),
    "precision": (0.83, 0.71),
    "recall": (0.81, 0.52),
    "density": (0.98, 0.77),
    "coverage": (0.95, 0.70),
    "frechet_distance": (12.0, 31.5),
}
"""Value of held-out photographs and of samples."""


def measure(value: float, half_width: float, n: int) -> Measure:
    return Measure.measured(value, max(0.0, value - half_width), value + half_width, n)


def _occurrences(size: int, rng: np.random.Generator) -> ValueCounts:
    counts = np.sort(rng.multinomial(1000, rng.dirichlet(np.ones(size))))[::-1]
    return ValueCounts(counts=tuple(counts.tolist()), num_unknown=int(rng.integers(0, 500)))


def _distribution(label: Label, rng: np.random.Generator) -> LabelDistribution:
    size = label.max_value + 1
    known = _occurrences(size, rng)
    return LabelDistribution(
        values=tuple(range(size)),
        reference_expert=_occurrences(size, rng),
        reference_known=ExpectedCounts(counts=tuple(map(float, known.counts)), num_unknown=known.num_unknown),
        held_out_expert=_occurrences(size, rng),
        requested=_occurrences(size, rng),
        predicted=_occurrences(size, rng),
    )


def _roc(auc: float) -> RocCurve:
    rate = np.linspace(0, 1, 101)
    curve = rate ** ((1 - auc) / auc)
    edges = (np.clip(curve + shift, 0, 1) for shift in (0.0, -0.05, 0.05))
    sensitivity, low, high = (tuple(edge.tolist()) for edge in edges)
    return RocCurve(false_positive_rate=tuple(rate.tolist()), sensitivity=sensitivity, low=low, high=high)


def _label_consistency(label: Label, rng: np.random.Generator) -> LabelConsistency:
    size, usable = label.max_value + 1, label.name not in UNUSABLE
    confusion = (np.eye(size) * 70 + rng.integers(3, 20, (size, size))).astype(int)
    value = float(rng.uniform(0.6, 0.99))
    unusable = Measure.not_measurable(UNUSABLE_REASON, 0)
    return LabelConsistency(
        title=label.title,
        kind=label.kind,
        statistic="quadratic_kappa" if size > 2 else "auc",
        num_requested=tuple(confusion.sum(1).tolist()),
        num_predicted=tuple(confusion.sum(0).tolist()) if usable else (0,) * size,
        requested=measure(value, 0.03, 400) if usable else unusable,
        permuted=measure(0.02 if size > 2 else 0.5, 0.05, 400) if usable else unusable,
        beats_permuted=(value > 0.65) if usable else None,
        agreement=measure(value - 0.05, 0.04, 400) if usable else unusable,
        agreement_permuted=measure(0.45, 0.05, 400) if usable else unusable,
        confusion=tuple(map(tuple, confusion.tolist())),
        roc=_roc(value) if usable and size == 2 else None,
    )


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


def _fidelity() -> Fidelity:
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


def _sensitivity(num_positive: int) -> tuple[Measure, Measure, Measure]:
    return (
        measure(0.8, 0.1, num_positive),
        measure(0.6, 0.1, num_positive),
        Measure.measured(-0.2, -0.34, -0.06, num_positive),
    )


def _sensitivities() -> Sensitivity:
    """Return sensitivities of 0.8 on photographs and 0.6 on samples; those of unusable labels are not measurable."""
    unusable = Measure.not_measurable(UNUSABLE_REASON, 0)
    diseases = {}
    for name in DISEASES:
        photographs, samples, difference = (unusable,) * 3 if name in UNUSABLE else _sensitivity(40)
        diseases[name] = SensitivityComparison(
            title=LABEL_BY_NAME[name].title,
            num_positive=photographs.n,
            num_negative=300,
            photographs=photographs,
            samples=samples,
            difference=difference,
        )
    groups = {}
    for key, group in GROUPS.items():
        photographs, samples, difference = _sensitivity(80)
        groups[key] = GroupSensitivity(
            title=group.title,
            diseases=tuple(name for name in group.diseases if name not in UNUSABLE),
            photographs=photographs,
            samples=samples,
            difference=difference,
        )
    return Sensitivity(specificity=0.9, diseases=diseases, groups=groups, contrast=Measure.measured(0.0, -0.2, 0.2, 80))


def example_judge(seed: int = 0) -> IndependentJudge:
    """Return what is known of an independent judge with two unusable labels."""
    rng = np.random.default_rng(seed)
    reason = Measure.not_measurable("needs both classes, has 0 positive and 400 negative", 400)
    scores = {
        name: reason if name in UNUSABLE else measure(float(rng.uniform(0.6, 0.9)), 0.05, 400) for name in LABEL_NAMES
    }
    return IndependentJudge(
        digest="cd" * 32,
        architecture="resnet10t",
        num_images=412,
        num_patients=206,
        num_samples=800,
        unusable=dict.fromkeys(UNUSABLE, UNUSABLE_REASON),
        test_scores=scores,
    )


def judged(metrics: EvaluationMetrics) -> EvaluationMetrics:
    """Return the same metrics with an independent judge; the annotator's agreement stands beside the judge's."""
    return metrics.model_copy(update={"judge": example_judge(), "annotator_consistency": metrics.consistency})


def _spectrum() -> PowerSpectrum:
    powers = ((2.0, 4.0, 9000.0, 9100.0), (4.0, 8.0, 800.0, 780.0), (8.0, 16.0, 60.0, 48.0), (16.0, 32.0, 5.0, 3.4))
    return PowerSpectrum(
        octaves=tuple(
            Octave(low=low, high=high, held_out=real, synthetic=made, ratio=measure(made / real, 0.05, 800))
            for low, high, real, made in powers
        )
    )


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


def _diversity() -> Diversity:
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


def _bell(centre: float, width: float) -> tuple[int, ...]:
    """Return counts of 40 bins, 800 in all but for rounding."""
    weight = np.exp(-((np.arange(40) - centre) ** 2) / width)
    return tuple(int(count) for count in np.round(800 * weight / weight.sum()))


def _privacy() -> MeasuredPrivacy:
    return MeasuredPrivacy(
        num_training=1200,
        num_held_out=800,
        num_synthetic=800,
        space="small grey images",
        threshold=0.21,
        expected_rate=0.0099,
        num_validation=100,
        detector=EXAMPLE_METRICS,
        num_sampled=803,
        num_near=3,
        share_near=measure(3 / 803, 0.004, 803),
        share_near_upper_bound=0.00962,
        num_below=0,
        ratios=RatioHistogram(
            bin_edges=tuple(np.linspace(0, 1, 41).tolist()), held_out=_bell(22, 40), synthetic=_bell(20, 30)
        ),
        closest=(
            ClosestPair(
                sample_id=17, training_image_id=IMAGE_ID, distance_ratio=0.22, mirrored=False, below_threshold=False
            ),
        ),
    )


def example_attack(title: str, auc: float, num_references: int = 0) -> MembershipAttack:
    """Return an attack on 300 photographs each; it recognises 2 % of the members at 1 % false accusations."""
    unmeasured = Measure.not_measurable("300 non-members; needs 1000", 300)
    return MembershipAttack(
        title=title,
        attacker="The attacker holds a photograph of the person.",
        num_members=300,
        num_non_members=300,
        num_references=num_references,
        auc=measure(auc, 0.05, 600),
        rates=(
            DetectionRate(false_positive_rate=0.01, num_non_members_needed=100, sensitivity=measure(0.02, 0.01, 300)),
            DetectionRate(false_positive_rate=0.001, num_non_members_needed=1000, sensitivity=unmeasured),
        ),
    )


def example_audit(**changes: Any) -> PrivacyAudit:
    """Return an audit whose attacks do no better than chance; `changes` replace some of its fields."""
    audit = PrivacyAudit(
        memorisation=tuple(
            MemorisationShare(step=step, num_samples=64, num_near=near, share=measure(near / 64, 0.03, 64))
            for step, near in ((500, 0), (1000, 1), (1500, 0))
        ),
        canaries=(),
        attack_on_images=example_attack("Membership from the images", 0.51),
        attack_on_weights=example_attack("Membership from the weights", 0.53, num_references=1),
        inference=LabelInference(
            training=measure(0.31, 0.03, 900),
            held_out=measure(0.30, 0.04, 600),
            excess=measure_around(0.01, 0.05, 1500),
        ),
        initial_weights=False,
    )
    return audit.model_copy(update=changes)


def measure_around(value: float, half_width: float, n: int) -> Measure:
    """Return a measure that may be negative."""
    return Measure.measured(value, value - half_width, value + half_width, n)


def example_metrics(*notes: str, seed: int = 0) -> EvaluationMetrics:
    """Return metrics with all sections filled; two labels are unusable, the Inception space is not computed.

    Args:
        notes: further notes.
    """
    rng = np.random.default_rng(seed)
    privacy, audit = _privacy(), example_audit()
    return EvaluationMetrics(
        config=ProtocolSettings(
            max_images=2000, min_images=50, num_neighbours=5, seed=0, attack_max_images=300, reference_generators=()
        ),
        counts=Counts(
            reference=SetCounts(num_images=1200, num_used=800, num_patients=600),
            held_out=SetCounts(num_images=800, num_used=800, num_patients=400),
            synthetic=SetCounts(num_images=3000, num_used=800, num_patients=None),
        ),
        label_distributions={label.name: _distribution(label, rng) for label in LABELS},
        fidelity=_fidelity(),
        spectrum=_spectrum(),
        judge=TeacherAsJudge(reason=NO_JUDGE),
        annotator_consistency=None,
        sensitivity=_sensitivities(),
        diversity=_diversity(),
        consistency=Consistency(
            permutation_seed=0, labels={label.name: _label_consistency(label, rng) for label in LABELS}
        ),
        transfer=SkippedTransfer(reason=NO_TRANSFER),
        privacy=privacy,
        audit=audit,
        verdict=privacy_verdict(privacy, audit),
        notes=(
            "Inception features: no weights named",
            f"Hypertensive retinopathy, agreement with the request: {UNUSABLE_REASON}",
            *notes,
        ),
    )


def example_annotator_metrics(seed: int = 0) -> AnnotatorMetrics:
    """Return the metrics of an annotator with two unusable labels."""
    rng = np.random.default_rng(seed)
    reason = "training needs both classes, has 0 positive and 412 negative"

    def head(name: str) -> HeadMetrics:
        usable = name not in UNUSABLE
        unusable = Measure.not_measurable(f"unusable: {reason}", 400)
        measures = [measure(float(rng.uniform(0.6, 0.95)), 0.04, 400) if usable else unusable for _ in range(6)]
        return HeadMetrics(
            num_images=400,
            num_patients=200,
            num_positive=80 if usable else 0,
            auc=measures[0],
            average_precision=measures[1],
            sensitivity=measures[2],
            specificity=measures[3],
            ppv=measures[4],
            f1=measures[5],
            ece=measure(0.03, 0.01, 400) if usable else unusable,
        )

    def split() -> SplitMetrics:
        heads = {name: head(name) for name in HEAD_NAMES}
        return SplitMetrics(heads=heads, quadratic_kappa=measure(0.71, 0.05, 400))

    points = {
        name: OperatingPoint(rule="matched-prevalence", prevalence=0.2, threshold=0.31)
        for name in HEAD_NAMES
        if name not in UNUSABLE
    }
    return AnnotatorMetrics(
        unusable=dict.fromkeys(UNUSABLE, reason),
        unusable_heads=dict.fromkeys(UNUSABLE, reason),
        operating_points=points,
        unmet={},
        splits={"validation": split(), "test": split()},
    )

"""Metrics of an evaluation with plausible numbers, for tests of their readers."""

import numpy as np

from support.diversity_example import example_diversity
from support.fidelity_example import example_fidelity, example_spectrum
from support.judge_example import example_sensitivity
from support.measure_example import UNUSABLE, UNUSABLE_REASON, measure
from support.privacy_example import example_audit, example_privacy
from synfundus.evaluation.privacy_gate import privacy_verdict
from synfundus.fundus.splits import NO_JUDGE
from synfundus.labels import LABELS, Label
from synfundus.measures.judge_metrics import TeacherAsJudge
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import (
    Consistency,
    Counts,
    EvaluationMetrics,
    ExpectedCounts,
    LabelConsistency,
    LabelDistribution,
    ProtocolSettings,
    RocCurve,
    SetCounts,
    ValueCounts,
)
from synfundus.measures.transfer_metrics import SkippedTransfer

NO_TRANSFER = "the study has no section transfer"


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


def example_metrics(*notes: str, seed: int = 0) -> EvaluationMetrics:
    """Return metrics with all sections filled; two labels are unusable, the Inception space is not computed.

    Args:
        notes: further notes.
    """
    rng = np.random.default_rng(seed)
    privacy, audit = example_privacy(), example_audit()
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
        fidelity=example_fidelity(),
        spectrum=example_spectrum(),
        judge=TeacherAsJudge(reason=NO_JUDGE),
        annotator_consistency=None,
        sensitivity=example_sensitivity(),
        diversity=example_diversity(),
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

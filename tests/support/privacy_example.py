"""Privacy with plausible numbers: distances, attacks and audit."""

from typing import Any

import numpy as np

from support.copies_example import EXAMPLE_METRICS
from support.measure_example import measure, measure_around
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import ClosestPair, MeasuredPrivacy, RatioHistogram
from synfundus.measures.privacy import DetectionRate, LabelInference, MembershipAttack, MemorisationShare, PrivacyAudit

IMAGE_ID = "0123456789abcdef"


def _bell(centre: float, width: float) -> tuple[int, ...]:
    """Return counts of 40 bins, 800 in all but for rounding."""
    weight = np.exp(-((np.arange(40) - centre) ** 2) / width)
    return tuple(int(count) for count in np.round(800 * weight / weight.sum()))


def example_privacy() -> MeasuredPrivacy:
    """Return 3 of 803 samples near a training image, none of them released."""
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

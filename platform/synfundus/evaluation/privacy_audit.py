"""The privacy audit of a report: attacks on the samples, and what the generator's training and weights reveal."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synfundus.evaluation.attacks import attack_images
from synfundus.evaluation.image_sets import Photographs, Samples
from synfundus.measures.metrics import MeasuredPrivacy, Privacy
from synfundus.measures.privacy import CanaryShare, MembershipAttack, MemorisationShare, PrivacyAudit
from synfundus.measures.statistics import proportion
from synfundus.training.metadata import CanaryRatios, MemorisationPoint


@dataclass(frozen=True)
class GeneratorEvidence:
    """Evidence on the generator: records of its training, and the result of an attack on its weights."""

    memorisation: Sequence[MemorisationPoint]
    attack: MembershipAttack
    initial_weights: bool
    """True if the training started from other weights."""


def audit_privacy(
    training: Photographs,
    held_out: Photographs,
    samples: Samples,
    privacy: Privacy,
    generator: GeneratorEvidence,
    device: str,
) -> PrivacyAudit:
    """Return the results of all attacks.

    Args:
        privacy: measured nearness, whose threshold is applied to the ratios that the training recorded.
        device: device of the search for near images.
    """
    attack, inference = attack_images(training, held_out, samples, device)
    # Ratios in another space cannot be compared with this threshold.
    points = (
        [point for point in generator.memorisation if point.space == privacy.space]
        if isinstance(privacy, MeasuredPrivacy)
        else []
    )
    threshold = privacy.threshold if isinstance(privacy, MeasuredPrivacy) else 0.0
    return PrivacyAudit(
        memorisation=tuple(memorisation_share(point, threshold) for point in points),
        canaries=tuple(canary_share(canary, threshold) for canary in points[-1].canaries) if points else (),
        attack_on_images=attack,
        attack_on_weights=generator.attack,
        inference=inference,
        initial_weights=generator.initial_weights,
    )


def memorisation_share(point: MemorisationPoint, threshold: float) -> MemorisationShare:
    """Return the share of a checkpoint's samples that are nearer to a training photograph than `threshold`."""
    near = np.array(point.ratios) < threshold
    return MemorisationShare(step=point.step, num_samples=len(near), num_near=int(near.sum()), share=proportion(near))


def canary_share(canary: CanaryRatios, threshold: float) -> CanaryShare:
    """Return the share of the samples with the condition of a canary that are nearer to it than `threshold`."""
    num_near = sum(ratio < threshold for ratio in canary.ratios)
    return CanaryShare(
        repeats=canary.repeats,
        num_patients=canary.num_patients,
        num_samples=canary.num_samples,
        num_near=num_near,
        share=proportion(np.arange(canary.num_samples) < num_near),
    )

"""What is known about a release without asking its makers: counts, digests, settings, and what follows from them."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synfundus.digests import sha256_hex
from synfundus.errors import WrongInputError
from synfundus.samples.shards import VERIFICATION
from synfundus.storage import MANIFEST, Storage, read_manifest, read_trusted

REASONS = {
    "undecodable": "did not decode",
    "blank": "were blank",
    "near_training_image": "lay too near to a training image",
}


@dataclass(frozen=True)
class ReleaseFacts:
    """Facts about the samples of a release, equal for equal input."""

    num_samples: int
    """Asked for by the plan."""
    num_unresolved: int
    """Without an accepted attempt; left out."""
    rejected: Mapping[str, int]
    """Attempts that were rejected, by reason."""
    space: str
    """In which nearness to training images is judged."""
    quantile: float
    threshold: float
    samples_manifest: str
    """SHA-256 of the samples' manifest."""
    generator: str
    """Digest of the generator."""
    annotator: str
    """Digest of the annotator."""
    settings: Mapping[str, Any]
    """Of the plan: solver, seed, conditions."""
    notes: tuple[str, ...]
    """What the plan merged or dropped."""
    num_combinations: int

    @property
    def num_accepted(self) -> int:
        return self.num_samples - self.num_unresolved

    @property
    def privacy_statement(self) -> str:
        near = self.rejected.get("near_training_image", 0)
        return (
            "The images show nobody, but the model behind them was trained on photographs of patients, and a fundus"
            " identifies a person. Each released image was compared with every training image, mirrored ones too"
            f" ({self.space}): nearer than the {self.quantile:.1%} quantile of held-out photographs' distances"
            f" ({self.threshold:.4g}) is rejected; that was so for {near} drawn images. This is no proof of anonymity."
        )

    @property
    def bias_statement(self) -> str:
        source = {
            "real": "follow the joint distribution of the training photographs, with its imbalances",
            "balanced": "raise rare findings (a mean of distributions that balance one label each); prevalences are not"
            " those of any population",
            "quotas": "follow quotas chosen by the makers; prevalences are not those of any population",
        }[self.settings["conditions"]]
        return f"The conditions {source}. Cameras, ages and ancestries are those of the training photographs only."

    @property
    def limitations(self) -> list[str]:
        return [
            "Annotations are an AI annotator's output, conditions what was asked for; neither is a diagnosis.",
            "Conditions and annotations disagree on some images. Such images were kept: none was removed for that.",
            "Small lesions may be missing or misplaced; measure on real photographs before drawing a conclusion.",
            "A program can tell real from synthetic images; do not mix them so that the source gives the label away.",
        ]

    @property
    def intended_uses(self) -> list[str]:
        return [
            "Research: pre-training, augmentation, teaching, and testing of software for fundus photographs.",
            "Out of scope: diagnosis or any decision about a patient, estimates of prevalence, validation of a device.",
            "Forbidden: any attempt to find the people whose photographs trained the generator.",
        ]


def read_facts(storage: Storage, samples_folder: str) -> ReleaseFacts:
    """Facts of complete samples, from their manifest, plan and verification.

    Raises:
        WrongInputError: sampling has not finished, or the folder holds something else.
    """
    manifest = read_manifest(storage, samples_folder)
    if manifest.get("kind") != "samples":
        raise WrongInputError(f"{samples_folder} holds {manifest.get('kind')!r}, expected samples")
    plan = json.loads(read_trusted(storage, samples_folder, "plan.json", manifest))
    verification = json.loads(read_trusted(storage, samples_folder, VERIFICATION, manifest))
    reasons = Counter(row["reason"] for row in verification["rejected"])
    return ReleaseFacts(
        num_samples=verification["num_samples"],
        num_unresolved=len(verification["unresolved"]),
        rejected=dict(sorted(reasons.items())),
        space=verification["space"],
        quantile=verification["quantile"],
        threshold=verification["threshold"],
        samples_manifest=sha256_hex(storage.read(f"{samples_folder}/{MANIFEST}")),
        generator=plan["generator"],
        annotator=plan["annotator"],
        settings=plan["settings"],
        notes=tuple(plan["notes"]),
        num_combinations=len(plan["combinations"]),
    )

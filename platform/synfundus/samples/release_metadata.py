"""Metadata of a release that needs no statement of its makers: counts, digests and settings, and what they imply."""

from collections.abc import Mapping
from dataclasses import dataclass

from synfundus.copies.manifest import CopyCalibration
from synfundus.fundus.origin import Origin
from synfundus.samples.chain import overridden_sentence, training_sentence
from synfundus.samples.config import SamplesConfig
from synfundus.samples.manifest import SamplesManifest
from synfundus.samples.plan import read_plan
from synfundus.samples.rejection import SampleRejectionReason
from synfundus.samples.verification import read_verification
from synfundus.storage import Storage, manifest_digest, read_manifest

REASON_TEXT = {
    SampleRejectionReason.UNDECODABLE: "did not decode",
    SampleRejectionReason.BLANK: "were blank",
    SampleRejectionReason.NEAR_TRAINING_IMAGE: "lay too near to a training image",
}
BIAS_TEXT = {
    "real": "follow the joint distribution of the training photographs, with its imbalances",
    "balanced": "make rare findings more frequent (the mean of distributions that balance one label each), so"
    " prevalences are not those of any population",
    "quotas": "follow quotas that the makers chose, so prevalences are not those of any population",
}
"""Statement on the conditions, by `samples.conditions`."""
INITIAL_WEIGHTS_TEXT = (
    "The training of the generator started from other weights, and the images may repeat images that those were trained"
    " on, which were not compared."
)
"""Statement on a generator with `generator.init_from`."""
LIMITATIONS = (
    "Conditions are requests to the generator, annotations are predictions of an AI annotator; neither is a diagnosis.",
    "Condition and annotation disagree on some images. No image was rejected for that.",
    "Small lesions may be missing or misplaced; measure on real photographs before drawing a conclusion.",
    "A program can tell real from synthetic images; in a mixture, no label may depend on the origin of the images.",
)
INTENDED_USES = (
    "Research: pre-training, augmentation, teaching, and testing of software for fundus photographs.",
    "Out of scope: diagnosis or any decision about a patient, estimates of prevalence, validation of a device.",
    "Forbidden: any attempt to find the people whose photographs trained the generator.",
)


@dataclass(frozen=True)
class ReleaseMetadata:
    """Metadata of the samples of a release; equal inputs give equal metadata."""

    num_samples: int
    """Samples of the plan."""
    num_unresolved: int
    """Samples without an accepted attempt, which are not released."""
    rejected: Mapping[SampleRejectionReason, int]
    """Rejected attempts by reason."""
    space: str
    """Space in which the distance to training images is measured."""
    calibration: CopyCalibration
    """Distance ratio to the training images below which a sample is rejected, and where it comes from."""
    samples_manifest_sha256: str
    """SHA-256 of the samples' manifest."""
    generator_digest: str
    annotator_digest: str
    origin: Origin
    """Origin of the images that the generator was trained on."""
    plan: SamplesConfig
    """Settings of the plan."""
    notes: tuple[str, ...]
    """Notes of the plan: which combinations were merged or omitted."""
    num_combinations: int
    """Combinations of labels in the plan."""
    initial_weights: bool
    """True if the training of the generator started from other weights."""

    @property
    def num_accepted(self) -> int:
        """Released samples."""
        return self.num_samples - self.num_unresolved

    @property
    def privacy_statement(self) -> str:
        """Statement on personal data, for the card and for Croissant."""
        num_near = self.rejected.get(SampleRejectionReason.NEAR_TRAINING_IMAGE, 0)
        training = (
            f"{training_sentence(self.origin)} What those images reveal of the patients behind them, these may reveal"
            " too."
            if self.origin.only_releases
            else "But the generator was trained on photographs of patients, and a fundus identifies a person."
        )
        start = INITIAL_WEIGHTS_TEXT if self.initial_weights else ""
        sources = " ".join(filter(None, (training, start, overridden_sentence(self.origin))))
        compared = "training image of this study" if self.initial_weights else "training image"
        return (
            f"The images show no real person. {sources} Each image was compared with every {compared} and its mirror"
            f" image ({self.space}). An image was rejected if its distance to the nearest one is less than"
            f" {self.calibration.threshold:.4g} times that to the nearest one of another patient, which"
            f" {self.calibration.expected_rate:.1%} of photographs of other people are expected to be; {num_near}"
            " images were rejected for that. This is no proof of anonymity."
        )

    @property
    def bias_statement(self) -> str:
        """Statement on biases, for the card and for Croissant."""
        return (
            f"The conditions {BIAS_TEXT[self.plan.conditions]}. Cameras, ages and ancestries are those of the training"
            " photographs only."
        )


def read_release_metadata(storage: Storage, samples_folder: str, *, initial_weights: bool) -> ReleaseMetadata:
    """Return the metadata of complete samples, from their manifest, plan and verification.

    Args:
        initial_weights: true if the training of the generator started from other weights.

    Raises:
        WrongInputError: sampling has not finished, or the folder holds something else.
        StorageError: a file differs from the manifest.
    """
    manifest = read_manifest(storage, samples_folder, SamplesManifest)
    plan = read_plan(storage, samples_folder, manifest)
    verification = read_verification(storage, samples_folder, manifest)
    return ReleaseMetadata(
        num_samples=manifest.summary.num_samples,
        num_unresolved=manifest.summary.num_unresolved,
        rejected=manifest.summary.rejected,
        space=verification.space,
        calibration=verification.calibration,
        samples_manifest_sha256=manifest_digest(manifest),
        generator_digest=manifest.generator_digest,
        annotator_digest=manifest.annotator_digest,
        origin=manifest.origin,
        plan=plan.config,
        notes=plan.notes,
        num_combinations=len(plan.combinations),
        initial_weights=initial_weights,
    )

"""Manifests of `samples/<name>/` and `releases/<name>/`."""

from typing import Literal

from synfundus.fundus.origin import OTHER_SOURCES, GateOverride, Origin
from synfundus.metadata import Metadata
from synfundus.samples.rejection import SampleRejectionReason
from synfundus.samples.release_config import ReleaseConfig
from synfundus.storage import Manifest


class SamplesCounts(Metadata):
    """Counts of a finished sampling."""

    num_samples: int
    """Samples of the plan."""
    num_combinations: int
    """Combinations of labels in the plan."""
    rejected: dict[SampleRejectionReason, int]
    """Rejected attempts by reason."""
    num_unresolved: int
    """Samples without an accepted attempt."""
    notes: tuple[str, ...]
    """Notes of the plan: which combinations were merged or omitted."""

    @property
    def num_accepted(self) -> int:
        """Samples with an accepted attempt."""
        return self.num_samples - self.num_unresolved


class SamplesManifest(Manifest):
    """Manifest of `samples/<name>/`."""

    kind: Literal["samples"] = "samples"
    plan_digest: str
    """SHA-256 of `plan.json`."""
    generator_digest: str
    """Digest of the generator."""
    annotator_digest: str
    """Digest of the annotator."""
    origin: Origin = OTHER_SOURCES
    """Origin of the images that the generator was trained on."""
    summary: SamplesCounts


class ReleaseInputs(Metadata):
    """Everything that a release's bytes depend on."""

    config: ReleaseConfig
    samples_manifest_sha256: str
    """SHA-256 of the samples' manifest."""
    generator_digest: str
    """Digest of the generator that made the samples."""
    annotator_digest: str
    """Digest of the annotator that annotated them."""
    origin: Origin = OTHER_SOURCES
    """Origin of the images that the generator was trained on."""
    metrics_sha256: str
    """SHA-256 of the evaluation's `metrics.json`."""
    annotator_metrics_sha256: str
    """SHA-256 of the annotator's `metrics.json`."""
    report_sha256: str
    """SHA-256 of the report's public edition."""
    privacy_page_sha256: str
    """SHA-256 of the privacy page."""


class ReleaseCounts(Metadata):
    """Counts of a finished release."""

    num_accepted: int
    """Released samples."""
    num_unresolved: int
    """Samples of the plan that are not released, because no attempt was accepted."""
    num_files: int
    """Files that the manifest names."""
    size_bytes: int
    """Size of these files together."""


class ReleaseManifest(Manifest):
    """Manifest of `releases/<name>/`."""

    kind: Literal["release"] = "release"
    inputs: ReleaseInputs
    override: GateOverride | None = None
    """Decision of the makers against the privacy gate; null if the gate passed."""
    summary: ReleaseCounts

"""The manifest of a report of given samples, for tests of what reads a report."""

from synfundus.evaluation.manifest import ReportManifest
from synfundus.samples.manifest import SamplesManifest
from synfundus.storage import manifest_digest

DETECTOR = "de" * 32


def report_manifest(samples: SamplesManifest | None = None, copy_detector: str = DETECTOR) -> ReportManifest:
    """Return the manifest of a report that evaluated `samples`; without them, of a report of no samples."""
    return ReportManifest(
        digest="digest",
        samples_manifest_sha256="0" * 64 if samples is None else manifest_digest(samples),
        generator_digest="0" * 64 if samples is None else samples.generator_digest,
        copy_detector_digest=copy_detector,
    )

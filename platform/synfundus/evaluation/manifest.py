"""The folder of a report: names of its files, its manifest, and the reader of its metrics."""

from typing import Final, Literal

from synfundus.measures.metrics import EvaluationMetrics
from synfundus.storage import METRICS, Manifest, Storage, read_manifest, read_record

PRIVATE: Final = "index.html"
"""The private edition of the report; it may show photographs of real eyes."""
PUBLIC: Final = "public.html"
"""The public edition of the report, which `publish` puts into a release."""

PRIVACY_PAGE: Final = "privacy.html"
"""The verdict of the privacy gate on one page, which `publish` puts into a release."""


class ReportManifest(Manifest):
    """Manifest of a report. It names what was evaluated, so that `publish` releases no other samples."""

    version: Literal[2] = 2
    """Version 1 does not name what was evaluated."""
    kind: Literal["report"] = "report"
    samples_manifest_sha256: str
    """SHA-256 of the samples' manifest."""
    generator_digest: str
    """Digest of the generator whose training and weights were evaluated."""
    copy_detector_digest: str
    """Digest of the copy detector that searched the samples for copies."""


def read_metrics(storage: Storage, folder: str) -> EvaluationMetrics:
    """Return the metrics of a complete report.

    Raises:
        WrongInputError: the folder is not complete, or holds something else.
        StorageError: `metrics.json` differs from the manifest, or is of another version.
    """
    manifest = read_manifest(storage, folder, ReportManifest)
    return read_record(storage, folder, METRICS, manifest, EvaluationMetrics)

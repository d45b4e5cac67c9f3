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
    """Manifest of a report."""

    kind: Literal["report"] = "report"


def read_metrics(storage: Storage, folder: str) -> EvaluationMetrics:
    """Return the metrics of a complete report.

    Raises:
        WrongInputError: the folder is not complete, or holds something else.
        StorageError: `metrics.json` differs from the manifest, or is of another version.
    """
    manifest = read_manifest(storage, folder, ReportManifest)
    return read_record(storage, folder, METRICS, manifest, EvaluationMetrics)

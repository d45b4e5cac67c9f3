"""Records and listings of images that no test reads."""

from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.sources import SourceListing, SourceRecord
from synfundus.fundus.sources.base import ImageFile
from synfundus.fundus.staging import Staged
from synfundus.labels import LABEL_NAMES


def record(name: str, patient: str | None = None, split: str | None = None, **labels: int) -> SourceRecord:
    return SourceRecord(name, ImageFile(name), {**dict.fromkeys(LABEL_NAMES), **labels}, patient, split)


def listing(*records: SourceRecord) -> SourceListing:
    return SourceListing(list(records), [], [], has_patients=any(r.patient_id for r in records))


def staged(identity: str, pixels: str = "", reason: ImageRejectionReason | None = None, field_px: int = 100) -> Staged:
    """Return the outcome of pass 1 for one image, accepted unless a reason is given."""
    return Staged(identity, reason, "broken" if reason else "", field_px, None if reason else pixels or identity)

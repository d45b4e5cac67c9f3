"""The record `rejected.json`: every rejected image with its reason, and table rows and images without counterpart.

It names source files, so it is private.
"""

from typing import Literal

from pydantic import Field

from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.sources import SourceListing, SourceRecord
from synfundus.fundus.verdicts import ImageRejection, Verdicts, label_conflicts
from synfundus.metadata import Metadata


class RejectedImage(Metadata):
    """One rejected image."""

    name: str
    """Name of the image below its source."""
    reason: ImageRejectionReason
    detail: str
    """Explanation in one line."""
    twin: str | None = None
    """Name of the accepted image that this one is a copy of; null if it is not a copy."""
    conflicts: dict[str, tuple[int, int]] = Field(default_factory=dict)
    """Label to the contradicting values of twin and copy."""
    same_patient: bool | None = None
    """True if twin and copy have the same patient; null if it is not a copy."""


class SameEye(Metadata):
    """Two accepted photographs that show the same eye."""

    names: tuple[str, str]
    same_patient: bool
    """True if both name the same patient."""


class SharedByPatients(Metadata):
    """An image, or photographs of one eye, that more than two patient ids have. It joins no patients.

    If it is a placeholder, label it `is_fundus` 0. If it shows an eye, give its patients one id.
    """

    name: str
    """Name of its first accepted image."""
    num_patients: int
    """Number of patient ids that have it."""


class RejectionReport(Metadata):
    """Content of `rejected.json`."""

    version: Literal[1] = 1
    counts: dict[ImageRejectionReason, int]
    """Number of images by reason; every reason is a key."""
    images: tuple[RejectedImage, ...]
    """Rejected images, in the order of their names."""
    same_eye: tuple[SameEye, ...]
    """Pairs found by the search for copies. They count as different images of one patient, unless more
    than two patient ids have them."""
    shared_images: tuple[SharedByPatients, ...]
    """Images that more than two patient ids have."""
    rows_without_image: tuple[str, ...]
    """`FILE row N: NAME` of each table row whose image was not found."""
    images_without_row: tuple[str, ...]
    """Names of the images that no table row describes."""


def rejection_report(verdicts: Verdicts, listing: SourceListing) -> RejectionReport:
    """Return the report of a finished preparation."""
    records = verdicts.records
    return RejectionReport(
        counts=verdicts.counts(),
        images=tuple(_rejected_image(verdicts, verdicts.rejections[i]) for i in sorted(verdicts.rejections)),
        same_eye=tuple(
            SameEye(names=(records[i].name, records[j].name), same_patient=_same_known_patient(records[i], records[j]))
            for i, j in sorted(verdicts.same_eye)
            if i not in verdicts.rejections and j not in verdicts.rejections
        ),
        shared_images=tuple(
            SharedByPatients(name=records[shared.index].name, num_patients=shared.num_patients)
            for shared in verdicts.shared_images
        ),
        rows_without_image=tuple(listing.rows_without_image),
        images_without_row=tuple(listing.images_without_row),
    )


def _same_known_patient(one: SourceRecord, other: SourceRecord) -> bool:
    return one.patient_id is not None and one.patient_id == other.patient_id


def _rejected_image(verdicts: Verdicts, rejection: ImageRejection) -> RejectedImage:
    record = verdicts.records[rejection.index]
    row = RejectedImage(name=record.name, reason=rejection.reason, detail=rejection.detail)
    if rejection.twin is None:
        return row
    twin = verdicts.records[verdicts.accepted_twin(rejection)]
    return row.model_copy(
        update={
            "twin": twin.name,
            "conflicts": label_conflicts(twin.labels, record.labels),
            "same_patient": twin.patient_id == record.patient_id,
        }
    )

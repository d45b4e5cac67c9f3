"""The manifest of prepared images, `data/<name>/manifest.json`."""

from typing import Final, Literal

from synfundus.fundus.origin import OTHER_SOURCES, Origin
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.splits import SplitFractions
from synfundus.metadata import Metadata
from synfundus.storage import Manifest

CONTACT_SHEET: Final = "contact_sheet.png"
"""Contact sheet of the dataset, beside the manifest."""
REJECTED: Final = "rejected.json"
"""Report about rejected images, beside the manifest."""


class SplitCounts(Metadata):
    """A number for each split."""

    train: int = 0
    judge: int = 0
    validation: int = 0
    test: int = 0

    @property
    def total(self) -> int:
        return self.train + self.judge + self.validation + self.test


class LabelSources(Metadata):
    """Number of images by the source of one label's value."""

    expert: int = 0
    filled: int = 0
    unknown: int = 0


class ParentDataset(Metadata):
    """The dataset that `fill` read."""

    folder: str
    """Folder of the parent below the root."""
    manifest_sha256: str
    """SHA-256 of its manifest."""
    digest: str
    """Digest of the settings that it was prepared with."""


class DataManifest(Manifest):
    """Metadata of a dataset of prepared images. `prepare` writes it, and `fill` writes it again with a parent."""

    version: Literal[2] = 2
    """Version 1 has no split `judge`, and its index has other positions of the splits."""
    kind: Literal["data"] = "data"
    size_px: int
    """Side of the images in pixels."""
    images_digest: str
    """Digest of the originals' names, labels and grouping by patient."""
    patient_key: str
    """Digest of the key of the patient hashes. If two datasets have the same, their hashes can be compared."""
    split_seed: int
    """Seed of the split."""
    split_fractions: SplitFractions
    """Expected fraction of the patients in each split; `train` includes those of `judge`."""
    num_images: SplitCounts
    """Images in each split."""
    num_patients: SplitCounts
    """Patients in each split."""
    images_counted_as_patient: int
    """Accepted images without a patient id that count as a patient each: no other accepted image shows their
    eye, and no copy of them has an id."""
    joined_patient_ids: int = 0
    """Patient ids that count as one patient with another id, because both have one image, accepted or rejected as a
    copy, or photographs of one eye."""
    shared_images: int = 0
    """Images that more than two patient ids have, so that they join no patients."""
    sources: dict[str, LabelSources]
    """Label to the number of images by source."""
    values: dict[str, dict[int, int]]
    """Label to the number of images by expert's value."""
    rejected: dict[ImageRejectionReason, int]
    """Number of rejected images by reason; every reason is a key."""
    label_conflicts: int
    """Rejected copies whose labels contradict those of the accepted image."""
    rows_without_image: int
    """Table rows whose image was not found."""
    images_without_row: int
    """Images that no table row describes."""
    origin: Origin = OTHER_SOURCES
    """Releases among the sources of the images."""
    parent: ParentDataset | None = None
    """The dataset whose unknown labels were filled; null for one that `prepare` wrote."""
    annotator_digest: str | None = None
    """Digest of the annotator that filled; null for a dataset that `prepare` wrote."""

"""What every source of images gives: records that know their labels and their bytes' place, and what did not match."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from synfundus.environment import S3Environment
from synfundus.labels import DISEASES, LABEL_NAMES, LabelRow


class ImageReference(Protocol):
    """Small and picklable: says where the bytes of one image are."""

    def load(self) -> bytes:
        """The original encoded bytes (of an array: lossless PNG).

        Raises:
            OSError: the file has gone since it was listed, or may not be read.
            StorageError: it lies on a store that does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image that is a file."""

    path: str

    def load(self) -> bytes:
        return Path(self.path).read_bytes()

    def open(self) -> io.BufferedIOBase:
        return Path(self.path).open("rb")


@dataclass(frozen=True, slots=True)
class S3File:
    """An image that is an object on S3. It holds addresses and no credentials."""

    uri: str
    """`s3://bucket/key`."""
    environment: S3Environment
    """Address of the store."""

    def load(self) -> bytes:
        """Return the bytes of the object."""
        from synfundus.fundus.sources.s3_objects import read_photograph  # boto3 takes half a second to import

        return read_photograph(self.uri, self.environment)

    def open(self) -> io.BytesIO:
        """Read the whole object and return it as a file."""
        return io.BytesIO(self.load())


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One image of a source; listing it has not read the image."""

    name: str
    """Stable name below the source's path, for messages and `rejected.json`."""
    read: ImageReference
    labels: LabelRow
    """All 16 names; null is unknown. Read-only: records of equal labels may share one mapping."""
    patient_id: str | None = None
    """Null where the source names no patient. Public layouts put their name before it (`eyepacs:10`)."""
    split: str | None = None
    """`train`, `validation` or `test` where the study asks for the source's own parts, else null."""

    def load(self) -> bytes:
        """The original encoded bytes; see `ImageReference.load`."""
        return self.read.load()


@dataclass(frozen=True)
class SourceListing:
    """All images of a source in a fixed order, and what had no counterpart: neither stops a job, both are told."""

    records: list[SourceRecord]
    rows_without_image: list[str]
    """`FILE row N: NAME` of each table row whose image is not there."""
    images_without_row: list[str]
    """Names of the records that no table row speaks of: they are unlabelled, not even `is_fundus` is assumed."""
    has_patients: bool
    """At least one record names its patient."""


def graded(**values: int | None) -> dict[str, int | None]:
    """All 16 labels of a photograph that a grader judged, the ones not in `values` null.

    A picture that is not a fundus has no disease labels (`labels.apply_rules`), so a known disease says `is_fundus` 1.
    """
    row: dict[str, int | None] = dict.fromkeys(LABEL_NAMES)
    row.update(values)
    if row["is_fundus"] is None and any(row[name] is not None for name in DISEASES):
        row["is_fundus"] = 1
    return row

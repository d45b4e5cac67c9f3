"""Records and listings, which every source of images returns."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from synfundus.environment import S3Environment
from synfundus.fundus.origin import OTHER_SOURCES, Origin
from synfundus.labels import DISEASES, LABEL_NAMES, LabelRow


class ImageReference(Protocol):
    """Location of the bytes of one image; small and picklable."""

    def load(self) -> bytes:
        """Return the original encoded bytes, or a PNG of an array.

        Raises:
            OSError: the file was removed since it was listed, or may not be read.
            StorageError: the store does not answer.
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
    """One image of a source, listed without reading the image."""

    name: str
    """Stable name below the source's path, for messages and `rejected.json`."""
    read: ImageReference
    labels: LabelRow
    """All 16 names; null is unknown. Read-only: records of equal labels may share one mapping."""
    patient_id: str | None = None
    """Canonical form (`patient_ids`); null if the source names no patient. Public layouts put their name before it
    (`eyepacs:10`)."""
    split: str | None = None
    """`train`, `validation` or `test` if the study keeps the source's own splits, else null."""

    def load(self) -> bytes:
        """Return the original encoded bytes; see `ImageReference.load`."""
        return self.read.load()


@dataclass(frozen=True)
class TableUse:
    """The used part of one table. Everything else of it is reported, so that no row or column is lost silently."""

    name: str
    """Name of the file."""
    num_rows: int
    num_matched: int
    """Rows whose image was found."""
    unused_columns: tuple[str, ...]
    """Columns that the layout does not read."""
    row_without_image: str | None
    """First row whose image was not found: `row N names 'NAME'`."""
    image_without_row: str | None
    """First image of the table's folder that no row describes."""

    @property
    def warning(self) -> str | None:
        """Return a line with an example of each side if fewer than half of the rows found their image, else None."""
        if 2 * self.num_matched >= self.num_rows:
            return None
        image = self.image_without_row
        other = "every image has a row" if image is None else f"no row describes {image}"
        return (
            f"{self.name}: only {self.num_matched} of {self.num_rows} rows find an image;"
            f" {self.row_without_image}, and {other}"
        )


@dataclass(frozen=True)
class SourceListing:
    """All images of a source in a fixed order, and rows and images without counterpart, which are reported."""

    records: list[SourceRecord]
    rows_without_image: list[str]
    """`FILE row N: NAME` of each table row whose image was not found."""
    images_without_row: list[str]
    """Names of the records that no table row describes. All their labels are unknown, also `is_fundus`."""
    has_patients: bool
    """True if at least one record names its patient."""
    tables: tuple[TableUse, ...] = ()
    """Use of each table; empty if the layout has none."""
    label_columns: Mapping[str, str] = field(default_factory=dict)
    """Label to the column that it is read from, if the layout is `release`, or `folder` or `synfundus-1m` recognised
    one."""
    origin: Origin = OTHER_SOURCES
    """Releases that the images come from."""


def graded(**values: int | None) -> dict[str, int | None]:
    """Return all 16 labels of a photograph that a grader judged; those not in `values` are null.

    Only a fundus has disease labels (`labels.apply_rules`), so a known disease implies `is_fundus` 1.
    """
    row: dict[str, int | None] = dict.fromkeys(LABEL_NAMES)
    row.update(values)
    if row["is_fundus"] is None and any(row[name] is not None for name in DISEASES):
        row["is_fundus"] = 1
    return row

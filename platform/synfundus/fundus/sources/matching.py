"""Table rows and images brought together into one listing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import SourceListing, SourceRecord
from synfundus.fundus.sources.csv_table import Row
from synfundus.fundus.sources.image_folder import ImageFolder
from synfundus.labels import LabelRow, apply_rules


@dataclass(frozen=True)
class FromName:
    """What the name of an image says by itself, row or no row."""

    labels: Mapping[str, int | None]
    patient_id: str | None


def _nothing(_: str) -> FromName:
    return FromName({}, None)


class Matching:
    """Collects records while a table is read: `add` per row, `rest` per folder, `listing` at the end."""

    def __init__(self) -> None:
        self._records: list[SourceRecord] = []
        self._rows_without_image: list[str] = []
        self._images_without_row: list[str] = []
        self._seen: dict[str, int] = {}
        self._shared: dict[tuple[int | None, ...], LabelRow] = {}

    def add(
        self,
        images: ImageFolder,
        row: Row,
        image: str,
        labels: LabelRow,
        patient_id: str | None = None,
        split: str | None = None,
    ) -> None:
        """Take one image as `row` describes it.

        Raises:
            WrongInputError: no image named, its name fits several files, or an earlier row described it.
        """
        if not image:
            raise WrongInputError(f"{row.where}: no image named; fill the cell or remove the row")
        found = images.find(image, row.where)
        name = images.record_name(found or image)
        if name in self._seen:
            raise WrongInputError(
                f"{row.table.path}: rows {self._seen[name]} and {row.number} both describe {image!r}; keep one of them"
            )
        self._seen[name] = row.number
        if found is None:
            self._rows_without_image.append(f"{row.table.path.name} row {row.number}: {image}")
        else:
            self._append(name, images, found, labels, patient_id, split)

    def rest(
        self, images: ImageFolder, from_name: Callable[[str], FromName] = _nothing, split: str | None = None
    ) -> None:
        """Take the images of a folder that no row described."""
        for found in images.names:
            name = images.record_name(found)
            if name not in self._seen:
                self._images_without_row.append(name)
                said = from_name(found)
                self._append(name, images, found, said.labels, said.patient_id, split)

    def listing(self) -> SourceListing:
        """All records, sorted by name."""
        self._records.sort(key=lambda record: record.name)
        has_patients = any(record.patient_id is not None for record in self._records)
        return SourceListing(self._records, self._rows_without_image, self._images_without_row, has_patients)

    def _append(
        self,
        name: str,
        images: ImageFolder,
        found: str,
        labels: LabelRow,
        patient_id: str | None,
        split: str | None,
    ) -> None:
        clean = apply_rules(labels)
        shared = self._shared.setdefault(tuple(clean.values()), clean)
        self._records.append(SourceRecord(name, images.reference(found), shared, patient_id, split))

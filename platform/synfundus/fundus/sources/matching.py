"""Match table rows and images into one listing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import SourceListing, SourceRecord, TableUse
from synfundus.fundus.sources.csv_table import CsvTable, TableRow
from synfundus.fundus.sources.image_folder import ImageFolder
from synfundus.labels import LabelRow, apply_rules, is_unknown


@dataclass(frozen=True)
class FromName:
    """Labels and patient that the name of an image gives, with or without a table row."""

    labels: Mapping[str, int | None]
    patient_id: str | None


def _nothing(_: str) -> FromName:
    return FromName({}, None)


@dataclass
class _Rows:
    """Rows of one table so far."""

    table: CsvTable
    images: ImageFolder
    num_rows: int = 0
    num_matched: int = 0
    row_without_image: str | None = None


class Matching:
    """Collects records while tables are read: call `add` for each row, `rest` for each folder, `listing` at the end."""

    def __init__(self) -> None:
        self._records: list[SourceRecord] = []
        self._rows_without_image: list[str] = []
        self._images_without_row: list[str] = []
        self._row_of: dict[str, int] = {}
        self._rows: dict[str, _Rows] = {}
        self._shared: dict[tuple[int | None, ...], LabelRow] = {}

    def add(
        self,
        images: ImageFolder,
        row: TableRow,
        image: str,
        labels: LabelRow,
        patient_id: str | None = None,
        split: str | None = None,
    ) -> None:
        """Add the image that `row` describes.

        Raises:
            WrongInputError: the row names no image, the name matches several files, or an earlier row describes it.
        """
        if is_unknown(image):
            raise WrongInputError(f"{row.where}: the row names no image; fill the cell or remove the row")
        found = images.find(image, row.where)
        name = images.record_name(found or image)
        if name in self._row_of:
            raise WrongInputError(
                f"{row.table.path}: rows {self._row_of[name]} and {row.number} both describe {image!r};"
                " keep one of them"
            )
        self._row_of[name] = row.number
        rows = self._rows.setdefault(str(row.table.path), _Rows(row.table, images))
        rows.num_rows += 1
        if found is None:
            self.report_missing(row, image)
            rows.row_without_image = rows.row_without_image or f"row {row.number} names {image!r}"
        else:
            rows.num_matched += 1
            self._append(name, images, found, labels, patient_id, split)

    def report_missing(self, row: TableRow, image: str) -> None:
        """Report a row whose image was not found. `add` does so for its rows."""
        self._rows_without_image.append(f"{row.table.path.name} row {row.number}: {image}")

    def rest(
        self, images: ImageFolder, from_name: Callable[[str], FromName] = _nothing, split: str | None = None
    ) -> None:
        """Add the images of a folder that no row describes."""
        for found in images.names:
            name = images.record_name(found)
            if name not in self._row_of:
                self._images_without_row.append(name)
                named = from_name(found)
                self._append(name, images, found, named.labels, named.patient_id, split)

    def listing(self, label_columns: Mapping[str, str] | None = None) -> SourceListing:
        """Return all records, sorted by name.

        Args:
            label_columns: see `SourceListing`.

        Raises:
            WrongInputError: no row of a table finds an image, so all its labels would be lost.
        """
        self._records.sort(key=lambda record: record.name)
        return SourceListing(
            records=self._records,
            rows_without_image=self._rows_without_image,
            images_without_row=self._images_without_row,
            has_patients=any(record.patient_id is not None for record in self._records),
            tables=tuple(self._use(rows) for rows in self._rows.values()),
            label_columns=label_columns or {},
        )

    def _use(self, rows: _Rows) -> TableUse:
        if rows.num_matched == 0:
            raise WrongInputError(
                f"{rows.table.path}: none of its {rows.num_rows} rows finds an image: {rows.row_without_image},"
                f" and {rows.images.folder} holds {rows.images.names[0]!r};"
                " correct the column of the names, the names or the folder of the images"
            )
        names = map(rows.images.record_name, rows.images.names)
        return TableUse(
            name=rows.table.path.name,
            num_rows=rows.num_rows,
            num_matched=rows.num_matched,
            unused_columns=rows.table.unused_columns,
            row_without_image=rows.row_without_image,
            image_without_row=next((name for name in names if name not in self._row_of), None),
        )

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

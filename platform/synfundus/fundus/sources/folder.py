"""Any folder of images with a CSV of labels; the study maps its columns to labels."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from synfundus.config import Config, refusing_value
from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import SourceListing
from synfundus.fundus.sources.csv_table import CsvTable, TableRow
from synfundus.fundus.sources.image_folder import ImageFolder, existing_folder
from synfundus.fundus.sources.matching import Matching
from synfundus.fundus.sources.near_names import near_name
from synfundus.labels import LABEL_NAMES, require_in_range, require_known

PATIENT_COLUMN = "patient_id"


def _as_text(values: Any) -> Any:
    """Return the keys as a table spells them.

    YAML reads 0 as a number, which is turned back into text. It reads yes, no, on and off as booleans, which cannot be
    turned back and are refused.
    """
    if not isinstance(values, dict):
        return values
    for key in values:
        if key is None or isinstance(key, bool):
            raise ValueError("yes, no, on, off, true, false and null must be in quotes among the keys of `map`")
    return {str(key): value for key, value in values.items()}


class LabelColumn(Config):
    """Column of the table that holds a label."""

    column: str
    """Name of the column."""
    map: Annotated[dict[str, int | None] | None, BeforeValidator(_as_text)] = None
    """Text of a cell to label value, null for unknown; any other text is an error, unless it means unknown. Without a
    map, cells hold values."""


def _as_column(value: Any) -> Any:
    """Read a plain name as a column without a map."""
    return {"column": value} if isinstance(value, str) else value


class FolderSource(Config):
    """A folder of images with a CSV."""

    layout: Literal["folder"]
    """Any folder with a CSV."""
    path: str
    """Folder that holds the CSV and the images."""
    csv: str = "labels.csv"
    """Table below `path`: UTF-8, separated by commas, one row per image."""
    images: str = "images"
    """Folder of the images below `path` (`.` for `path` itself); folders below it are searched, too."""
    image_column: str = "file_name"
    """Column with the file name of the image, with or without folders and suffix."""
    patient_column: str | None = None
    """Column with the patient; null: `patient_id` if there is one. Without a patient, an image counts as a patient."""
    columns: dict[str, Annotated[LabelColumn, BeforeValidator(_as_column)]] = Field(default_factory=dict)
    """Label to column, or to column and map. Any other label is read from the column of its own name, if any."""
    constants: dict[str, int] = Field(default_factory=dict)
    """Label to the value of every row of the table, such as `is_fundus: 1`."""

    @model_validator(mode="after")
    def _check_labels(self) -> "FolderSource":
        mapped = [(name, value) for name, column in self.columns.items() for value in (column.map or {}).values()]
        with refusing_value():
            require_known(self.columns, "columns")
            require_known(self.constants, "constants")
            require_in_range(mapped, "columns")
            require_in_range(self.constants.items(), "constants")
        if both := sorted(self.columns.keys() & self.constants.keys()):
            raise ValueError(f"{both[0]} is in `columns` and in `constants`; keep one")
        return self

    def listing(self) -> SourceListing:
        """Match rows and images.

        Raises:
            WrongInputError: folder, CSV, a column or every label column is missing, a column looks like a missing
                label or patient column, there is no image, no row finds one, a value is out of range, or two rows
                describe one image.
        """
        root = existing_folder(self.path)
        table = CsvTable.open(root / self.csv, self.image_column)
        columns = self._label_columns(table)
        patients = self._patient_column(table)
        self._refuse_near_labels(table, columns)
        images = ImageFolder(root / self.images, root)
        matching = Matching()
        for row in table.rows():
            labels = dict(self.constants) | {name: _value(row, name, column) for name, column in columns.items()}
            patient = None if patients is None else row.patient(patients)
            matching.add(images, row, row.text(self.image_column), labels, patient)
        matching.rest(images)
        return matching.listing({name: column.column for name, column in columns.items()})

    def _label_columns(self, table: CsvTable) -> dict[str, LabelColumn]:
        own_name = [name for name in LABEL_NAMES if name not in self.constants and table.has(name)]
        columns = {name: LabelColumn(column=name) for name in own_name} | self.columns
        for column in columns.values():
            table.require(column.column)
        if not columns and not self.constants:
            self._refuse_near_labels(table, columns)
            raise WrongInputError(
                f"{table.path}: no label column; map its columns in `columns` or rename them to labels "
                f"({', '.join(LABEL_NAMES)}); its columns are {', '.join(table.index)}"
            )
        return columns

    def _patient_column(self, table: CsvTable) -> str | None:
        """Return the column with the patient, None if there is none."""
        column = self.patient_column or PATIENT_COLUMN
        if self.patient_column is not None:
            table.require(column)
        elif not table.has(column):
            for other in table.unused_columns:
                if near_name(other, (PATIENT_COLUMN, "patient")) is not None:
                    raise WrongInputError(
                        f"{table.path}: column {other!r} looks like patient ids, and without ids a patient may lie in"
                        f" two splits; set patient_column: {other!r}, or rename the column"
                    )
            return None
        return column

    def _refuse_near_labels(self, table: CsvTable, columns: Mapping[str, LabelColumn]) -> None:
        """Refuse a column that looks like a label that nothing gives."""
        missing = [name for name in LABEL_NAMES if name not in columns and name not in self.constants]
        for column in table.unused_columns:
            if (name := near_name(column, missing)) is not None:
                raise WrongInputError(
                    f"{table.path}: column {column!r} looks like the label {name}; set columns: {{{name}: {column!r}}},"
                    f" or rename the column"
                )


def _value(row: TableRow, name: str, column: LabelColumn) -> int | None:
    if column.map is not None:
        return row.choice(column.column, column.map)
    try:
        return row.label(name, column.column)
    except WrongInputError as error:
        text = row.text(column.column)
        if not any(map(str.isalpha, text)):
            raise
        texts = f"{{{text!r}: VALUE, ...}}"
        raise WrongInputError(
            f"{error}; since the cells hold words, set columns: {{{name}: {{column: {column.column!r}, map: {texts}}}}}"
        ) from None

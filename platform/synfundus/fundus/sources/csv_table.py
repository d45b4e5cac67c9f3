"""Read label tables from CSV files, strictly; errors name file, row, column and remedy.

Rows are numbered as in a spreadsheet: the header is row 1. Blank rows have a number but are skipped.
"""

import csv
import difflib
import io
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from synfundus.errors import WrongInputError
from synfundus.fundus.sources.near_names import near_name
from synfundus.fundus.sources.patient_ids import canonical_patient_id
from synfundus.fundus.sources.place import Place
from synfundus.labels import is_unknown, parse_value


@dataclass(frozen=True, slots=True)
class TableRow:
    """One data row."""

    table: "CsvTable"
    number: int
    cells: list[str]

    @property
    def where(self) -> str:
        return f"{self.table.path} row {self.number}"

    def text(self, column: str) -> str:
        """Return the cell without surrounding spaces; empty if the table has no such column."""
        index = self.table.index.get(column)
        return "" if index is None else self.cells[index].strip()

    def known_text(self, column: str) -> str:
        """Return the cell as `text` does; empty if it holds a word that means unknown."""
        text = self.text(column)
        return "" if is_unknown(text) else text

    def patient(self, column: str) -> str | None:
        """Return the canonical patient id in the cell; None if it is unknown.

        Raises:
            WrongInputError: a spreadsheet has shortened the id.
        """
        try:
            return canonical_patient_id(self.text(column))
        except WrongInputError as error:
            raise WrongInputError(f"{self.where}, column {column!r}: {error}") from None

    def label(self, name: str, column: str) -> int | None:
        """Return the cell as a value of label `name`.

        Raises:
            WrongInputError: the cell is not a whole number in the label's range.
        """
        try:
            return parse_value(name, self.text(column))
        except WrongInputError as error:
            raise WrongInputError(f"{self.where}, column {column!r}: {error}") from None

    def choice(self, column: str, values: dict[str, int | None]) -> int | None:
        """Return the value of the cell's text in `values`; a word that means unknown is null unless it is among them.

        Raises:
            WrongInputError: the text is not among `values`. `None` is refused, too, if `values` has `none` as a text.
        """
        text = self.text(column)
        whole = text.removesuffix(".0")  # spreadsheets write whole numbers beside empty cells as 1.0
        for key in (text, whole):
            if key in values:
                return values[key]
        if is_unknown(text) and text.lower() not in map(str.lower, values):
            return None
        raise WrongInputError(
            f"{self.where}, column {column!r}: {text!r} is not a known value; expected one of {', '.join(values)}"
        )


@dataclass(frozen=True)
class CsvTable:
    """A CSV file with a header. `rows` streams it, so a million rows need no memory."""

    path: Place
    delimiter: str
    index: dict[str, int]
    """Column name, without surrounding spaces, to its position."""
    num_cells: int
    used: set[str] = field(default_factory=set)
    """Columns that the layout reads."""

    @classmethod
    def open(cls, path: Place, *required: str, delimiter: str = ",") -> "CsvTable":
        """Read the header.

        Raises:
            WrongInputError: the file does not exist, is not UTF-8, has no header, has a column twice, or lacks a
                `required` column.
        """
        header = next(_records(path, delimiter), None)
        if header is None:
            raise WrongInputError(f"{path}: the file is empty; expected a header row")
        index: dict[str, int] = {}
        for position, cell in enumerate(header):
            name = unicodedata.normalize("NFC", cell.strip().strip("\ufeff"))
            if name in index:
                raise WrongInputError(f"{path}: the header has the column {name!r} twice; rename or remove one")
            if name:
                index[name] = position
        if not index:
            raise WrongInputError(f"{path}: the first row is blank; expected a header row")
        table = cls(path, delimiter, index, len(header))
        for column in required:
            table.require(column)
        return table

    def has(self, column: str) -> bool:
        """Return whether there is a column `column`; if so, the layout reads it."""
        if column not in self.index:
            return False
        self.used.add(column)
        return True

    @property
    def unused_columns(self) -> tuple[str, ...]:
        """Columns that the layout does not read, in the order of the header."""
        return tuple(column for column in self.index if column not in self.used)

    def require(self, column: str) -> None:
        """Refuse a table without `column`, which the layout reads.

        Raises:
            WrongInputError: the column is missing; the message names the nearest one.
        """
        if self.has(column):
            return
        if any(column in re.split("[;\t]", name) for name in self.index):
            remedy = f"save the file with {self.delimiter!r} between cells"
        else:
            close = [near_name(column, self.index), *difflib.get_close_matches(column, self.index, n=1, cutoff=0.5)]
            near = next(filter(None, close), None)
            remedy = f"did you mean {near!r}?" if near else f"its columns are {', '.join(self.index)}"
        raise WrongInputError(f"{self.path}: no column {column!r}; {remedy}")

    def rows(self) -> Iterator[TableRow]:
        """Yield the data rows in file order.

        Raises:
            WrongInputError: the file is not UTF-8, its quoting is broken, a row and the header differ in length, or
                there is no row.
        """
        is_empty = True
        for number, cells in enumerate(_records(self.path, self.delimiter), start=1):
            if number == 1 or not any(cell.strip() for cell in cells):
                continue
            if len(cells) < self.num_cells or any(cell.strip() for cell in cells[self.num_cells :]):
                raise WrongInputError(
                    f"{self.path} row {number}: {len(cells)} cells, but the header has {self.num_cells}; "
                    f"put cells that contain {self.delimiter!r} in double quotes, and complete truncated rows"
                )
            is_empty = False
            yield TableRow(self, number, cells)
        if is_empty:
            raise WrongInputError(f"{self.path}: the table has a header, but no row; export it again")


def _records(path: Place, delimiter: str) -> Iterator[list[str]]:
    """Yield lists of cells; a byte order mark is dropped, any line ending is read."""
    number = 0
    try:
        with io.TextIOWrapper(path.open("rb"), encoding="utf-8-sig", newline="") as file:
            for cells in csv.reader(file, delimiter=delimiter, strict=True):
                number += 1
                yield cells
    except UnicodeDecodeError:
        raise WrongInputError(_encoding_message(path)) from None
    except csv.Error as error:
        raise WrongInputError(f"{path} row {number + 1}: not readable as CSV ({error}); correct the row") from None
    except FileNotFoundError:
        raise WrongInputError(f"{path}: no such file; check the path and the name of the CSV file") from None
    except OSError as error:
        raise WrongInputError(
            f"{path}: cannot be read ({error.strerror}); correct the path or its permissions"
        ) from None


def _encoding_message(path: Place) -> str:
    data = path.read_bytes()
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return f"{path} line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as 'CSV UTF-8'"
    return f"{path}: changed while it was read; run the command again"

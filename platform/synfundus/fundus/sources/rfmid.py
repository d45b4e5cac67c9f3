"""RFMiD (Pachade et al., Data 2021, 6, 14): 45 findings per photograph, each 0 or 1."""

from typing import Literal

from synfundus.config import Config
from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import SourceListing, graded
from synfundus.fundus.sources.csv_table import CsvTable, TableRow
from synfundus.fundus.sources.image_folder import ImageFolder, existing_folder, find_files
from synfundus.fundus.sources.matching import Matching
from synfundus.fundus.sources.place import Place
from synfundus.labels import DISEASES

SPLIT_FILES = {
    "train": ("RFMiD_Training_Labels.csv", "a", "Training"),
    "validation": ("RFMiD_Validation_Labels.csv", "b", "Validation"),
    "test": ("RFMiD_Testing_Labels.csv", "c", "Testing"),
}
"""Split to its table, its letter at IEEE DataPort and its name there. Each split numbers its images from 1."""
FLAG: dict[str, int | None] = {"0": 0, "1": 1}

YES: dict[str, tuple[str, ...]] = {
    "is_amd": ("ARMD",),
    "is_aon": ("ODP", "ODE", "AION", "ODPM", "TD"),
    "is_crp": ("CSR", "CRS", "PTCR", "CF"),
    "is_em": ("ERM",),
    "is_rvo": ("BRVO", "CRVO"),
}
"""Label to findings; any of them sets it to 1."""
PERHAPS: dict[str, tuple[str, ...]] = {
    "dr_grade": ("DR",),
    "is_aon": ("ODC", "CB", "ST", "MNF"),
    "is_crp": ("CB", "MS", "RPEC", "RS", "RP", "HPED"),
    "is_dm": ("MYA",),
    "is_pm": ("MYA",),
}
"""Label to findings that leave it unknown if no finding in `YES` is present: they have no grade, or a wider meaning."""
USED = tuple(dict.fromkeys(column for columns in (*YES.values(), *PERHAPS.values()) for column in columns))


class RfmidSource(Config):
    """RFMiD, as unpacked from RIADD or Kaggle (`Training_Set/`) or from IEEE DataPort (`1. Original Images/`)."""

    layout: Literal["rfmid"]
    """RFMiD."""
    path: str
    """Folder of the unpacked dataset, with one or more of the sets training, validation and testing."""
    keep_splits: bool = False
    """Keep the splits of the dataset; otherwise the study makes its own."""

    def listing(self) -> SourceListing:
        """Match rows and images of every set.

        Raises:
            WrongInputError: no set exists, a folder or column is missing, there is no image, or a cell is not 0 or 1.
        """
        root = existing_folder(self.path)
        matching = Matching()
        tables = {split: path for split in SPLIT_FILES if (path := _table_of(root, split)) is not None}
        if not tables:
            raise WrongInputError(
                f"{root}: none of {', '.join(table for table, _, _ in SPLIT_FILES.values())} in it;"
                " `path` names the unpacked dataset"
            )
        for split, path in tables.items():
            table = CsvTable.open(path, "ID", "Disease_Risk", *USED)
            images = ImageFolder(_folder_of(root, path, split), root)
            keep = split if self.keep_splits else None
            for row in table.rows():
                matching.add(images, row, row.text("ID"), _labels_of(row), split=keep)
            matching.rest(images, split=keep)
        return matching.listing()


def _labels_of(row: TableRow) -> dict[str, int | None]:
    """Return all labels of one row; a photograph without any finding has no disease."""
    found = {column: row.choice(column, FLAG) for column in ("Disease_Risk", *USED)}
    if set(found.values()) == {0}:
        return graded(**dict.fromkeys(DISEASES, 0))
    return graded(**{name: _judge(found, name) for name in dict.fromkeys((*YES, *PERHAPS))})


def _judge(found: dict[str, int | None], name: str) -> int | None:
    yes = [found[column] for column in YES.get(name, ())]
    perhaps = [found[column] for column in PERHAPS.get(name, ())]
    if 1 in yes:
        return 1
    return 0 if all(value == 0 for value in (*yes, *perhaps)) else None


def _table_of(root: Place, split: str) -> Place | None:
    name, letter, _ = SPLIT_FILES[split]
    tables = find_files(root, name) + find_files(root, f"{letter}. {name}")
    if len(tables) > 1:
        raise WrongInputError(f"{root}: more than one {name} ({tables[0]}, {tables[1]}); name the folder of one")
    return tables[0] if tables else None


def _folder_of(root: Place, table: Place, split: str) -> Place:
    _, letter, name = SPLIT_FILES[split]
    beside = table.parent / {"Testing": "Test"}.get(name, name)
    if beside.is_dir():
        return beside
    dataport = table.parent.parent / "1. Original Images" / f"{letter}. {name} Set"
    if dataport.is_dir() and root in dataport.parents:
        return dataport
    raise WrongInputError(f"{table}: no images of this table; put them into {beside} or {dataport}")

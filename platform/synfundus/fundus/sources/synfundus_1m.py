"""The SynFundus-1M release (arXiv 2312.00377): an annotation CSV keyed by `file_name`, and images."""

from typing import Literal

from synfundus.config import Config
from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import SourceListing
from synfundus.fundus.sources.csv_table import CsvTable
from synfundus.fundus.sources.image_folder import ImageFolder, existing_folder
from synfundus.fundus.sources.matching import Matching
from synfundus.fundus.sources.near_names import near_name
from synfundus.labels import LABEL_NAMES


class SynFundus1MSource(Config):
    """SynFundus-1M, or an export in its layout."""

    layout: Literal["synfundus-1m"]
    """SynFundus-1M."""
    path: str
    """Folder that holds the annotation CSV and, below it, the images."""
    csv: str
    """Annotation CSV below `path`; columns other than `file_name` and the labels are ignored."""
    images: str = "."
    """Folder of the images below `path`; the suffix (.png, .jpg) may differ from the table's."""

    def listing(self) -> SourceListing:
        """Match rows and images.

        Raises:
            WrongInputError: folder, CSV, `file_name` or every label column is missing, a column looks like a missing
                label, there is no image, no row finds one, or a value is out of range.
        """
        root = existing_folder(self.path)
        table = CsvTable.open(root / self.csv, "file_name")
        names = [name for name in LABEL_NAMES if table.has(name)]
        for column in table.unused_columns:
            if (name := near_name(column, set(LABEL_NAMES) - set(names))) is not None:
                raise WrongInputError(f"{table.path}: column {column!r} looks like the label {name}; rename it")
        if not names:
            raise WrongInputError(
                f"{table.path}: no label column; name the annotation CSV, with columns such as {', '.join(LABEL_NAMES)}"
            )
        images = ImageFolder(root / self.images, root)
        matching = Matching()
        for row in table.rows():
            matching.add(images, row, row.text("file_name"), {name: row.label(name, name) for name in names})
        matching.rest(images)
        return matching.listing({name: name for name in names})

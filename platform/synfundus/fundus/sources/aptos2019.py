"""APTOS 2019 Blindness Detection (Kaggle): DR grades of single photographs."""

from typing import Literal

from synfundus.config import Config
from synfundus.fundus.sources.base import SourceListing, graded
from synfundus.fundus.sources.csv_table import CsvTable
from synfundus.fundus.sources.image_folder import ImageFolder, existing_folder
from synfundus.fundus.sources.matching import Matching


class Aptos2019Source(Config):
    """APTOS 2019: `train.csv`, `train_images/<id_code>.png`."""

    layout: Literal["aptos2019"]
    """APTOS 2019."""
    path: str
    """Folder of the unpacked dataset."""

    def listing(self) -> SourceListing:
        """Match rows and images.

        Raises:
            WrongInputError: a file, folder or column is missing, there is no image, or a grade is out of range.
        """
        root = existing_folder(self.path)
        table = CsvTable.open(root / "train.csv", "id_code", "diagnosis")
        images = ImageFolder(root / "train_images", root)
        matching = Matching()
        for row in table.rows():
            matching.add(images, row, row.text("id_code"), graded(dr_grade=row.label("dr_grade", "diagnosis")))
        matching.rest(images)
        return matching.listing()

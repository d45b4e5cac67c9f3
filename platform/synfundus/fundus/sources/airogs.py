"""AIROGS / Rotterdam EyePACS (de Vente et al., IEEE TMI 2024): referable glaucoma, yes or no."""

from typing import Literal

from synfundus.config import Config
from synfundus.fundus.sources.base import SourceListing, graded
from synfundus.fundus.sources.csv_table import CsvTable
from synfundus.fundus.sources.image_folder import ImageFolder, existing_folder
from synfundus.fundus.sources.matching import Matching

GLAUCOMA: dict[str, int | None] = {"RG": 1, "NRG": 0}
"""Class to value of `is_gc`: referable glaucoma and no referable glaucoma. Only gradable photographs are published."""


class AirogsSource(Config):
    """AIROGS training set: `train_labels.csv` and the folders `0` to `5`, or their content in one folder."""

    layout: Literal["airogs"]
    """AIROGS."""
    path: str
    """Folder that holds the table and, below it, the images."""

    def listing(self) -> SourceListing:
        """Match rows and images.

        Raises:
            WrongInputError: the table or a column is missing, there is no image, or a class is neither RG nor NRG.
        """
        root = existing_folder(self.path)
        table = CsvTable.open(root / "train_labels.csv", "challenge_id", "class")
        images = ImageFolder(root, root)
        matching = Matching()
        for row in table.rows():
            matching.add(images, row, row.text("challenge_id"), graded(is_gc=row.choice("class", GLAUCOMA)))
        matching.rest(images)
        return matching.listing()

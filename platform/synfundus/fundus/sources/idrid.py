"""IDRiD, disease grading (Porwal et al., Data 2018, 3, 25): DR grade and risk of macular edema."""

from typing import Literal

from synfundus.config import Config
from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import SourceListing, graded
from synfundus.fundus.sources.csv_table import CsvTable
from synfundus.fundus.sources.image_folder import ImageFolder, existing_folder, find_file
from synfundus.fundus.sources.matching import Matching

FOLDERS = {
    "a. IDRiD_Disease Grading_Training Labels.csv": "a. Training Set",
    "b. IDRiD_Disease Grading_Testing Labels.csv": "b. Testing Set",
}
"""Table in `2. Groundtruths` to folder in `1. Original Images`. Both folders number their images from IDRiD_001."""
MACULAR_EDEMA: dict[str, int | None] = {"0": 0, "1": None, "2": 1}
"""Risk to value of `is_dme`: 0 no exudates; 2 exudates within one disc diameter of the fovea; 1 exudates further out,
which is neither yes nor no."""


class IdridSource(Config):
    """IDRiD, disease grading."""

    layout: Literal["idrid"]
    """IDRiD."""
    path: str
    """Folder `B. Disease Grading`, or one above it."""

    def listing(self) -> SourceListing:
        """Match rows and images of the training and the testing set.

        Raises:
            WrongInputError: a file, folder or column is missing, there is no image, or a value is out of range.
        """
        root = existing_folder(self.path)
        matching = Matching()
        for name, folder in FOLDERS.items():
            table = CsvTable.open(
                find_file(root, name), "Image name", "Retinopathy grade", "Risk of macular edema"
            )  # the last header of the files ends with a space, which reading removes
            grading = table.path.parent.parent
            if grading != root and root not in grading.parents:
                raise WrongInputError(f"{root}: `path` must lie above the folder '2. Groundtruths'")
            images = ImageFolder(grading / "1. Original Images" / folder, root)
            for row in table.rows():
                labels = graded(
                    dr_grade=row.label("dr_grade", "Retinopathy grade"),
                    is_dme=row.choice("Risk of macular edema", MACULAR_EDEMA),
                )
                matching.add(images, row, row.text("Image name"), labels)
            matching.rest(images)
        return matching.listing()

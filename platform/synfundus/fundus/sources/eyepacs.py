"""EyePACS, Kaggle's Diabetic Retinopathy Detection: DR grades of both eyes; file names hold patient and side."""

import re
from pathlib import PureWindowsPath
from typing import Literal

from synfundus.config import Config
from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import SourceListing, graded
from synfundus.fundus.sources.csv_table import CsvTable
from synfundus.fundus.sources.image_folder import ImageFolder, existing_folder
from synfundus.fundus.sources.matching import FromName, Matching
from synfundus.fundus.sources.patient_ids import patient_of

NAME = re.compile(r"(?P<patient>\d+)_(?P<side>left|right)", re.IGNORECASE)


class EyePacsSource(Config):
    """EyePACS: `trainLabels.csv`, `train/<patient>_<side>.jpeg`."""

    layout: Literal["eyepacs"]
    """EyePACS."""
    path: str
    """Folder of the unpacked dataset."""

    def listing(self) -> SourceListing:
        """Match rows and images.

        Raises:
            WrongInputError: a file, folder or column is missing, there is no image, a grade is out of range, or a
                name has another form.
        """
        root = existing_folder(self.path)
        table = CsvTable.open(root / "trainLabels.csv", "image", "level")
        images = ImageFolder(root / "train", root)
        matching = Matching()
        for row in table.rows():
            named = from_name(row.text("image"))
            if named.patient_id is None:
                raise WrongInputError(
                    f"{row.where}: {row.text('image')!r} is not of the form 10_left or 10_right; correct the cell"
                )
            labels = graded(dr_grade=row.label("dr_grade", "level"), **named.labels)
            matching.add(images, row, row.text("image"), labels, named.patient_id)
        matching.rest(images, from_name)
        return matching.listing()


def from_name(name: str) -> FromName:
    """Return patient and side of `10_left` or `10_left.jpeg`, with or without folders; nothing for any other name."""
    match = NAME.match(PureWindowsPath(name).name)  # takes both slashes
    if match is None:
        return FromName({}, None)
    return FromName({"eye_side": int(match["side"].lower() == "left")}, patient_of("eyepacs", match["patient"]))

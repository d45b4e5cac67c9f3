"""Messidor-2 (ADCIS, LaTIM) with the adjudicated grades of Krause et al. 2018 (`google-brain/messidor2-dr-grades`)."""

from pathlib import PurePosixPath
from typing import Literal

from synfundus.config import Config
from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import SourceListing, graded
from synfundus.fundus.sources.csv_table import CsvTable
from synfundus.fundus.sources.image_folder import ImageFolder, child_folder, existing_folder
from synfundus.fundus.sources.matching import FromName, Matching
from synfundus.fundus.sources.place import Place

PAIRS = "messidor-2.csv"
"""Table that comes with the images: the two images of each examination, `left;right`."""


class Messidor2Source(Config):
    """Messidor-2: `messidor_data.csv`, `IMAGES/`, and `messidor-2.csv` for the pairs, if it exists."""

    layout: Literal["messidor2"]
    """Messidor-2."""
    path: str
    """Folder that holds the folder of the images and both tables."""

    def listing(self) -> SourceListing:
        """Match rows and images.

        Raises:
            WrongInputError: a file, folder or column is missing, there is no image, or a value is out of range.
        """
        root = existing_folder(self.path)
        table = CsvTable.open(
            root / "messidor_data.csv", "image_id", "adjudicated_dr_grade", "adjudicated_dme", "adjudicated_gradable"
        )
        images = ImageFolder(child_folder(root, "IMAGES"), root)
        patients = _patients(root / PAIRS, images)
        matching = Matching()
        for row in table.rows():
            image = row.text("image_id")
            labels = graded()
            if row.choice("adjudicated_gradable", {"0": 0, "1": 1}) != 0:
                labels = graded(
                    dr_grade=row.label("dr_grade", "adjudicated_dr_grade"),
                    is_dme=row.label("is_dme", "adjudicated_dme"),
                )
            found = images.find(image, row.where) if image else None
            matching.add(images, row, image, labels, patients.get(found or image))
        matching.rest(images, lambda name: FromName({}, patients.get(name)))
        return matching.listing()


def _patients(path: Place, images: ImageFolder) -> dict[str, str]:
    """Return image -> patient: each examination is a patient. Empty without the table of pairs."""
    if not path.is_file():
        return {}
    patients: dict[str, str] = {}
    for row in CsvTable.open(path, "left", "right", delimiter=";").rows():
        eyes = [eye for eye in (row.text("left"), row.text("right")) if eye]
        for eye in eyes:
            patient = f"messidor2:{PurePosixPath(eyes[0]).stem}"
            if patients.setdefault(images.find(eye, row.where) or eye, patient) != patient:
                raise WrongInputError(f"{row.where}: {eye!r} is in an earlier pair too; keep one of them")
    return patients

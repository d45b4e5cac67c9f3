"""Messidor-2 (ADCIS, LaTIM) with the adjudicated grades of Krause et al. 2018 (`google-brain/messidor2-dr-grades`)."""

from collections.abc import Sequence
from pathlib import PureWindowsPath
from typing import Literal

from synfundus.config import Config
from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import SourceListing, graded
from synfundus.fundus.sources.csv_table import CsvTable, TableRow
from synfundus.fundus.sources.image_folder import ImageFolder, child_folder, existing_folder
from synfundus.fundus.sources.matching import FromName, Matching
from synfundus.fundus.sources.patient_ids import patient_of
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
        pairs = _pairs(root / PAIRS)
        patients = _patients(pairs, images)
        matching = Matching()
        graded_images: set[str] = set()
        for row in table.rows():
            image = row.text("image_id")
            graded_images.add(_stem(image))
            labels = graded()
            if row.choice("adjudicated_gradable", {"0": 0, "1": 1}) != 0:
                labels = graded(
                    dr_grade=row.label("dr_grade", "adjudicated_dr_grade"),
                    is_dme=row.label("is_dme", "adjudicated_dme"),
                )
            found = images.find(image, row.where) if image else None
            matching.add(images, row, image, labels, patients.get(found or image))
        for pair in pairs:
            for eye in _eyes(pair):
                if images.find(eye, pair.where) is None and _stem(eye) not in graded_images:
                    matching.report_missing(pair, eye)
        matching.rest(images, lambda name: FromName({}, patients.get(name)))
        return matching.listing()


def _pairs(path: Place) -> list[TableRow]:
    """Return the rows of the table of pairs, none without the table."""
    return list(CsvTable.open(path, "left", "right", delimiter=";").rows()) if path.is_file() else []


def _eyes(pair: TableRow) -> list[str]:
    return [eye for eye in (pair.known_text("left"), pair.known_text("right")) if eye]


def _stem(image: str) -> str:
    """Return a name in the form that both tables have in common: they differ in suffix and case."""
    return PureWindowsPath(image).stem.casefold()


def _patients(pairs: Sequence[TableRow], images: ImageFolder) -> dict[str, str | None]:
    """Return image -> patient: each examination is a patient.

    Raises:
        WrongInputError: no pair finds an image, so all patients would be lost, or an image is in two pairs.
    """
    patients: dict[str, str | None] = {}
    for row in pairs:
        eyes = _eyes(row)
        for eye in eyes:
            patient = patient_of("messidor2", PureWindowsPath(eyes[0]).stem)
            if patients.setdefault(images.find(eye, row.where) or eye, patient) != patient:
                raise WrongInputError(f"{row.where}: {eye!r} is in an earlier pair too; keep one of them")
    if pairs and patients.keys().isdisjoint(images.names):
        raise WrongInputError(
            f"{pairs[0].table.path}: none of its rows finds an image, such as {images.names[0]!r}; correct the names,"
            " or remove the table if the patients are not known"
        )
    return patients

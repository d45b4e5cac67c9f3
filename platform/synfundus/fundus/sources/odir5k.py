"""ODIR-5K (Peking University, 2019): both eyes of a patient, each with a doctor's diagnostic keywords.

The flags N, D, G, C, A, H, M, O describe the patient, not an eye, so they are not used. A keyword names a finding that
is present. A disease that no keyword names is unknown, except with `normal fundus`, which sets every disease to 0.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from synfundus.config import Config
from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import SourceListing, graded
from synfundus.fundus.sources.csv_table import CsvTable, TableRow
from synfundus.fundus.sources.eyepacs import NAME as IMAGE_NAME
from synfundus.fundus.sources.image_folder import ImageFolder, existing_folder
from synfundus.fundus.sources.matching import FromName, Matching
from synfundus.fundus.sources.patient_ids import patient_of
from synfundus.labels import DISEASES

SIDES = {"Left": 1, "Right": 0}
SEPARATORS = re.compile("[,\uff0c]")
"""ASCII and full-width comma; both occur."""
NORMAL = "normal fundus"
NOT_A_FUNDUS = frozenset(("no fundus image", "anterior segment image"))
DISC_INVISIBLE = "optic disk photographically invisible"
NO_FINDING = frozenset((NORMAL, DISC_INVISIBLE, "lens dust", "low image quality", "image offset"))
"""Keywords that may stand beside `normal fundus`: they describe the image, not the eye."""
DR_GRADES: Mapping[str, int] = MappingProxyType(
    {
        "mild nonproliferative retinopathy": 1,
        "moderate non proliferative retinopathy": 2,
        "severe nonproliferative retinopathy": 3,
        "proliferative diabetic retinopathy": 4,
        "severe proliferative diabetic retinopathy": 4,
    }
)
DISEASE_OF: Mapping[str, str] = MappingProxyType(
    {
        "age-related macular degeneration": "is_amd",
        "dry age-related macular degeneration": "is_amd",
        "wet age-related macular degeneration": "is_amd",
        "morning glory syndrome": "is_aon",
        "optic disc edema": "is_aon",
        "optic discitis": "is_aon",
        "optic nerve atrophy": "is_aon",
        "central serous chorioretinopathy": "is_crp",
        "chorioretinal atrophy": "is_crp",
        "chorioretinal atrophy with pigmentation proliferation": "is_crp",
        "diffuse chorioretinal atrophy": "is_crp",
        "old chorioretinopathy": "is_crp",
        "old choroiditis": "is_crp",
        "punctate inner choroidopathy": "is_crp",
        "epiretinal membrane": "is_em",
        "epiretinal membrane over the macula": "is_em",
        "macular epiretinal membrane": "is_em",
        "glaucoma": "is_gc",
        "hypertensive retinopathy": "is_htr",
        "myopia retinopathy": "is_pm",
        "myopic maculopathy": "is_pm",
        "myopic retinopathy": "is_pm",
        "pathological myopia": "is_pm",
        "branch retinal vein occlusion": "is_rvo",
        "central retinal vein occlusion": "is_rvo",
        "old branch retinal vein occlusion": "is_rvo",
        "old central retinal vein occlusion": "is_rvo",
    }
)
"""Keyword to the label that it sets to 1. A suspicion (`suspected …`), a diabetic retinopathy without grade, and any
keyword that is not listed set no label."""


class Eye(NamedTuple):
    """One eye of a row."""

    image: str
    side: str
    keywords: str


class Odir5kSource(Config):
    """ODIR-5K, from CSV: Kaggle's `full_df.csv`, or the annotation workbook saved as 'CSV UTF-8'."""

    layout: Literal["odir5k"]
    """ODIR-5K."""
    path: str
    """Folder of the unpacked dataset."""
    csv: str = "full_df.csv"
    """Table below `path`: one row per image (with a column `filename`) or one row per patient."""
    images: str = "preprocessed_images"
    """Folder of the images below `path`, such as `ODIR-5K/Training Images` for the originals."""

    def listing(self) -> SourceListing:
        """Match eyes and images.

        Raises:
            WrongInputError: a file, folder or column is missing, there is no image, or a row's file is of neither eye.
        """
        root = existing_folder(self.path)
        table = CsvTable.open(
            root / self.csv,
            "ID",
            "Left-Fundus",
            "Right-Fundus",
            "Left-Diagnostic Keywords",
            "Right-Diagnostic Keywords",
        )
        images = ImageFolder(root / self.images, root)
        matching = Matching()
        for row in table.rows():
            for eye in _eyes(row):
                labels = labels_from_keywords(eye.keywords) | {"eye_side": SIDES[eye.side]}
                patient = row.patient("ID")
                matching.add(images, row, eye.image, labels, None if patient is None else f"odir5k:{patient}")
        matching.rest(images, _from_name)
        return matching.listing()


def _eyes(row: TableRow) -> Iterator[Eye]:
    eyes = [
        Eye(row.known_text(f"{side}-Fundus"), side, row.known_text(f"{side}-Diagnostic Keywords")) for side in SIDES
    ]
    if not row.table.has("filename"):
        yield from (eye for eye in eyes if eye.image)
        return
    own = [eye for eye in eyes if eye.image == row.text("filename")]
    if len(own) != 1:
        raise WrongInputError(
            f"{row.where}, column 'filename': {row.text('filename')!r} is neither of the row's eyes,"
            f" {eyes[0].image!r} and {eyes[1].image!r}; correct the cell"
        )
    yield own[0]


def labels_from_keywords(keywords: str) -> dict[str, int | None]:
    """Return all labels of one eye except its side."""
    words = {" ".join(word.split()).lower() for word in SEPARATORS.split(keywords)} - {""}
    if words & NOT_A_FUNDUS:
        return graded(is_fundus=0)
    if not words:
        return graded()
    labels: dict[str, int | None] = {"is_fundus": 1}
    if NORMAL in words and words <= NO_FINDING:
        labels |= dict.fromkeys(DISEASES, 0)
    if DISC_INVISIBLE in words:
        labels |= {"is_optic_disc_readable": 0, "is_aon": None, "is_gc": None}
    labels |= {DISEASE_OF[word]: 1 for word in words if word in DISEASE_OF}
    if grades := [DR_GRADES[word] for word in words if word in DR_GRADES]:
        labels["dr_grade"] = max(grades)
    return graded(**labels)


def _from_name(name: str) -> FromName:
    match = IMAGE_NAME.search(name.rsplit("/", 1)[-1])
    if match is None:
        return FromName({}, None)
    return FromName({"eye_side": SIDES[match["side"].capitalize()]}, patient_of("odir5k", match["patient"]))

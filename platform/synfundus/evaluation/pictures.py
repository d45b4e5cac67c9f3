"""Pictures for the report: the first images that come with each finding. Nothing chooses them by their looks."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from synfundus.evaluation.strata import Labels
from synfundus.labels import DISEASES, LABEL_BY_NAME, LABEL_NAMES, NUM_DR_GRADES, READABILITY

Pixels = NDArray[np.uint8]
"""(H, W, 3)"""
PICTURES_A_SHEET = 8


def _findings() -> Iterator[tuple[str, str, int]]:
    """Title, label and value of each sheet."""
    yield "Right eye", "eye_side", 0
    yield "Left eye", "eye_side", 1
    for grade in range(NUM_DR_GRADES):
        yield f"Diabetic retinopathy grade {grade}", "dr_grade", grade
    for name in DISEASES:
        if name != "dr_grade":
            yield LABEL_BY_NAME[name].title, name, 1
    for name in READABILITY:
        title = LABEL_BY_NAME[name].title
        yield "Not a fundus photograph" if name == "is_fundus" else title.replace(" readable", " not readable"), name, 0


FINDINGS = tuple(_findings())


class Sheets:
    """Up to `PICTURES_A_SHEET` pictures of each finding."""

    def __init__(self) -> None:
        self.pictures: dict[str, list[Pixels]] = {title: [] for title, _, _ in FINDINGS}

    def add(self, labels_BK: Labels, images_BHWC: NDArray[np.uint8]) -> None:
        """Offer images; what is not a fundus stands in its own sheet only."""
        is_fundus_B = labels_BK[:, LABEL_NAMES.index("is_fundus")] != 0
        for title, name, value in FINDINGS:
            shown = self.pictures[title]
            wanted_B = (labels_BK[:, LABEL_NAMES.index(name)] == value) & (is_fundus_B | (name == "is_fundus"))
            for row in np.flatnonzero(wanted_B)[: PICTURES_A_SHEET - len(shown)]:
                shown.append(images_BHWC[row].copy())

    def filled(self) -> dict[str, list[Pixels]]:
        """The sheets that have a picture, in their order."""
        return {title: pictures for title, pictures in self.pictures.items() if pictures}

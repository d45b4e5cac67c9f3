"""Example images for the report: the first ones with each finding, in stored order."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from synfundus.evaluation.strata import Labels
from synfundus.labels import DISEASES, LABEL_BY_NAME, LABEL_NAMES, NUM_DR_GRADES, READABILITY

Pixels = NDArray[np.uint8]
"""(H, W, 3)"""
EXAMPLES_PER_FINDING = 8


def _findings() -> Iterator[tuple[str, str, int]]:
    """Yield title, label and value of each finding."""
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


class Examples:
    """Up to `EXAMPLES_PER_FINDING` images of each finding."""

    def __init__(self) -> None:
        self._images: dict[str, list[Pixels]] = {title: [] for title, _, _ in FINDINGS}

    def add(self, labels_BK: Labels, images_BHWC: NDArray[np.uint8]) -> None:
        """Keep the first images of each finding. An image labelled `is_fundus` 0 is an example of that alone."""
        is_fundus_B = labels_BK[:, LABEL_NAMES.index("is_fundus")] != 0
        for title, name, value in FINDINGS:
            examples = self._images[title]
            matches_B = (labels_BK[:, LABEL_NAMES.index(name)] == value) & (is_fundus_B | (name == "is_fundus"))
            for row in np.flatnonzero(matches_B)[: EXAMPLES_PER_FINDING - len(examples)]:
                examples.append(images_BHWC[row].copy())

    def by_finding(self) -> dict[str, list[Pixels]]:
        """Return the images by the title of their finding; findings without an image are omitted."""
        return {title: images for title, images in self._images.items() if images}

"""Hard label rows of the training split, from which the combinations of a plan are counted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from synfundus.fundus.batches import LabelBatch
from synfundus.labels import HEADS, LABEL_NAMES, apply_rules, grade_distribution
from synfundus.seeds import random_numbers

Values = tuple[int | None, ...]
"""One value per label, in the order of `LABEL_NAMES`; None is unknown."""


@dataclass(frozen=True)
class PatientLabels:
    """Labels of one training image."""

    patient: str
    values: Values


def draw_label_rows(batches: Iterable[LabelBatch], seed: int) -> Iterator[PatientLabels]:
    """Yield the labels of each training image: an expert's value, or one drawn from a filled probability.

    A value is drawn once for each image, by (seed, image id).
    """
    for batch in batches:
        for b, image_id in enumerate(batch.image_ids):
            uniforms = random_numbers("draw", seed, image_id).random(len(LABEL_NAMES))
            row: dict[str, int | None] = {}
            for k, name in enumerate(LABEL_NAMES):
                if not batch.known_BK[b, k]:
                    row[name] = None
                    continue
                p = batch.p_BV[b, HEADS[name]]
                edges = np.cumsum(grade_distribution(p[None])[0])[:-1] if k == 0 else 1 - p
                row[name] = int(np.searchsorted(edges, uniforms[k], side="right"))
            yield PatientLabels(batch.patients[b], tuple(apply_rules(row).values()))

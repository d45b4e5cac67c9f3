"""Hard label rows of the training split, from which the combinations of a plan are counted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from synfundus.fundus.batches import LabelBatch
from synfundus.labels import NUM_LABELS, decode_values, draw_labels
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

    Values are drawn once for each image (`labels.draw_labels`), by (seed, image id).
    """
    for batch in batches:
        uniforms = [random_numbers("draw", seed, image_id).random(NUM_LABELS) for image_id in batch.image_ids]
        uniform_BK = np.array(uniforms).reshape(-1, NUM_LABELS)
        rows = decode_values(*draw_labels(batch.p_BV, batch.known_BK, batch.expert_BK, uniform_BK))
        for patient, row in zip(batch.patients, rows, strict=True):
            yield PatientLabels(patient, tuple(row.values()))

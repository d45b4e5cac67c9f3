"""External test sets: datasets of other studies below the root, on which nothing is selected or calibrated."""

import numpy as np

from synfundus.diagnosis.annotator import Scorer
from synfundus.diagnosis.held_out import Predictions, join_predictions
from synfundus.diagnosis.measuring import predict_split
from synfundus.fundus.dataset import PreparedImages, read_labels
from synfundus.fundus.splits import SPLITS
from synfundus.transfer.results import ExternalSet


def patients_of(images: PreparedImages) -> list[str]:
    """Return the patient of each image, split by split in stored order."""
    batches = (batch for split in SPLITS for batch in read_labels(images.storage, images.folder, split))
    return [patient for batch in batches for patient in batch.patients]


def shared_patients(own: PreparedImages, other: PreparedImages) -> frozenset[str] | None:
    """Return the patients who are in both datasets; None if their hashes have different keys."""
    if own.manifest.patient_key != other.manifest.patient_key:
        return None
    return frozenset(patients_of(own)) & frozenset(patients_of(other))


def describe_external(name: str, own: PreparedImages, other: PreparedImages) -> ExternalSet:
    """Return how many images of an external dataset are predicted."""
    shared, patients = shared_patients(own, other), patients_of(other)
    num_excluded = sum(patient in (shared or ()) for patient in patients)
    return ExternalSet(
        name=name,
        num_images=len(patients) - num_excluded,
        num_excluded=num_excluded,
        patients_compared=shared is not None,
    )


def predict_external(scorer: Scorer, own: PreparedImages, other: PreparedImages) -> Predictions:
    """Predict all images of an external dataset whose patients are not in the study's own dataset."""
    shared = shared_patients(own, other) or frozenset()
    predictions = join_predictions([predict_split(scorer, other, split) for split in SPLITS])
    rows = [row for row, patient in enumerate(predictions.patients) if patient not in shared]
    return predictions.chosen(np.array(rows, np.int64))

"""The threshold of a copy detector, and what it finds and rejects."""

import math

import numpy as np
from numpy.typing import NDArray

from synfundus.copies.alterations import ALTERATIONS, altered_copy
from synfundus.copies.encoder import CopyEncoder
from synfundus.copies.manifest import CopyCalibration
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import FloatArray
from synfundus.measures.copies import CopyDetectorMetrics
from synfundus.measures.nearest import held_out_distances, nearest, reference_on
from synfundus.measures.statistics import proportion
from synfundus.seeds import random_numbers

MAX_ALTERED = 300
"""Training photographs that are altered in each way to measure the share of found copies."""


def calibrate(distance_M: NDArray[np.float64], false_rejection_rate: float) -> CopyCalibration:
    """Return the threshold from the distances of M photographs of other people to their nearest training photograph.

    The threshold is the k-th smallest distance, k = floor(rate (M + 1)), at least 1. A further photograph of another
    person lies below it with probability k / (M + 1), whatever the distribution of the distances (split conformal
    prediction, Vovk et al. 2005; Angelopoulos and Bates 2021, arXiv 2107.07511, appendix D). That assumes photographs
    that can be exchanged; several of one patient make the rate vary more.

    Raises:
        ValueError: there is no distance.
    """
    if not len(distance_M):
        raise ValueError("a threshold needs at least one distance")
    rank = max(1, math.floor(false_rejection_rate * (len(distance_M) + 1)))
    return CopyCalibration(
        threshold=float(np.sort(distance_M)[rank - 1]),
        false_rejection_rate=false_rejection_rate,
        expected_rate=rank / (len(distance_M) + 1),
        num_held_out=len(distance_M),
    )


def calibrate_on(
    descriptors: dict[str, FloatArray], false_rejection_rate: float, data_folder: str, device: str
) -> CopyCalibration:
    """Return the threshold from the validation photographs of a dataset.

    Raises:
        WrongInputError: the dataset has no training or no validation photographs.
    """
    for split in ("train", "validation"):
        if not len(descriptors[split]):
            raise WrongInputError(
                f"{data_folder}: no photographs in the split {split}, so no distance counts as too near;"
                " give it a share in data.prepare.split_fractions"
            )
    reference_ND = reference_on(descriptors["train"], device)
    return calibrate(held_out_distances(descriptors["validation"], reference_ND), false_rejection_rate)


def measure_detector(
    images: PreparedImages,
    encoder: CopyEncoder,
    descriptors: dict[str, FloatArray],
    calibration: CopyCalibration,
    seed: int,
) -> CopyDetectorMetrics:
    """Measure the share of altered training photographs that are found, and of test photographs that are rejected."""
    reference_ND, threshold = reference_on(descriptors["train"], encoder.device), calibration.threshold
    chosen = np.sort(random_numbers("altered", seed).permutation(images.num_images("train"))[:MAX_ALTERED])
    distances: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in ALTERATIONS}
    patients = list[str]()
    for batch in images.batches_of("train", chosen):
        for kind in ALTERATIONS:
            numbers = range(len(patients), len(patients) + len(batch))
            copies = [altered_copy(kind, image, n) for image, n in zip(batch.images_BHWC, numbers, strict=True)]
            distances[kind].append(nearest(encoder.descriptors(np.stack(copies)), reference_ND).distance)
        patients += batch.patients
    rejected_M = nearest(descriptors["test"], reference_ND).distance < threshold
    test_patients = images.labels("test", range(len(rejected_M))).patients
    return CopyDetectorMetrics(
        found={kind: proportion(np.concatenate(parts) < threshold, patients) for kind, parts in distances.items()},
        false_rejections=proportion(rejected_M, test_patients),
    )

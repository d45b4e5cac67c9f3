"""The threshold of a copy detector, and what it finds and rejects."""

import math

import numpy as np
from numpy.typing import NDArray

from synfundus.copies.alterations import ALTERATIONS, altered_copy
from synfundus.copies.encoder import CopyEncoder
from synfundus.copies.manifest import CopyCalibration
from synfundus.copies.reference import TrainingReference
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import FloatArray
from synfundus.measures.copies import CopyDetectorMetrics
from synfundus.measures.nearest import held_out_ratios, nearest
from synfundus.measures.statistics import proportion
from synfundus.seeds import random_numbers

MAX_ALTERED = 300
"""Training photographs that are altered in each way to measure the share of found copies."""


def calibrate(ratio_M: NDArray[np.float64], false_rejection_rate: float) -> CopyCalibration:
    """Return the threshold from the distance ratios of M photographs of other people to the training photographs.

    The threshold is the k-th smallest ratio, k = floor(rate (M + 1)), at least 1. A further photograph of another
    person lies below it with probability k / (M + 1), whatever the distribution of the ratios (split conformal
    prediction, Vovk et al. 2005; Angelopoulos and Bates 2021, arXiv 2107.07511, appendix D). That assumes photographs
    that can be exchanged; several of one patient make the rate vary more.

    Raises:
        ValueError: there is no ratio, or the threshold is 0 or not finite, so that no image lies below it.
    """
    if not len(ratio_M):
        raise ValueError("a threshold needs at least one distance ratio")
    rank = max(1, math.floor(false_rejection_rate * (len(ratio_M) + 1)))
    threshold = float(np.sort(ratio_M)[rank - 1])
    if not 0.0 < threshold < math.inf:
        raise ValueError(f"the threshold of the distance ratio would be {threshold:g}")
    return CopyCalibration(
        threshold=threshold,
        false_rejection_rate=false_rejection_rate,
        expected_rate=rank / (len(ratio_M) + 1),
        num_held_out=len(ratio_M),
    )


def calibrate_on(
    reference: TrainingReference, validation_MD: FloatArray, false_rejection_rate: float, data_folder: str, device: str
) -> CopyCalibration:
    """Return the threshold from the validation photographs of a dataset.

    Raises:
        WrongInputError: the dataset has no validation photographs or fewer than two training patients, or the encoder
            does not tell photographs apart.
    """
    for split, descriptors_ND in (("train", reference.descriptors_ND), ("validation", validation_MD)):
        if not len(descriptors_ND):
            raise WrongInputError(
                f"{data_folder}: no photographs in the split {split}, so no image counts as too near;"
                " give it a share in data.prepare.split_fractions"
            )
    if len(np.unique(reference.patient_N)) < 2:
        raise WrongInputError(
            f"{data_folder}: the split train shows one patient, so there is no distance ratio; add patients"
        )
    try:
        return calibrate(held_out_ratios(validation_MD, reference.on(device)), false_rejection_rate)
    except ValueError as error:
        raise WrongInputError(
            f"{data_folder}: {error}, so not even exact copies would be found; the encoder does not tell these"
            " photographs apart: train it longer (copy_detector.num_steps), or remove those of train from validation"
        ) from error


def measure_detector(
    images: PreparedImages,
    encoder: CopyEncoder,
    reference: TrainingReference,
    test_MD: FloatArray,
    calibration: CopyCalibration,
    seed: int,
) -> CopyDetectorMetrics:
    """Measure the share of altered training photographs that are found, and of test photographs that are rejected."""
    searched, threshold = reference.on(encoder.device), calibration.threshold
    chosen = np.sort(random_numbers("altered", seed).permutation(images.num_images("train"))[:MAX_ALTERED])
    ratios: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in ALTERATIONS}
    patients = list[str]()
    for batch in images.batches_of("train", chosen):
        for kind in ALTERATIONS:
            numbers = range(len(patients), len(patients) + len(batch))
            copies = [altered_copy(kind, image, n) for image, n in zip(batch.images_BHWC, numbers, strict=True)]
            ratios[kind].append(nearest(encoder.descriptors(np.stack(copies)), searched).ratio)
        patients += batch.patients
    rejected_M = nearest(test_MD, searched).ratio < threshold
    test_patients = images.labels("test", range(len(rejected_M))).patients
    return CopyDetectorMetrics(
        found={kind: proportion(np.concatenate(parts) < threshold, patients) for kind, parts in ratios.items()},
        false_rejections=proportion(rejected_M, test_patients),
    )

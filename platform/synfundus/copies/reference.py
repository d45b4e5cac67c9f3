"""The training photographs that images are compared with: copy descriptors and patients, stored with their detector."""

from dataclasses import dataclass

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray

from synfundus.copies.descriptors import read_descriptors
from synfundus.copies.manifest import PATIENTS, CopyDetectorManifest
from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import FloatArray
from synfundus.measures.nearest import Reference, reference_on
from synfundus.storage import Storage, read_manifest, read_trusted


@dataclass(frozen=True)
class TrainingReference:
    """The training photographs, in stored order."""

    descriptors_ND: FloatArray
    patient_N: NDArray[np.int64]
    """(N,) number of the patient."""

    def on(self, device: torch.device | str) -> Reference:
        """Return what `nearest` searches, on a device."""
        return reference_on(self.descriptors_ND, self.patient_N, device)


def training_patients(images: PreparedImages) -> NDArray[np.int64]:
    """Return the number of the patient of each training photograph, (N,), counted by first appearance.

    Numbers, unlike the patient hashes, do not depend on the key of a study.
    """
    patients = images.labels("train", range(images.num_images("train"))).patients
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(patients))}
    return np.array([numbers[patient] for patient in patients], np.int64)


def encode_patients(patient_N: NDArray[np.int64]) -> bytes:
    """Return the file of the patients' numbers."""
    return bytes(safetensors.numpy.save({"train": patient_N}))


def read_reference(storage: Storage, folder: str) -> TrainingReference:
    """Return the training photographs of a complete copy detector; no image is read.

    Raises:
        WrongInputError: the detector in `folder` is not complete.
        StorageError: a file is missing, or differs from the manifest.
    """
    manifest = read_manifest(storage, folder, CopyDetectorManifest)
    patients = safetensors.numpy.load(read_trusted(storage, folder, PATIENTS, manifest))
    return TrainingReference(read_descriptors(storage, folder)["train"], patients["train"])

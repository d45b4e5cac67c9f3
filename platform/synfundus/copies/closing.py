"""The completion of `copy_detectors/<name>/` once the encoder and all descriptors are written."""

from collections.abc import Sequence

import torch

from synfundus.copies.calibration import calibrate_on, measure_detector
from synfundus.copies.checkpoint import decode_encoder
from synfundus.copies.config import CopyDetectorConfig
from synfundus.copies.descriptors import join_descriptors
from synfundus.copies.encoder import CopyEncoder
from synfundus.copies.manifest import CALIBRATION, CONFIG, PATIENTS, WEIGHTS, CopyDetectorManifest, EncoderSpec
from synfundus.copies.reference import TrainingReference, encode_patients, training_patients
from synfundus.digests import sha256_hex
from synfundus.fundus.dataset import PreparedImages
from synfundus.storage import METRICS, Storage, Written, write_manifest


def read_encoder(storage: Storage, folder: str, device: torch.device | str) -> CopyEncoder:
    """Return the encoder of a detector that is not complete yet."""
    name = f"{folder}/{CONFIG}"
    spec = EncoderSpec.from_json(storage.read(name), name)
    return decode_encoder(spec, storage.read(f"{folder}/{WEIGHTS}"), device)


def close_detector(
    storage: Storage,
    images: PreparedImages,
    config: CopyDetectorConfig,
    folder: str,
    files: Sequence[Written],
    digest: str,
) -> CopyDetectorManifest:
    """Calibrate the detector, measure it, and write the manifest last.

    Args:
        files: the written files of descriptors.
        digest: digest of everything that the detector depends on.

    Raises:
        WrongInputError: the dataset has no validation photographs or fewer than two training patients, or the encoder
            does not tell photographs apart.
    """
    device = config.resources.device
    encoder = read_encoder(storage, folder, device)
    descriptors = join_descriptors([storage.read(file.name) for file in sorted(files, key=lambda file: file.name)])
    reference = TrainingReference(descriptors["train"], training_patients(images))
    rate = config.false_rejection_rate
    calibration = calibrate_on(reference, descriptors["validation"], rate, images.folder, device)
    metrics = measure_detector(images, encoder, reference, descriptors["test"], calibration, config.seed)
    patients = encode_patients(reference.patient_N)
    records = {CALIBRATION: calibration.to_json(), METRICS: metrics.to_json(), PATIENTS: patients}
    objects = [*files, *(storage.write_once(f"{folder}/{name}", data) for name, data in records.items())]
    for name in (CONFIG, WEIGHTS):
        data = storage.read(f"{folder}/{name}")
        objects.append(Written(f"{folder}/{name}", len(data), sha256_hex(data)))
    return write_manifest(storage, folder, objects, CopyDetectorManifest(digest=digest, data=images.folder))

"""The copy detector: the encoder with its threshold, as the stages that reject copies load it."""

import numpy as np
import torch
from numpy.typing import NDArray

from synfundus.copies.checkpoint import decode_encoder
from synfundus.copies.encoder import CopyEncoder
from synfundus.copies.gate import read_gate
from synfundus.copies.manifest import CONFIG, WEIGHTS, CopyCalibration, CopyDetectorManifest, EncoderSpec
from synfundus.labels import FloatArray
from synfundus.storage import Storage, read_manifest, read_record, read_trusted


class CopyDetector:
    """A calibrated encoder."""

    def __init__(self, encoder: CopyEncoder, calibration: CopyCalibration, digest: str) -> None:
        self.encoder, self.calibration, self.digest = encoder, calibration, digest

    @property
    def threshold(self) -> float:
        """Distance ratio below which an image counts as a copy."""
        return self.calibration.threshold

    def descriptors(self, images_BHWC: NDArray[np.uint8]) -> FloatArray:
        """Return copy descriptors, float32 (B, 128), of uint8 images of any size; see `CopyEncoder.descriptors`."""
        return self.encoder.descriptors(images_BHWC)


def load_copy_detector(storage: Storage, folder: str, device: torch.device | str = "cpu") -> CopyDetector:
    """Load a complete copy detector; each file is verified against the manifest.

    Raises:
        WrongInputError: the folder is not complete, or holds no copy detector.
        StorageError: a file differs from its manifest.
    """
    manifest = read_manifest(storage, folder, CopyDetectorManifest)
    spec = read_record(storage, folder, CONFIG, manifest, EncoderSpec)
    encoder = decode_encoder(spec, read_trusted(storage, folder, WEIGHTS, manifest), device)
    return CopyDetector(encoder, read_gate(storage, folder).calibration, manifest.detector_digest)

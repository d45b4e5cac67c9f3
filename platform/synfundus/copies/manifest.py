"""The manifest of a copy detector below `copy_detectors/<name>/`, and the records beside it."""

from typing import Literal

from synfundus.digests import digest_of
from synfundus.metadata import Metadata
from synfundus.storage import METRICS, Manifest

CONFIG, WEIGHTS, CALIBRATION = "config.json", "model.safetensors", "calibration.json"
PATIENTS = "patients.safetensors"
"""Number of the patient of each training photograph."""


class EncoderSpec(Metadata):
    """Content of `config.json`: everything that the shape of the encoder depends on."""

    version: Literal[1] = 1
    """Schema of this record."""
    image_size_px: int
    """Height and width to which images are resized."""
    width: int
    """Channels of the first level."""


class CopyCalibration(Metadata):
    """Content of `calibration.json`: the distance ratio below which an image counts as a copy."""

    version: Literal[1] = 1
    """Schema of this record."""
    threshold: float
    """Distance ratio (`measures.nearest.Nearest`) below which an image counts as a copy, in (0, 1]."""
    false_rejection_rate: float
    """Largest share of photographs of other people that may count as copies, as the study states it."""
    expected_rate: float
    """Share that is expected to count as copies; more than `false_rejection_rate` if there are too few photographs."""
    num_held_out: int
    """Validation photographs behind the threshold."""


class CopyDetectorManifest(Manifest):
    """Manifest of a copy detector."""

    kind: Literal["copy_detector"] = "copy_detector"
    data: str
    """Folder of the prepared images that it was trained on."""

    @property
    def detector_digest(self) -> str:
        """SHA-256 over encoder, threshold and descriptors: two detectors with one digest reject the same samples."""
        return digest_of({name: entry.sha256 for name, entry in self.files.items() if name != METRICS})

"""The records of a complete copy detector, without its weights; the import of this file loads no torch."""

from dataclasses import dataclass

from synfundus.copies.manifest import CALIBRATION, CopyCalibration, CopyDetectorManifest
from synfundus.measures.copies import CopyDetectorMetrics
from synfundus.storage import METRICS, Storage, read_manifest, read_record


@dataclass(frozen=True)
class CopyGate:
    """Records of a complete copy detector, without its weights."""

    calibration: CopyCalibration
    metrics: CopyDetectorMetrics


def read_gate(storage: Storage, folder: str) -> CopyGate:
    """Return the threshold of a complete copy detector, and what it finds and rejects.

    Raises:
        WrongInputError: the folder is not complete, or holds no copy detector.
        StorageError: a file differs from its manifest.
    """
    manifest = read_manifest(storage, folder, CopyDetectorManifest)
    calibration = read_record(storage, folder, CALIBRATION, manifest, CopyCalibration)
    return CopyGate(calibration, read_record(storage, folder, METRICS, manifest, CopyDetectorMetrics))

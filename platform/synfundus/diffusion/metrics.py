"""The generator's `metrics.json`."""

from typing import Literal

from synfundus.diffusion.manifest import GeneratorManifest
from synfundus.metadata import Metadata
from synfundus.storage import METRICS, Storage, read_manifest, read_record
from synfundus.training.metadata import HeldOutLoss, MemorisationPoint, StepMetrics


class GeneratorMetrics(Metadata):
    """`metrics.json` of a generator."""

    version: Literal[1] = 1
    """Schema of this record."""
    num_parameters: int
    """Parameters of the U-Net."""
    losses: tuple[StepMetrics, ...]
    """Loss curve of the training."""
    held_out_losses: tuple[HeldOutLoss, ...] = ()
    """Loss on validation images at each checkpoint; empty if the dataset has no validation images."""
    memorisation: tuple[MemorisationPoint, ...] = ()
    """Distance ratios of samples to the training images at each checkpoint; empty without a search."""


def read_generator_metrics(storage: Storage, folder: str) -> GeneratorMetrics:
    """Return the metrics of the complete generator in `folder`.

    Raises:
        WrongInputError: the folder is not complete or holds no generator.
        StorageError: the file differs from its manifest.
    """
    manifest = read_manifest(storage, folder, GeneratorManifest)
    return read_record(storage, folder, METRICS, manifest, GeneratorMetrics)

"""The description of all photographs by a trained encoder, on a pool of Ray workers.

The import of this file loads torch.
"""

import torch

from synfundus.copies.closing import close_detector, read_encoder
from synfundus.copies.config import CopyDetectorConfig
from synfundus.copies.descriptors import write_descriptors
from synfundus.distributed.map import run_on_pool
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.manifest import DataManifest
from synfundus.progress import Progress
from synfundus.resources import PoolResources
from synfundus.storage import Storage, Written, read_manifest


class Describer:
    """A worker of the pool: describes one shard after the other."""

    def __init__(self, storage: Storage, data_folder: str, folder: str, resources: PoolResources) -> None:
        """Load the encoder."""
        torch.set_num_threads(resources.num_threads)
        self.storage, self.data_folder, self.folder = storage, data_folder, folder
        self.encoder = read_encoder(storage, folder, resources.device)

    def __call__(self, shard: str) -> Written:
        """Write the descriptors of the images in `shard`."""
        return write_descriptors(self.storage, self.data_folder, shard, self.encoder, self.folder)


def _close(
    files: list[Written], storage: Storage, config: CopyDetectorConfig, data_folder: str, folder: str, digest: str
) -> None:
    """Calibrate, measure and complete the detector."""
    torch.set_num_threads(config.resources.num_threads)
    close_detector(storage, PreparedImages(storage, data_folder), config, folder, files, digest)


def describe_and_close(
    storage: Storage, config: CopyDetectorConfig, data_folder: str, folder: str, digest: str, progress: Progress
) -> None:
    """Describe all photographs of `data_folder` on as many workers as trained, then complete the detector in `folder`.

    Args:
        digest: digest of everything that the detector depends on.

    Raises:
        WrongInputError: the dataset has no training or no validation photographs.
    """
    workers = config.resources
    resources = PoolResources(pool_size=workers.num_workers, num_threads=workers.num_threads, num_gpus=workers.num_gpus)
    shards = read_manifest(storage, data_folder, DataManifest).shards
    files: list[Written] = []
    for written in run_on_pool(Describer, (storage, data_folder, folder, resources), shards, resources):
        files.append(written)
        progress.update(config.num_steps, f"described {len(files)} of {len(shards)} shards")
    progress.update(config.num_steps, "measuring")
    for _ in run_on_pool(_close, (storage, config, data_folder, folder, digest), [files], resources):
        pass

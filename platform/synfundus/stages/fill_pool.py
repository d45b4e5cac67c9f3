"""The filling of a dataset over a pool of Ray workers. The import of this file loads torch."""

import torch

from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.diagnosis.config import OperatingPointsConfig
from synfundus.diagnosis.fill import FilledShard, close_filled, write_filled_shard
from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.distributed.map import run_on_pool
from synfundus.fundus.manifest import DataManifest
from synfundus.progress import Progress
from synfundus.resources import PoolResources
from synfundus.storage import Storage, read_manifest


class Filler:
    """A worker of the pool: fills one shard after the other."""

    def __init__(
        self,
        storage: Storage,
        source_folder: str,
        target_folder: str,
        annotator_folder: str,
        operating_points: OperatingPointsConfig,
        resources: PoolResources,
    ) -> None:
        """Load the annotator."""
        torch.set_num_threads(resources.num_threads)
        self.storage, self.source_folder, self.target_folder = storage, source_folder, target_folder
        device = resources.device
        self.annotator = load_annotator(storage, annotator_folder, device, operating_points)

    def __call__(self, file: str) -> FilledShard:
        """Write the filled shard `file`."""
        return write_filled_shard(self.storage, self.source_folder, file, self.annotator, self.target_folder)


def fill_on_pool(
    storage: Storage,
    source_folder: str,
    annotator_folder: str,
    target_folder: str,
    operating_points: OperatingPointsConfig,
    resources: PoolResources,
    digest: str,
    progress: Progress,
) -> DataManifest:
    """Fill all shards of `source_folder` into `target_folder` on a pool of workers; return the new manifest.

    Args:
        digest: digest of everything that the new dataset depends on.
    """
    files = read_manifest(storage, source_folder, DataManifest).shards
    arguments = (storage, source_folder, target_folder, annotator_folder, operating_points, resources)
    shards: list[FilledShard] = []
    for shard in run_on_pool(Filler, arguments, files, resources):
        shards.append(shard)
        progress.update(len(shards))
    annotator = read_manifest(storage, annotator_folder, AnnotatorManifest)
    return close_filled(storage, source_folder, annotator.annotator_digest, target_folder, shards, digest)

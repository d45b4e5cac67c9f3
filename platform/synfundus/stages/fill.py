"""`fill` over Ray Data: shards of a dataset in parallel, an annotator an actor."""

from typing import Any

import torch

from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.diagnosis.fill import FilledShard, close_filled, shards_to_fill, write_filled_shard
from synfundus.distributed.map import run_on_pool
from synfundus.progress import Progress
from synfundus.storage import Storage

NUM_THREADS = 1


class Filler:
    """Fills a shard of the dataset `source` into `target`; `files` are its shards."""

    def __init__(
        self, storage: Storage, source: str, target: str, annotator: str, files: list[str], use_gpu: bool
    ) -> None:
        torch.set_num_threads(NUM_THREADS)
        self.storage, self.source, self.target, self.files = storage, source, target, files
        self.annotator = load_annotator(storage, annotator, torch.device("cuda" if use_gpu else "cpu"))

    def __call__(self, position: int) -> FilledShard:
        """What was written of the shard at a position in `files`."""
        return write_filled_shard(self.storage, self.source, self.files[position], self.annotator, self.target)


def fill(
    storage: Storage,
    source: str,
    annotator: str,
    target: str,
    digest: str,
    pool_size: int,
    progress: Progress,
    *,
    use_gpu: bool = False,
) -> dict[str, Any]:
    """Fill the dataset `source` into `target` with the annotator in folder `annotator`.

    Args:
        digest: of everything that the new dataset depends on, kept in its manifest.
        use_gpu: one GPU an actor.

    Returns:
        The manifest of the new dataset.
    """
    files = shards_to_fill(storage, source)
    shards: list[FilledShard] = []
    arguments = (storage, source, target, annotator, files, use_gpu)
    for shard in run_on_pool(Filler, arguments, len(files), pool_size, gpu=use_gpu):
        shards.append(shard)
        progress.update(len(shards))
    annotator_digest = load_annotator(storage, annotator).digest
    return close_filled(storage, source, annotator_digest, target, shards, digest)

"""`fill` over Ray Data: shards of a dataset in parallel, an annotator an actor."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.diagnosis.fill import FilledShard, close_filled, shards_to_fill, write_filled_shard
from synfundus.distributed import failures
from synfundus.errors import SynfundusError
from synfundus.progress import Progress
from synfundus.storage import Storage, Written

NUM_THREADS = 1


class _Filler:
    """One actor."""

    def __init__(self, storage: Storage, source: str, target: str, annotator: str, files: list[str]) -> None:
        torch.set_num_threads(NUM_THREADS)
        self.storage, self.source, self.target, self.files = storage, source, target, files
        self.failure = failures.NONE
        try:
            self.annotator = load_annotator(storage, annotator)
        except SynfundusError as error:
            self.failure = failures.pack(error)

    def __call__(self, batch: dict[str, NDArray[np.int64]]) -> dict[str, Any]:
        """`id` is a position in `files`; returns what was written, or why nothing was."""
        failure = self.failure
        if not failure:
            try:
                return self._fill(self.files[int(batch["id"][0])])
            except SynfundusError as error:
                failure = failures.pack(error)
        return _row(Written("", 0, ""), [], failure)

    def _fill(self, file: str) -> dict[str, Any]:
        shard = write_filled_shard(self.storage, self.source, file, self.annotator, self.target)
        counts = [(name, source, n) for name, by_source in shard.counts.items() for source, n in by_source.items()]
        return _row(shard.written, counts, failures.NONE)


def _row(written: Written, counts: Sequence[tuple[str, str, int]], failure: bytes) -> dict[str, Any]:
    """A block of one row."""
    return {
        "name": [written.name],
        "size_bytes": [written.size_bytes],
        "sha256": [written.sha256],
        "labels": [[c[0] for c in counts]],
        "sources": [[c[1] for c in counts]],
        "counts": [[c[2] for c in counts]],
        failures.COLUMN: [failure],
    }


def fill(
    storage: Storage, source: str, annotator: str, target: str, pool_size: int, progress: Progress
) -> dict[str, Any]:
    """Fill the dataset `source` into `target` with the annotator in folder `annotator`.

    Returns:
        The manifest of the new dataset.
    """
    import ray
    from ray.data import ActorPoolStrategy

    files = shards_to_fill(storage, source)
    rows = ray.data.range(len(files), override_num_blocks=len(files)).map_batches(
        _Filler,
        batch_size=1,
        fn_constructor_args=(storage, source, target, annotator, files),
        compute=ActorPoolStrategy(size=min(pool_size, len(files))),
        num_cpus=1,
    )
    shards: list[FilledShard] = []
    for row in rows.iter_rows():
        failures.raise_packed(row[failures.COLUMN])
        counts: dict[str, dict[str, int]] = {}
        for name, from_source, n in zip(row["labels"], row["sources"], row["counts"], strict=True):
            counts.setdefault(str(name), {})[str(from_source)] = int(n)
        shards.append(FilledShard(Written(row["name"], int(row["size_bytes"]), row["sha256"]), counts))
        progress.update(len(shards))
    digest = load_annotator(storage, annotator).digest
    return close_filled(storage, source, digest, target, shards)

"""Work of sampling, divided into shards, and the record that each finished shard leaves.

A shard whose record exists is finished. So a killed worker, a second run and a full disk repeat at most one shard per
worker (docs/decisions/0003-shard-records.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from synfundus.digests import sha256_hex
from synfundus.metadata import Metadata
from synfundus.samples.rejection import SampleRejection
from synfundus.samples.shards import attempt_folder, shard_name
from synfundus.storage import Storage, Written


@dataclass(frozen=True)
class ShardWork:
    """One shard to sample."""

    attempt: int
    shard: int
    sample_ids: Sequence[int]
    """A range at attempt 0, so that the work of a plan of a million samples stays small."""

    def name(self, folder: str) -> str:
        """Return the name of the shard's object."""
        return f"{folder}/{attempt_folder(self.attempt)}/{shard_name(self.shard)}.parquet"

    def record_name(self, folder: str) -> str:
        """Return the name of the shard's record.

        Records have folders of their own, because pandas and others read a folder of Parquet files as one table.
        """
        return f"{folder}/records/{attempt_folder(self.attempt)}/{shard_name(self.shard)}.json"


class ShardRecord(Metadata):
    """Record of a finished shard, written after the shard itself."""

    version: Literal[1] = 1
    """Schema of this record."""
    num_rows: int
    """Rows of the shard, rejected ones too."""
    size_bytes: int
    sha256: str
    rejected: tuple[SampleRejection, ...]


@dataclass(frozen=True)
class FinishedShard:
    """A finished shard as its record describes it."""

    objects: tuple[Written, Written]
    """The shard and its record."""
    rejected: tuple[SampleRejection, ...]


def divide(attempt: int, sample_ids: Sequence[int], shard_rows: int) -> list[ShardWork]:
    """Return the shards of an attempt, `shard_rows` samples each; the last one may be shorter."""
    return [
        ShardWork(attempt, shard, sample_ids[start : start + shard_rows])
        for shard, start in enumerate(range(0, len(sample_ids), shard_rows))
    ]


def read_finished(storage: Storage, folder: str, work: ShardWork) -> FinishedShard:
    """Return what the record of a finished shard says."""
    name = work.record_name(folder)
    data = storage.read(name)
    record = ShardRecord.from_json(data, name)
    shard = Written(work.name(folder), record.size_bytes, record.sha256)
    return FinishedShard((shard, Written(name, len(data), sha256_hex(data))), record.rejected)

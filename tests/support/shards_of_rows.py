"""Shards and index of rows that a test makes."""

from collections.abc import Mapping, Sequence
from typing import Any

from synfundus.fundus.index import index_shard, write_index
from synfundus.fundus.shard import encode_table
from synfundus.storage import Storage, Written


def write_shards(
    storage: Storage, folder: str, rows: Sequence[Mapping[str, Any]], rows_per_shard: int = 64
) -> list[Written]:
    """Write rows in `fundus.shard.SCHEMA` as `prepare` does, and return the objects for the manifest."""
    objects: list[Written] = []
    records = {}
    for number, start in enumerate(range(0, len(rows), rows_per_shard)):
        name = f"{folder}/images-{number:05d}.parquet"
        shard = encode_table(rows[start : start + rows_per_shard])
        objects.append(storage.write_once(name, shard))
        records[name] = index_shard(shard)
    return [*objects, write_index(storage, folder, records)]

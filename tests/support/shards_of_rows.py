"""Shards, copy descriptors and index of rows that a test makes."""

from collections.abc import Mapping, Sequence
from typing import Any

from synfundus.fundus.descriptors import write_with_descriptors
from synfundus.fundus.index import index_shard, write_index
from synfundus.fundus.shard import encode_table
from synfundus.storage import Storage, Written


def write_shards(
    storage: Storage,
    folder: str,
    rows: Sequence[Mapping[str, Any]],
    rows_per_shard: int = 64,
    *,
    descriptors: bool = True,
) -> list[Written]:
    """Write rows in `fundus.shard.SCHEMA` as `prepare` does, and return the objects for the manifest.

    Args:
        descriptors: False for rows whose images cannot be decoded.
    """
    objects: list[Written] = []
    records = {}
    for number, start in enumerate(range(0, len(rows), rows_per_shard)):
        name = f"{folder}/images-{number:05d}.parquet"
        shard = encode_table(rows[start : start + rows_per_shard])
        objects += write_with_descriptors(storage, name, shard) if descriptors else [storage.write_once(name, shard)]
        records[name] = index_shard(shard)
    return [*objects, write_index(storage, folder, records)]

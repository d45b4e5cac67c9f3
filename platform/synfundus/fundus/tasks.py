"""Independent pieces of work of `prepare`: what a worker does with one item. No function here uses Ray.

Each function takes an item, which is small, and values that all items share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.fundus.chunks import Chunks
from synfundus.fundus.codes import CODE_WORDS, Codes, candidates
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.index import Records, index_shard
from synfundus.fundus.likeness import Likeness, Pattern, compare_patterns, pattern
from synfundus.fundus.preprocess import Rejected
from synfundus.fundus.sources import SourceRecord
from synfundus.fundus.staging import FinalRow, finish_chunk, load_and_prepare, read_codes, stage_records
from synfundus.storage import Storage, Written

PAIRS_PER_COMPARISON = 32
Pair = tuple[int, int]
"""Indices of two images, the smaller first."""


@dataclass(frozen=True)
class ChunkOfOriginals:
    """Item of pass 1."""

    staged_name: str
    """Staged table to write."""
    records: Sequence[SourceRecord]


def stage_chunk(item: ChunkOfOriginals, storage: Storage, config: PrepareConfig) -> int:
    """Write the staged table of a chunk; return its number of originals."""
    storage.replace(item.staged_name, stage_records(item.records, config))
    return len(item.records)


@dataclass(frozen=True)
class StagedChunk:
    """Item of the search for candidates."""

    staged_name: str
    start: int
    """Index of the chunk's first record."""


@dataclass(frozen=True)
class AcceptedCodes:
    """First code of every image that is not rejected so far."""

    indices_N: NDArray[np.int64]
    codes_NW: Codes


def accepted_codes(chunks: Chunks, accepted: Sequence[int]) -> AcceptedCodes:
    """Return the first codes of the accepted images, out of the staged tables. Memory: 40 bytes per image."""
    indices: list[int] = []
    first = [np.zeros((0, CODE_WORDS), np.uint64)]
    allowed = set(accepted)
    for chunk in range(len(chunks)):
        with chunks.storage.open_input(chunks.staged_name(chunk)) as file:
            positions, codes_NVW = read_codes(file)
        start = chunks.span(chunk).start
        rows = [row for row, position in enumerate(positions) if start + position in allowed]
        indices += [start + positions[row] for row in rows]
        first.append(codes_NVW[rows, 0])
    return AcceptedCodes(np.array(indices, np.int64), np.ascontiguousarray(np.concatenate(first)))


def propose_pairs(item: StagedChunk, storage: Storage, known: AcceptedCodes) -> list[Pair]:
    """Return the candidate pairs of a chunk's accepted images with any accepted images."""
    with storage.open_input(item.staged_name) as file:
        positions, codes_QVW = read_codes(file)
    indices_Q = np.array(positions, np.int64) + item.start
    accepted_Q = np.isin(indices_Q, known.indices_N)
    found = candidates(codes_QVW[accepted_Q], known.codes_NW)
    pairs = np.sort(np.stack([indices_Q[accepted_Q][found[:, 0]], known.indices_N[found[:, 1]]], axis=1), axis=1)
    return [(int(i), int(j)) for i, j in pairs if i != j]


@dataclass(frozen=True)
class PairsToCompare:
    """Item of the comparison."""

    pairs: Sequence[Pair]
    records: Mapping[int, SourceRecord]
    """Record of each index in `pairs`."""


def pairs_to_compare(pairs: Sequence[Pair], records: Sequence[SourceRecord]) -> list[PairsToCompare]:
    """Return items of at most `PAIRS_PER_COMPARISON` pairs."""
    items = []
    for start in range(0, len(pairs), PAIRS_PER_COMPARISON):
        some = pairs[start : start + PAIRS_PER_COMPARISON]
        items.append(PairsToCompare(some, {i: records[i] for pair in some for i in pair}))
    return items


def compare_pairs(item: PairsToCompare, config: PrepareConfig) -> list[tuple[Pair, Likeness]]:
    """Read the originals of some pairs again and compare them registered. An unreadable original matches no other.

    Consecutive pairs with the same first image share it, so at most two images are in memory.
    """
    first: tuple[int, Pattern | None] | None = None
    likenesses = []
    for i, j in item.pairs:
        if first is None or first[0] != i:
            first = (i, _pattern(item.records[i], config))
        one, other = first[1], _pattern(item.records[j], config)
        likeness = Likeness(0.0, np.inf) if one is None or other is None else compare_patterns(one, other)
        likenesses.append(((i, j), likeness))
    return likenesses


def _pattern(record: SourceRecord, config: PrepareConfig) -> Pattern | None:
    _, result = load_and_prepare(record, config)
    return None if isinstance(result, Rejected) else pattern(result.twin_HW)


@dataclass(frozen=True)
class ChunkToFinish:
    """Item of pass 2."""

    staged_name: str
    shard_name: str
    """Shard to write."""
    rows: Sequence[FinalRow | None]


def chunks_to_finish(chunks: Chunks, folder: str, rows: Sequence[FinalRow | None]) -> list[ChunkToFinish]:
    """Return an item for every chunk with an accepted image."""
    items = []
    for chunk in range(len(chunks)):
        in_chunk = [rows[i] for i in chunks.span(chunk)]
        if any(row is not None for row in in_chunk):
            shard_name = f"{folder}/images-{chunk:05d}.parquet"
            items.append(ChunkToFinish(chunks.staged_name(chunk), shard_name, in_chunk))
    return items


@dataclass(frozen=True)
class WrittenShard:
    """Result of pass 2."""

    written: Written
    """Name, size and digest of the shard."""
    records: Records
    """Records of its images in the index."""


def write_shard(item: ChunkToFinish, storage: Storage) -> WrittenShard:
    """Write the shard of a chunk."""
    with storage.open_input(item.staged_name) as file:
        shard = finish_chunk(file, item.rows)
    return WrittenShard(storage.write_once(item.shard_name, shard), index_shard(shard))

"""The two passes over a chunk of originals, and the small table between them.

Pass 1 reads, prepares and codes each original of a chunk: `stage_records`. Then it is known which images are copies.
Pass 2 makes the chunk's final rows from what pass 1 kept: `finish_chunk`. A chunk is a run of records in the order of
their names; it becomes one shard, so that neither order nor content depends on who worked on it.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.duplicates import CODE_BITS, VIEWS, Codes, Likeness, Pattern, codes, compare, pattern
from synfundus.fundus.preprocess import Prepared, Rejected, encode_png, image_id, prepare_by
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.shard import encode_table
from synfundus.fundus.sources import SourceRecord
from synfundus.labels import LABEL_NAMES, LabelRow
from synfundus.storage.parquet import open_parquet

STAGED_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("field_px", pa.int32()),
        ("pixels", pa.string()),
        ("codes", pa.binary()),
        ("png", pa.binary()),
    ]
)
"""`png` is the prepared image, or a thumbnail of a rejected one that was decoded; `pixels` a digest of the former."""
FACTS = ("image_id", "reason", "detail", "field_px", "pixels")


@dataclass(frozen=True, slots=True)
class Staged:
    """What pass 1 found out about one original."""

    image_id: str | None
    """None where its bytes could not be read."""
    reason: ImageRejectionReason | None
    """Why it was rejected; None: it was prepared."""
    detail: str
    field_px: int
    pixels: str | None
    """Digest of the prepared pixels."""


@dataclass(frozen=True, slots=True)
class FinalRow:
    """What pass 2 adds to a prepared image."""

    patient: str
    """Keyed hash."""
    split: str
    labels: LabelRow


def load_and_prepare(record: SourceRecord, config: PrepareConfig) -> tuple[str | None, Prepared | Rejected]:
    """Image id and result of one original; a file that went away or may not be read is `unreadable`."""
    try:
        data = record.load()
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        return None, Rejected(ImageRejectionReason.UNREADABLE, error.strerror or type(error).__name__)
    return image_id(data), prepare_by(config, data, is_fundus=record.labels.get("is_fundus") != 0)


def stage_records(records: Sequence[SourceRecord], config: PrepareConfig) -> bytes:
    """Pass 1 over one chunk, as Parquet bytes. Memory: one original and the prepared images of the chunk."""
    rows: list[dict[str, object]] = []
    for record in records:
        identity, result = load_and_prepare(record, config)
        row: dict[str, object] = {"image_id": identity}
        if isinstance(result, Rejected):
            thumbnail = None if result.thumbnail is None else encode_png(result.thumbnail)
            row |= {"reason": result.reason.value, "detail": result.detail, "field_px": 0, "png": thumbnail}
        else:
            # Vessels tell copies from look-alikes; of what has none by its label, only exact copies are told.
            code = codes(result.twin_HW) if record.labels.get("is_fundus") != 0 else None
            row |= {
                "detail": "",
                "field_px": result.field_px,
                "pixels": hashlib.blake2b(result.pixels_HWC.tobytes(), digest_size=16).hexdigest(),
                "codes": None if code is None else code.tobytes(),
                "png": encode_png(result.pixels_HWC),
            }
        rows.append(row)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=STAGED_SCHEMA), sink, compression="none")
    return sink.getvalue()


def read_facts(file: pa.NativeFile) -> list[Staged]:
    """What pass 1 found out about a chunk, without pixels and codes."""
    rows = open_parquet(file).read(columns=list(FACTS)).to_pylist()
    return [
        Staged(
            row["image_id"],
            None if row["reason"] is None else ImageRejectionReason(row["reason"]),
            row["detail"],
            row["field_px"],
            row["pixels"],
        )
        for row in rows
    ]


def read_codes(file: pa.NativeFile) -> tuple[list[int], Codes]:
    """Places in the chunk of images that have codes, and those, (n, 14, 4)."""
    column = open_parquet(file).read(columns=["codes"]).column("codes").to_pylist()
    places = [place for place, data in enumerate(column) if data is not None]
    flat = np.frombuffer(b"".join(column[place] for place in places), np.uint64)
    return places, flat.reshape(len(places), len(VIEWS), CODE_BITS // 64)


def read_pictures(file: pa.NativeFile, places: Sequence[int]) -> list[bytes | None]:
    """PNG bytes at some places of a chunk; None where nothing could be decoded."""
    column = open_parquet(file).read(columns=["png"]).column("png")
    return [column[place].as_py() for place in places]


def finish_chunk(file: pa.NativeFile, final: Sequence[FinalRow | None]) -> bytes:
    """Pass 2 over one chunk: the Parquet bytes of its shard, whose rows are the images that stay."""
    staged = open_parquet(file).read(columns=["image_id", "png"]).to_pylist()
    rows = []
    for found, row in zip(staged, final, strict=True):
        if row is None:
            continue
        values: dict[str, object] = {
            "image_id": found["image_id"],
            "image": {"bytes": found["png"], "path": None},
            "patient": row.patient,
            "split": row.split,
        }
        for name in LABEL_NAMES:
            value = row.labels.get(name)
            source = "unknown" if value is None else "expert"
            values |= {name: value, f"source_{name}": source, f"filled_{name}": None}
        rows.append(values)
    return encode_table(rows)


def compare_records(
    pairs: Sequence[tuple[int, int]], records: Mapping[int, SourceRecord], config: PrepareConfig
) -> list[Likeness]:
    """Read the originals of some pairs again and compare them registered; what cannot be read any more is unlike.

    Pairs that follow each other share their first image where they can; no more than two are in memory.
    """
    first: tuple[int, Pattern | None] | None = None
    likenesses = []
    for i, j in pairs:
        if first is None or first[0] != i:
            first = (i, _pattern(records[i], config))
        one, other = first[1], _pattern(records[j], config)
        likenesses.append(Likeness(0.0, np.inf) if one is None or other is None else compare(one, other))
    return likenesses


def _pattern(record: SourceRecord, config: PrepareConfig) -> Pattern | None:
    _, result = load_and_prepare(record, config)
    return None if isinstance(result, Rejected) else pattern(result.twin_HW)

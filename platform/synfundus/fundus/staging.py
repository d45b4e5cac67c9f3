"""The staged table of a chunk of originals: written by pass 1 of `prepare`, read by everything after it.

Pass 1 reads, prepares and codes each original of a chunk (`stage_records`). Then copies are found. Pass 2 makes the
chunk's shard from the staged table (`finish_chunk`). A chunk is a run of records sorted by name and becomes one shard,
so neither order nor content depends on the worker.
"""

import errno
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synfundus.errors import StorageError
from synfundus.fundus.codes import CODE_WORDS, VIEWS, Codes, codes
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.png import encode_png
from synfundus.fundus.preprocess import Prepared, Rejected, image_id, prepare_by
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
"""`png` is the prepared image, or a thumbnail of a rejected one that was decoded. `pixels` digests prepared pixels."""
PERMANENT = frozenset(
    (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV)
)
"""Errors that belong to the file: it was removed, may not be read, is a folder, a link to itself or a device."""
OUTCOME_COLUMNS = ("image_id", "reason", "detail", "field_px", "pixels")


@dataclass(frozen=True, slots=True)
class Staged:
    """Outcome of pass 1 for one original."""

    image_id: str | None
    """None if its bytes could not be read."""
    reason: ImageRejectionReason | None
    """Reason for rejecting it; None if it was prepared."""
    detail: str
    field_px: int
    pixels: str | None
    """Digest of the prepared pixels."""


@dataclass(frozen=True, slots=True)
class FinalRow:
    """Columns that pass 2 adds to a prepared image."""

    patient: str
    """Keyed hash."""
    split: str
    labels: LabelRow


def load_and_prepare(record: SourceRecord, config: PrepareConfig) -> tuple[str | None, Prepared | Rejected]:
    """Return image id and result of one original. A file that cannot be opened on any machine is `unreadable`.

    Raises:
        StorageError: this machine cannot read it now, though another try may succeed.
    """
    try:
        data = record.load()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in PERMANENT:
            return None, Rejected(ImageRejectionReason.UNREADABLE, reason)
        raise StorageError(f"{record.name}: cannot be read ({reason}); run the same command again") from error
    return image_id(data), prepare_by(config, data, is_fundus=record.labels.get("is_fundus") != 0)


def stage_records(records: Sequence[SourceRecord], config: PrepareConfig) -> bytes:
    """Return the staged table of a chunk as Parquet. Memory: one original and the prepared images of the chunk."""
    rows = [_staged_row(record, config) for record in records]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=STAGED_SCHEMA), sink, compression="none")
    return sink.getvalue()


def _staged_row(record: SourceRecord, config: PrepareConfig) -> dict[str, object]:
    """Return one row in `STAGED_SCHEMA`."""
    identity, result = load_and_prepare(record, config)
    if isinstance(result, Rejected):
        thumbnail = None if result.thumbnail is None else encode_png(result.thumbnail)
        reason, detail = result.reason.value, result.detail
        return {"image_id": identity, "reason": reason, "detail": detail, "field_px": 0, "png": thumbnail}
    # A code needs vessels, so of an image labelled `is_fundus` 0 only exact copies are found.
    code = codes(result.twin_HW) if record.labels.get("is_fundus") != 0 else None
    return {
        "image_id": identity,
        "detail": "",
        "field_px": result.field_px,
        "pixels": hashlib.blake2b(result.pixels_HWC.tobytes(), digest_size=16).hexdigest(),
        "codes": None if code is None else code.tobytes(),
        "png": encode_png(result.pixels_HWC),
    }


def read_outcomes(file: pa.NativeFile) -> list[Staged]:
    """Return the outcome of pass 1 for each original of a chunk, without pixels and codes."""
    rows = open_parquet(file).read(columns=list(OUTCOME_COLUMNS)).to_pylist()
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
    """Return the positions in the chunk of images that have codes, and the codes, (n, 14, 4)."""
    column = open_parquet(file).read(columns=["codes"]).column("codes").to_pylist()
    positions = [position for position, data in enumerate(column) if data is not None]
    flat = np.frombuffer(b"".join(column[position] for position in positions), np.uint64)
    return positions, flat.reshape(len(positions), len(VIEWS), CODE_WORDS)


def read_pngs(file: pa.NativeFile, positions: Sequence[int]) -> list[bytes | None]:
    """Return the PNG bytes at some positions of a chunk, None for an image that was not decoded."""
    column = open_parquet(file).read(columns=["png"]).column("png")
    return [column[position].as_py() for position in positions]


def finish_chunk(file: pa.NativeFile, final: Sequence[FinalRow | None]) -> bytes:
    """Return the Parquet bytes of a chunk's shard, whose rows are the accepted images.

    Args:
        file: staged table of the chunk.
        final: row of each image of the chunk, None for a rejected one.
    """
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

"""The index of a dataset, `index.npy`: a record for each image with its labels and the address of its encoded bytes.

A reader opens this one object instead of all shards, and reads single images at their addresses. The file is a
one-dimensional array of `RECORD` in NumPy's format, in stored order: shard by shard, row by row.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from synfundus.errors import StorageError
from synfundus.fundus.batches import LabelBatch
from synfundus.fundus.splits import SPLITS
from synfundus.labels import LABEL_NAMES, NUM_DR_GRADES, NUM_LABELS, expand_known, head_values
from synfundus.storage import Storage, Written
from synfundus.storage.parquet import open_parquet

INDEX: Final = "index.npy"
"""Name of the index, beside the manifest."""
ID_BYTES, PATIENT_BYTES = 16, 32
RECORD = np.dtype(
    [
        ("offset", "<i8"),
        ("size", "<i4"),
        ("shard", "<i4"),
        ("filled_grade", "<f4", (NUM_DR_GRADES,)),
        ("filled", "<f4", (NUM_LABELS - 1,)),
        ("label", "<i1", (NUM_LABELS,)),
        ("image_id", f"S{ID_BYTES}"),
        ("patient", f"S{PATIENT_BYTES}"),
        ("split", "<u1"),
    ]
)
"""`offset` and `size`: bytes of the image in its shard; `shard`: number of the shard, sorted by name; `label`: expert's
value, -1 if there is none; `filled_grade`, `filled`: filled probabilities, NaN if there are none; `split`: position in
`SPLITS`."""
_NEEDLE_BYTES = 64

Records = NDArray[np.void]


def index_shard(shard: bytes) -> Records:
    """Return the records (N,) of one shard, without its number.

    Args:
        shard: Parquet bytes, as `fundus.shard.encode_table` returns them.

    Raises:
        ValueError: an image is not in the shard as one run of bytes, or an id is too long.
    """
    grade, *flags = (f"filled_{name}" for name in LABEL_NAMES)
    columns = ["image_id", "image", "patient", "split", *LABEL_NAMES, grade, *flags]
    rows = open_parquet(shard).read(columns=columns, use_threads=False).to_pylist()
    records = np.zeros(len(rows), RECORD)
    records["offset"] = _offsets([row["image"]["bytes"] for row in rows], shard)
    records["size"] = [len(row["image"]["bytes"]) for row in rows]
    records["split"] = [SPLITS.index(row["split"]) for row in rows]
    for column, limit in (("image_id", ID_BYTES), ("patient", PATIENT_BYTES)):
        values = [row[column].encode() for row in rows]
        if any(len(value) > limit for value in values):
            raise ValueError(f"{column}: longer than {limit} bytes: {max(values, key=len)!r}")
        records[column] = values
    records["label"] = [[_or(row[name], -1) for name in LABEL_NAMES] for row in rows]
    records["filled"] = [[_or(row[flag], np.nan) for flag in flags] for row in rows]
    records["filled_grade"] = [_or(row[grade], [np.nan] * NUM_DR_GRADES) for row in rows]
    return records


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _offsets(images: Sequence[bytes], shard: bytes) -> list[int]:
    """Return where each of these images begins in a shard that holds them in this order, each behind its length."""
    offsets, position = [], 0
    for image in images:
        needle = len(image).to_bytes(4, "little") + image[:_NEEDLE_BYTES]
        while True:
            found = shard.find(needle, position)
            if found < 0:
                raise ValueError("an image is not in its shard as one run of bytes")
            position = found + 4
            if shard.startswith(image, position):
                break
        offsets.append(position)
        position += len(image)
    return offsets


def write_index(storage: Storage, folder: str, shards: Mapping[str, Records]) -> Written:
    """Write the index of a dataset.

    Args:
        shards: records of each shard, by its name. Memory: twice their bytes.
    """
    num_images = sum(map(len, shards.values()))
    sink = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(RECORD), "fortran_order": False, "shape": (num_images,)}
    np.lib.format.write_array_header_1_0(sink, header)
    for number, name in enumerate(sorted(shards)):
        records = shards[name].copy()
        records["shard"] = number
        sink.write(records.tobytes())
    return storage.write_once(f"{folder}/{INDEX}", sink.getvalue())


def open_index(path: Path, name: str) -> Records:
    """Return the records of an index, (N,), mapped into memory, where all processes of the machine share it.

    Args:
        name: name of the object, for messages.

    Raises:
        StorageError: the file is damaged or has another format.
    """
    try:
        records = np.load(path, mmap_mode="r", allow_pickle=False) if path.stat().st_size else None
    except (OSError, ValueError, EOFError) as error:
        raise StorageError(f"{name}: no index of a dataset ({error}); restore it or make its folder again") from error
    if records is None or records.dtype != RECORD or records.ndim != 1:
        raise StorageError(f"{name}: no index of a dataset of this version; restore it or make its folder again")
    return np.asarray(records)


def addresses(records_B: Records) -> Iterator[tuple[int, int, int]]:
    """Yield the number of the shard, and offset and size of the encoded image in it, of some records."""
    return zip(*(records_B[column].tolist() for column in ("shard", "offset", "size")), strict=True)


def decode_labels(records_B: Records) -> LabelBatch:
    """Return the labels of some records."""
    expert_BK = records_B["label"] >= 0
    # P(grade >= k) is the sum of the distribution from k on.
    at_least_B5 = records_B["filled_grade"][:, ::-1].cumsum(axis=1, dtype=np.float64)[:, ::-1]
    filled_BV = np.concatenate([at_least_B5[:, 1:], records_B["filled"]], axis=1)
    expert_BV = head_values(records_B["label"])
    p_BV = np.where(expand_known(expert_BK), expert_BV, np.nan_to_num(filled_BV)).astype(np.float32)
    known_BK = expert_BK | np.isfinite(np.concatenate([records_B["filled_grade"][:, :1], records_B["filled"]], axis=1))
    image_ids, patients = ([text.decode() for text in records_B[name].tolist()] for name in ("image_id", "patient"))
    return LabelBatch(p_BV, known_BK, expert_BK, image_ids, patients)

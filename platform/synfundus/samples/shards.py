"""Shards of samples: Parquet files with one row per sample, holding its image, its condition and its annotation.

Below `samples/<name>/`, attempt 0 of every sample lies in `shards/`, and later attempts at rejected ones lie in
`replacements/<attempt>/`. The record of each shard (`work.py`) lies at the same path below `records/`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import JsonValue

from synfundus.fundus.shard import IMAGE_TYPE, probability_type
from synfundus.labels import LABEL_NAMES, FloatArray, LabelRow, label_probabilities
from synfundus.samples.manifest import SamplesManifest
from synfundus.samples.verification import accepted_attempts, read_verification
from synfundus.storage import Storage, read_manifest, read_trusted
from synfundus.storage.parquet import encode_parquet, open_parquet


class ImageCell(TypedDict):
    """Value of the column `image`, as `datasets` reads it."""

    bytes: bytes
    path: str | None


Cell = int | float | list[float] | ImageCell | None
"""Value of any column."""


def _huggingface_metadata() -> dict[str, str]:
    """Return the schema metadata by which `datasets.load_dataset("parquet", …)` decodes `image`."""
    features = {column: _huggingface_feature(column) for column in _column_names()}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def _huggingface_feature(column: str) -> dict[str, JsonValue]:
    """Return the type of a column in the terms of `datasets`."""
    if column == "image":
        return {"_type": "Image"}
    if column in ("sample_id", "seed"):
        return {"dtype": "int64", "_type": "Value"}
    if not column.startswith("probability_"):
        return {"dtype": "int8", "_type": "Value"}
    number: dict[str, JsonValue] = {"dtype": "float32", "_type": "Value"}
    return {"feature": number, "_type": "List"} if column == "probability_dr_grade" else number


def _column_names() -> list[str]:
    kinds = ("condition", "annotation", "probability")
    return ["sample_id", "image", *(f"{kind}_{name}" for kind in kinds for name in LABEL_NAMES), "seed"]


def _column_type(column: str) -> pa.DataType:
    if column in ("sample_id", "seed"):
        return pa.int64()
    if column == "image":
        return IMAGE_TYPE
    kind, name = column.split("_", 1)
    return probability_type(name) if kind == "probability" else pa.int8()


SCHEMA = pa.schema([(column, _column_type(column)) for column in _column_names()], metadata=_huggingface_metadata())


def shard_name(shard: int) -> str:
    """Return the name of a shard's file, without its ending."""
    return f"shard-{shard:05d}"


def attempt_folder(attempt: int) -> str:
    """Return the folder of an attempt's shards, relative to `samples/<name>/`."""
    return "shards" if attempt == 0 else f"replacements/{attempt}"


def attempt_of(file: str) -> int:
    """Return the attempt of a shard from its name relative to `samples/<name>/`."""
    return 0 if file.startswith("shards/") else int(file.split("/")[1])


@dataclass(frozen=True)
class Sample:
    """One row of a shard."""

    sample_id: int
    image: bytes
    condition: LabelRow
    annotation: LabelRow
    p_V: FloatArray
    """(19,) calibrated head probabilities, NaN if the head is unusable."""
    seed: int

    def to_row(self) -> dict[str, Cell]:
        """Return the row of this sample in `SCHEMA`."""
        row: dict[str, Cell] = {"sample_id": self.sample_id, "image": {"bytes": self.image, "path": None}}
        for name, probability in label_probabilities(self.p_V).items():
            row[f"condition_{name}"] = self.condition.get(name)
            row[f"annotation_{name}"] = self.annotation.get(name)
            row[f"probability_{name}"] = probability
        row["seed"] = self.seed
        return row


def encode_shard(samples: Sequence[Sample]) -> bytes:
    """Return samples as one Parquet file; equal samples give equal bytes."""
    return encode_parquet(pa.Table.from_pylist([sample.to_row() for sample in samples], schema=SCHEMA))


def decode_shard(data: bytes) -> pa.Table:
    """Return the table of one shard."""
    return open_parquet(data).read(columns=SCHEMA.names).cast(SCHEMA)


def label_columns(table: pa.Table, kind: Literal["condition", "annotation"]) -> NDArray[np.int8]:
    """Return the label values of a table's rows, (N, 16); -1 if null."""
    columns = [table.column(f"{kind}_{name}").fill_null(-1).to_numpy() for name in LABEL_NAMES]
    return np.stack(columns, axis=1).astype(np.int8)


def read_shard(storage: Storage, folder: str, file: str) -> pa.Table:
    """Return the table of one shard of complete samples, its digest verified. It holds rejected rows, too."""
    return decode_shard(read_trusted(storage, folder, file, read_manifest(storage, folder, SamplesManifest)))


def read_samples(storage: Storage, folder: str) -> Iterator[tuple[str, pa.Table]]:
    """Yield the accepted rows of complete samples, one shard at a time, as (file, table).

    First come all shards of attempt 0, then those of later attempts.

    Raises:
        WrongInputError: sampling has not finished.
        StorageError: a file differs from the manifest.
    """
    manifest = read_manifest(storage, folder, SamplesManifest)
    attempts = accepted_attempts(read_verification(storage, folder, manifest))
    for file in sorted(manifest.shards, key=lambda name: (attempt_of(name) > 0, name)):
        attempt = attempt_of(file)
        table = decode_shard(read_trusted(storage, folder, file, manifest))
        accepted = [attempts.get(i, 0) == attempt for i in table.column("sample_id").to_pylist()]
        if any(accepted):
            yield file, table.filter(pa.array(accepted))

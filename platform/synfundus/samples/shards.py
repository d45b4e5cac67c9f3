"""A shard: one Parquet object, one row a sample, with its picture, what was asked and what the annotator saw.

Names below `samples/<name>/`: attempt 0 of every sample in `shards/`, later attempts of rejected ones in
`replacements/<attempt>/`; below `records/`, by the same path, a small JSON a shard with its hash and rejected rows.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from synfundus.fundus.shard import IMAGE_TYPE, probability_type
from synfundus.labels import HEADS, LABEL_NAMES, FloatArray, LabelRow, grade_distribution
from synfundus.measures.copies import Drawn
from synfundus.samples.verify import Reason
from synfundus.storage import Storage, read_manifest, read_trusted
from synfundus.storage.parquet import open_parquet

ImageFormat = Literal["png", "webp", "jpeg"]
ROW_GROUP_ROWS = 256
VERIFICATION = "verification.json"
EXIF_IMAGE_DESCRIPTION = 0x010E


def _huggingface_metadata() -> dict[str, str]:
    """What makes `datasets.load_dataset("parquet", …)` decode `image`; the other columns are inferred."""
    value = {"int64": {"dtype": "int64", "_type": "Value"}, "int8": {"dtype": "int8", "_type": "Value"}}
    number = {"dtype": "float32", "_type": "Value"}
    features: dict[str, Any] = {"sample_id": value["int64"], "image": {"_type": "Image"}, "seed": value["int64"]}
    for name in LABEL_NAMES:
        features[f"condition_{name}"] = features[f"annotation_{name}"] = value["int8"]
        features[f"probability_{name}"] = {"feature": number, "_type": "List"} if name == "dr_grade" else number
    return {"huggingface": json.dumps({"info": {"features": {f: features[f] for f in _column_names()}}})}


def _column_names() -> list[str]:
    parts = [f"{part}_{name}" for part in ("condition", "annotation", "probability") for name in LABEL_NAMES]
    return ["sample_id", "image", *parts, "seed"]


def _column_type(column: str) -> pa.DataType:
    if column in ("sample_id", "seed"):
        return pa.int64()
    if column == "image":
        return IMAGE_TYPE
    part, name = column.split("_", 1)
    return probability_type(name) if part == "probability" else pa.int8()


SCHEMA = pa.schema([(column, _column_type(column)) for column in _column_names()], metadata=_huggingface_metadata())


def shard_name(shard: int) -> str:
    return f"shard-{shard:05d}"


def attempt_folder(attempt: int) -> str:
    """Where the shards of an attempt lie, relative to `samples/<name>/`."""
    return "shards" if attempt == 0 else f"replacements/{attempt}"


def encode_image(pixels_HWC: NDArray[np.uint8], image_format: ImageFormat, *, seed: int, model: str) -> bytes:
    """One picture, marked as synthetic with its seed and the digest of the model, in text that travels with the file.

    PNG and WebP are lossless; JPEG has quality 95.
    """
    marks = {"Synthetic": "yes", "Software": "SynFundus", "Seed": str(seed), "Model": model}
    image, sink = Image.fromarray(pixels_HWC), io.BytesIO()
    if image_format == "png":
        info = PngInfo()
        for key, text in marks.items():
            info.add_text(key, text)
        image.save(sink, "PNG", pnginfo=info, compress_level=6)
        return sink.getvalue()
    exif = Image.Exif()
    exif[EXIF_IMAGE_DESCRIPTION] = "; ".join(f"{key}: {text}" for key, text in marks.items())
    options: dict[str, Any] = {"lossless": True} if image_format == "webp" else {"quality": 95, "subsampling": 0}
    image.save(sink, image_format.upper(), exif=exif, **options)
    return sink.getvalue()


@dataclass(frozen=True)
class Sample:
    """One row of a shard."""

    sample_id: int
    image: bytes
    condition: LabelRow
    annotation: LabelRow
    p_V: FloatArray
    """(19,) calibrated head probabilities, NaN where the head is unusable."""
    seed: int

    def to_row(self) -> dict[str, Any]:
        row: dict[str, Any] = {"sample_id": self.sample_id, "image": {"bytes": self.image, "path": None}}
        for k, name in enumerate(LABEL_NAMES):
            row[f"condition_{name}"] = self.condition.get(name)
            row[f"annotation_{name}"] = self.annotation.get(name)
            p = self.p_V[HEADS[name]]
            if np.isnan(p).any():
                row[f"probability_{name}"] = None
            else:
                row[f"probability_{name}"] = grade_distribution(p[None])[0].tolist() if k == 0 else float(p[0])
        row["seed"] = self.seed
        return row


def encode_shard(samples: Sequence[Sample]) -> bytes:
    """Samples as one Parquet file; the same samples give the same bytes."""
    return encode_rows([sample.to_row() for sample in samples])


def encode_rows(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows in `SCHEMA` as one Parquet file."""
    sink = io.BytesIO()
    # Pictures are compressed already; zstd pays for the columns beside them and costs little on the pictures.
    pq.write_table(
        pa.Table.from_pylist(list(rows), schema=SCHEMA), sink, row_group_size=ROW_GROUP_ROWS, compression="zstd"
    )
    return sink.getvalue()


def decode_shard(data: bytes) -> pa.Table:
    """The table of one shard."""
    return open_parquet(data).read(columns=SCHEMA.names).cast(SCHEMA)


def read_shard(storage: Storage, folder: str, file: str) -> pa.Table:
    """The table of one file of a complete `samples/<name>/`, its hash verified; rejected rows are in it, too."""
    return decode_shard(read_trusted(storage, folder, file, read_manifest(storage, folder)))


def accepted_attempts(verification: Mapping[str, Any]) -> dict[int, int]:
    """Attempt of each sample that was not accepted at attempt 0; -1 where no attempt was."""
    attempts = {int(sample_id): int(attempt) for sample_id, attempt in verification["accepted"]["attempt"]}
    return {**attempts, **dict.fromkeys(verification["unresolved"], -1)}


def _read_verification(storage: Storage, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_trusted(storage, folder, VERIFICATION, read_manifest(storage, folder)))
    return found


def count_accepted(storage: Storage, folder: str) -> int:
    """Number of accepted samples of a complete `samples/<name>/`; errors as in `read_samples`."""
    verification = _read_verification(storage, folder)
    return int(verification["num_samples"]) - len(verification["unresolved"])


def count_drawn(storage: Storage, folder: str) -> Drawn:
    """Pictures drawn for a complete `samples/<name>/`, and how many of them were too near; errors as above."""
    verification = _read_verification(storage, folder)
    reasons = [row["reason"] for row in verification["rejected"]]
    # Each rejected one was drawn anew, but for those that were out of attempts.
    num_again = len(reasons) - len(verification["unresolved"])
    return Drawn(int(verification["num_samples"]) + num_again, reasons.count(Reason.NEAR_TRAINING_IMAGE))


def read_samples(storage: Storage, folder: str) -> Iterator[tuple[str, pa.Table]]:
    """Accepted rows of a complete `samples/<name>/`, as (file name, table), a shard at a time.

    Replaced rows come from the files of their attempt, after all of attempt 0.

    Raises:
        WrongInputError: sampling has not finished.
        StorageError: a file differs from the manifest.
    """
    manifest = read_manifest(storage, folder)
    attempts = accepted_attempts(_read_verification(storage, folder))
    files = [file for file in manifest["files"] if file.endswith(".parquet")]
    for file in sorted(files, key=lambda name: (name.startswith("replacements"), name)):
        attempt = 0 if file.startswith("shards/") else int(file.split("/")[1])
        table = decode_shard(read_trusted(storage, folder, file, manifest))
        wanted = [attempts.get(i, 0) == attempt for i in table.column("sample_id").to_pylist()]
        if any(wanted):
            yield file, table.filter(pa.array(wanted))

"""One Parquet file of prepared images: its columns and its bytes."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from synfundus.labels import LABEL_NAMES
from synfundus.storage.parquet import encode_parquet


def probability_type(name: str) -> pa.DataType:
    """Return the column type of a label's probability: a number, or a list of five for `dr_grade`.

    The list type has no fixed length: Arrow before 26 cannot read nulls of one that has (apache/arrow#35692).
    """
    return pa.list_(pa.float32()) if name == "dr_grade" else pa.float32()


IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [("image_id", pa.string()), ("image", IMAGE_TYPE), ("patient", pa.string()), ("split", pa.string())]
    + [(name, pa.int8()) for name in LABEL_NAMES]
    + [(f"source_{name}", pa.string()) for name in LABEL_NAMES]
    + [(f"filled_{name}", probability_type(name)) for name in LABEL_NAMES]
)
"""Label columns hold experts' values only. `filled_*` holds a calibrated probability if `source_*` is `filled`."""


def encode_table(rows: Sequence[Mapping[str, object]]) -> bytes:
    """Return rows in `SCHEMA` as one Parquet file; equal rows give equal bytes.

    An encoded image is one run of bytes in the file, so that `fundus/index.py` can address it.
    """
    return encode_parquet(pa.Table.from_pylist(list(rows), schema=SCHEMA), plain="image.bytes")


def decode_pixels(data: bytes) -> NDArray[np.uint8]:
    """Return the (H, W, 3) pixels of an encoded prepared image or sample."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))

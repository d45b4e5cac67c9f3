"""Small prepared datasets of phantoms."""

import io
from collections.abc import Sequence

from PIL import Image

from support.data_manifest import data_manifest
from support.shards_of_rows import write_shards
from synfundus.digests import sha256_hex
from synfundus.fundus.manifest import DataManifest
from synfundus.labels import LABEL_NAMES
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_record
from synfundus.storage import Storage, write_manifest

SPLIT_OF_PATIENT = ("train", "train", "train", "validation", "test")
"""Splits of five patients; they repeat."""


def png(pixels_HWC: object) -> bytes:
    """Return an image as PNG."""
    sink = io.BytesIO()
    Image.fromarray(pixels_HWC).save(sink, "PNG")  # type: ignore[arg-type]
    return sink.getvalue()


def phantom_row(config: PhantomConfig, index: int, splits: Sequence[str] = SPLIT_OF_PATIENT) -> dict[str, object]:
    """Return the row of a phantom in a prepared dataset, with its PNG; patients take the splits in turn."""
    record = phantom_record(config, index)
    data = png(record.image_HWC)
    row: dict[str, object] = {"image_id": sha256_hex(data)[:16], "image": {"bytes": data, "path": None}}
    row["patient"] = record.patient_id
    row["split"] = splits[index // config.images_per_patient % len(splits)]
    for name in LABEL_NAMES:
        value = record.labels[name]
        row |= {name: value, f"source_{name}": "unknown" if value is None else "expert", f"filled_{name}": None}
    return row


def phantom_dataset(
    storage: Storage,
    folder: str,
    num_images: int,
    size_px: int,
    *,
    null_fraction: float = 0.2,
    rows_per_shard: int = 64,
    splits: Sequence[str] = SPLIT_OF_PATIENT,
) -> DataManifest:
    """Write a complete `data/<name>/` of phantoms; three of five patients train, one validates, one is held out."""
    config = PhantomConfig(num_images=num_images, size_px=size_px, seed=7, null_fraction=null_fraction)
    rows = [phantom_row(config, index, splits) for index in range(num_images)]
    objects = write_shards(storage, folder, rows, rows_per_shard)
    return write_manifest(storage, folder, objects, data_manifest(rows, size_px))

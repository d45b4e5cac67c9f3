"""Fill unknown labels of prepared images with the annotator's calibrated probabilities, in a new dataset.

An expert's label is never changed, and an unusable label fills nothing. If an image is not a fundus (by an expert's
label, otherwise by the annotator's), its diseases and side stay unknown. Shards keep their names, rows and image bytes.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from synfundus.diagnosis.annotator import Annotator, AnnotatorOutput
from synfundus.fundus.index import Records, index_shard, write_index
from synfundus.fundus.manifest import REJECTED, DataManifest, LabelSources, ParentDataset
from synfundus.fundus.shard import decode_pixels, encode_table
from synfundus.labels import DISEASES, LABEL_NAMES
from synfundus.storage import Storage, Written, manifest_digest, read_manifest, read_trusted, write_manifest
from synfundus.storage.parquet import open_parquet

NOT_ARISING = (*DISEASES, "eye_side")
"""Labels that have no value if the image is not a fundus."""

SourceCounts = dict[str, Counter[str]]
"""Number of images by label and source."""


@dataclass(frozen=True)
class FilledShard:
    """One shard of the new dataset."""

    written: Written
    """Name, size and digest of the shard."""
    records: Records
    """Records of its images in the index."""
    counts: SourceCounts


def _fill_row(row: dict[str, Any], output: AnnotatorOutput, b: int) -> None:
    """Fill the unknown labels of `row`, which is row `b` of the annotator's output."""
    expert = row["is_fundus"]
    is_fundus = output.annotations[b]["is_fundus"] if expert is None else expert
    for name, p in output.probabilities(b).items():
        if row[f"source_{name}"] == "unknown" and p is not None and not (is_fundus == 0 and name in NOT_ARISING):
            row[f"filled_{name}"], row[f"source_{name}"] = p, "filled"


def fill_shard(data: bytes, annotator: Annotator) -> tuple[bytes, SourceCounts]:
    """Return a shard's Parquet bytes with its unknown labels filled, and its counts. Depends on this shard only."""
    rows: list[dict[str, Any]] = []
    file = open_parquet(data)
    for number in range(file.num_row_groups):
        group = file.read_row_group(number).to_pylist()
        images_BHWC = np.stack([decode_pixels(row["image"]["bytes"]) for row in group])
        output = annotator.predict(images_BHWC, [row["image_id"] for row in group])
        for b, row in enumerate(group):
            _fill_row(row, output, b)
        rows.extend(group)
    counts = {name: Counter(row[f"source_{name}"] for row in rows) for name in LABEL_NAMES}
    return encode_table(rows), counts


def write_filled_shard(
    storage: Storage, source_folder: str, file: str, annotator: Annotator, target_folder: str
) -> FilledShard:
    """Read one shard (verified), fill it, and write it under its name to `target_folder`."""
    manifest = read_manifest(storage, source_folder, DataManifest)
    filled, counts = fill_shard(read_trusted(storage, source_folder, file, manifest), annotator)
    return FilledShard(storage.write_once(f"{target_folder}/{file}", filled), index_shard(filled), counts)


def close_filled(
    storage: Storage,
    source_folder: str,
    annotator_digest: str,
    target_folder: str,
    shards: Iterable[FilledShard],
    digest: str,
) -> DataManifest:
    """Write the manifest of the new dataset: the parent's metadata with new counts by source.

    Args:
        digest: digest of everything that the new dataset depends on.
    """
    parent = read_manifest(storage, source_folder, DataManifest)
    objects: list[Written] = []
    records: dict[str, Records] = {}
    counts: SourceCounts = {name: Counter() for name in LABEL_NAMES}
    for shard in shards:
        objects.append(shard.written)
        records[shard.written.name] = shard.records
        for name, shard_counts in shard.counts.items():
            counts[name] += shard_counts
    objects.append(write_index(storage, target_folder, records))
    if REJECTED in parent.files:
        data = read_trusted(storage, source_folder, REJECTED, parent)
        objects.append(storage.write_once(f"{target_folder}/{REJECTED}", data))
    filled = parent.model_copy(
        update={
            "digest": digest,
            "parent": ParentDataset(
                folder=source_folder, manifest_sha256=manifest_digest(parent), digest=parent.digest
            ),
            "annotator_digest": annotator_digest,
            "sources": {name: LabelSources(**counts[name]) for name in LABEL_NAMES},
        }
    )
    return write_manifest(storage, target_folder, objects, filled)

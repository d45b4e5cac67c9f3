"""Fill unknown labels of prepared images with the annotator's calibrated probabilities, in a new dataset.

What an expert said is never touched, an unusable label fills nothing, and a picture that is not a fundus (an expert
says so, else the annotator) keeps its diseases and side unknown. Shards keep their names, rows and image bytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from synfundus.diagnosis.annotator import Annotator, AnnotatorOutput
from synfundus.digests import sha256_hex
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import decode_pixels, encode_table
from synfundus.labels import DISEASES, LABEL_NAMES, SOURCES
from synfundus.storage import MANIFEST, Storage, Written, read_manifest, read_trusted, write_manifest
from synfundus.storage.parquet import open_parquet

NOT_ARISING = (*DISEASES, "eye_side")
"""Labels of which nothing can be said when the picture is not a fundus."""
REJECTED = "rejected.json"

SourceCounts = dict[str, dict[str, int]]
"""Label -> source -> number of images."""


@dataclass(frozen=True)
class FilledShard:
    """One shard of the new dataset."""

    written: Written
    counts: SourceCounts


def _fill_row(row: dict[str, Any], output: AnnotatorOutput, b: int) -> None:
    """Fill what is unknown in `row`, which is row `b` of the annotator's output."""
    expert = row["is_fundus"]
    is_fundus = output.annotations[b]["is_fundus"] if expert is None else expert
    for name, p in output.probabilities(b).items():
        if row[f"source_{name}"] == "unknown" and p is not None and not (is_fundus == 0 and name in NOT_ARISING):
            row[f"filled_{name}"], row[f"source_{name}"] = p, "filled"


def fill_shard(data: bytes, annotator: Annotator) -> tuple[bytes, SourceCounts]:
    """A shard's Parquet bytes with its unknown labels filled, and its counts; pure over one shard."""
    rows: list[dict[str, Any]] = []
    file = open_parquet(data)
    for group in range(file.num_row_groups):
        part = file.read_row_group(group).to_pylist()
        images_BHWC = np.stack([decode_pixels(row["image"]["bytes"]) for row in part])
        output = annotator.predict(images_BHWC, [row["image_id"] for row in part])
        for b, row in enumerate(part):
            _fill_row(row, output, b)
        rows.extend(part)
    counts = {
        name: {source: sum(row[f"source_{name}"] == source for row in rows) for source in SOURCES}
        for name in LABEL_NAMES
    }
    return encode_table(rows), counts


def shards_to_fill(storage: Storage, source_folder: str) -> list[str]:
    """File names of the shards of complete prepared images.

    Raises:
        WrongInputError: the folder is not complete or holds no prepared images.
    """
    manifest = read_manifest(storage, source_folder)
    if manifest.get("kind") != "data":
        raise WrongInputError(f"{source_folder} holds {manifest.get('kind')!r}, expected prepared images")
    return sorted(file for file in manifest["files"] if file.endswith(".parquet"))


def write_filled_shard(
    storage: Storage, source_folder: str, file: str, annotator: Annotator, target_folder: str
) -> FilledShard:
    """Read one shard (verified), fill it, write it under its name to `target_folder`."""
    data = read_trusted(storage, source_folder, file, read_manifest(storage, source_folder))
    filled, counts = fill_shard(data, annotator)
    return FilledShard(storage.write_once(f"{target_folder}/{file}", filled), counts)


def close_filled(
    storage: Storage,
    source_folder: str,
    annotator_digest: str,
    target_folder: str,
    shards: Iterable[FilledShard],
    digest: str,
) -> dict[str, Any]:
    """Write the manifest of the new dataset, last.

    Its facts are those of the parent and the counts per label and source, with the parent's and the annotator's digest.

    Args:
        digest: of everything that the new dataset depends on.

    Returns:
        The manifest; its `sources` are the summary.
    """
    parent_bytes = storage.read(f"{source_folder}/{MANIFEST}")
    parent = read_manifest(storage, source_folder)
    counts: SourceCounts = {name: dict.fromkeys(SOURCES, 0) for name in LABEL_NAMES}
    objects: list[Written] = []
    for shard in shards:
        objects.append(shard.written)
        for name, part in shard.counts.items():
            for source, number in part.items():
                counts[name][source] += number
    if REJECTED in parent["files"]:
        data = read_trusted(storage, source_folder, REJECTED, parent)
        objects.append(storage.write_once(f"{target_folder}/{REJECTED}", data))
    facts = {key: value for key, value in parent.items() if key != "files"} | {
        "digest": digest,
        "parent": {
            "folder": source_folder,
            "manifest_sha256": sha256_hex(parent_bytes),
            "digest": parent.get("digest"),
        },
        "annotator_digest": annotator_digest,
        "sources": counts,
    }
    return write_manifest(storage, target_folder, objects, facts)

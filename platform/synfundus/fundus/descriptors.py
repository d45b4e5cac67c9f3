"""The copy descriptors of a dataset, stored beside its shards, so that no later stage decodes all images for them.

`descriptors-00007.safetensors` holds a float32 tensor (N, D) for each split of `images-00007.parquet`, with its images
in stored order. `prepare` computes them; `fill` copies them, because it changes no image.
"""

from collections.abc import Sequence

import numpy as np
import safetensors.numpy

from synfundus.fundus.manifest import DataManifest
from synfundus.fundus.shard import decode_pixels
from synfundus.fundus.splits import SPLITS
from synfundus.labels import FloatArray
from synfundus.measures.copies import copy_descriptor
from synfundus.storage import Storage, Written, read_manifest, read_trusted
from synfundus.storage.parquet import open_parquet

BATCH = 64
"""Images that are decoded at once."""


def descriptor_file(shard: str) -> str:
    """Return the name of the file with the descriptors of `shard`."""
    return shard.replace("images-", "descriptors-").removesuffix(".parquet") + ".safetensors"


def encode_descriptors(shard: bytes) -> bytes:
    """Return the descriptors of a shard's images as a safetensors file; equal shards give equal bytes."""
    table = open_parquet(shard).read(columns=["split", "image"])
    split_N = table.column("split").to_numpy()
    pngs = [image["bytes"] for image in table.column("image").to_pylist()]
    parts = [copy_descriptor(_pixels(pngs[start : start + BATCH])) for start in range(0, len(pngs), BATCH)]
    descriptors_ND = np.concatenate(parts)
    return bytes(safetensors.numpy.save({split: descriptors_ND[split_N == split] for split in SPLITS}))


def _pixels(pngs: Sequence[bytes]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.stack([decode_pixels(data) for data in pngs])


def write_with_descriptors(storage: Storage, name: str, shard: bytes) -> list[Written]:
    """Write a shard and the file of its descriptors."""
    descriptors = storage.write_once(descriptor_file(name), encode_descriptors(shard))
    return [storage.write_once(name, shard), descriptors]


def read_descriptors(storage: Storage, folder: str) -> dict[str, FloatArray]:
    """Return the copy descriptors of each split, (N, D), in the order of its images; each file is verified.

    Raises:
        WrongInputError: the folder is not complete.
        StorageError: a file is missing, or differs from the manifest.
    """
    manifest = read_manifest(storage, folder, DataManifest)
    empty = copy_descriptor(np.zeros((0, 1, 1, 3), np.uint8))
    parts: dict[str, list[FloatArray]] = {split: [empty] for split in SPLITS}
    for shard in manifest.shards:
        file = safetensors.numpy.load(read_trusted(storage, folder, descriptor_file(shard), manifest))
        for split in SPLITS:
            parts[split].append(file[split])
    return {split: np.concatenate(parts[split]) for split in SPLITS}

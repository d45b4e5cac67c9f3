"""The copy descriptors of a dataset, stored with their detector, so that no later stage decodes all images for them.

`descriptors-00007.safetensors` holds a float32 tensor (N, 128) for each split of `images-00007.parquet`, with its
images in stored order.
"""

from collections.abc import Sequence

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from synfundus.copies.encoder import DESCRIPTOR_DIM, CopyEncoder
from synfundus.copies.manifest import CopyDetectorManifest
from synfundus.fundus.manifest import DataManifest
from synfundus.fundus.shard import decode_pixels
from synfundus.fundus.splits import SPLITS
from synfundus.labels import FloatArray
from synfundus.storage import Manifest, Storage, Written, read_manifest, read_trusted
from synfundus.storage.parquet import open_parquet

BATCH = 64
"""Images that are decoded at once."""


def descriptor_file(shard: str) -> str:
    """Return the name of the file with the descriptors of `shard`."""
    return shard.replace("images-", "descriptors-").removesuffix(".parquet") + ".safetensors"


def encode_descriptors(shard: bytes, encoder: CopyEncoder) -> bytes:
    """Return the descriptors of a shard's images as a safetensors file; equal shards give equal bytes."""
    table = open_parquet(shard).read(columns=["split", "image"])
    split_N = table.column("split").to_numpy()
    pngs = [image["bytes"] for image in table.column("image").to_pylist()]
    batches = (_pixels(pngs[start : start + BATCH]) for start in range(0, len(pngs), BATCH))
    descriptors_ND = np.concatenate([encoder.descriptors(images_BHWC) for images_BHWC in batches])
    return bytes(safetensors.numpy.save({split: descriptors_ND[split_N == split] for split in SPLITS}))


def _pixels(pngs: Sequence[bytes]) -> NDArray[np.uint8]:
    return np.stack([decode_pixels(data) for data in pngs])


def write_descriptors(storage: Storage, data_folder: str, shard: str, encoder: CopyEncoder, folder: str) -> Written:
    """Write the descriptors of one shard of `data_folder`, which is verified, to `folder`."""
    data = read_trusted(storage, data_folder, shard, read_manifest(storage, data_folder, DataManifest))
    return storage.write_once(f"{folder}/{descriptor_file(shard)}", encode_descriptors(data, encoder))


def read_descriptors(storage: Storage, folder: str) -> dict[str, FloatArray]:
    """Return the copy descriptors of each split, (N, 128), in the order of its images; each file is verified.

    Raises:
        WrongInputError: the detector in `folder` is not complete.
        StorageError: a file is missing, or differs from the manifest.
    """
    manifest = read_manifest(storage, folder, CopyDetectorManifest)
    return join_descriptors([read_trusted(storage, folder, file, manifest) for file in descriptor_files(manifest)])


def descriptor_files(manifest: Manifest) -> list[str]:
    """Return the files of descriptors that a detector's manifest names, sorted."""
    return sorted(file for file in manifest.files if file.startswith("descriptors-"))


def join_descriptors(files: Sequence[bytes]) -> dict[str, FloatArray]:
    """Return the descriptors of each split from the content of their files, in order."""
    parts: dict[str, list[FloatArray]] = {split: [np.zeros((0, DESCRIPTOR_DIM), np.float32)] for split in SPLITS}
    for data in files:
        for split, descriptors_ND in safetensors.numpy.load(data).items():
            parts[split].append(descriptors_ND)
    return {split: np.concatenate(parts[split]) for split in SPLITS}

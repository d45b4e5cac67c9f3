"""RetinaMNIST of MedMNIST v2: one `.npz` with arrays of images and DR grades, 28, 64, 128 or 224 px."""

import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from synfundus.config import Config
from synfundus.errors import WrongInputError
from synfundus.fundus.png import encode_png
from synfundus.fundus.sources.base import ImageFile, S3File, SourceListing, SourceRecord, graded
from synfundus.fundus.sources.place import Place, S3Place, place_of
from synfundus.labels import parse_value

SPLIT_OF = {"train": "train", "val": "validation", "test": "test"}
"""Prefix of the arrays to name of the split."""


@dataclass(frozen=True, slots=True)
class ArrayImage:
    """An image that is one slice of an array in an `.npz`."""

    file: ImageFile | S3File
    array: str
    index: int

    def load(self) -> bytes:
        """Return the slice as PNG."""
        return encode_png(_array(self.file, self.array)[self.index])


@lru_cache(maxsize=len(SPLIT_OF))
def _array(file: ImageFile | S3File, name: str) -> NDArray[np.uint8]:
    """Read a whole array: it is compressed as one. At 224 px the three arrays hold 241 MB."""
    with file.open() as opened, np.load(opened, allow_pickle=False) as arrays:
        array: NDArray[np.uint8] = arrays[name]
        return array


class RetinaMnistSource(Config):
    """RetinaMNIST."""

    layout: Literal["retinamnist"]
    """RetinaMNIST `.npz`."""
    path: str
    """File `retinamnist.npz`, `retinamnist_64.npz`, `retinamnist_128.npz` or `retinamnist_224.npz`."""
    keep_splits: bool = False
    """Keep the splits of the file (`train`, `val`, `test`); otherwise the study makes its own."""

    def listing(self) -> SourceListing:
        """Read the grades; the images stay compressed.

        Raises:
            WrongInputError: the file does not exist, may not be read or is no `.npz` of RetinaMNIST, or a grade is out
                of range.
        """
        path = place_of(self.path)
        if not path.is_file():
            raise WrongInputError(f"{self.path}: no such file; `path` of this layout names the .npz file itself")
        try:
            with path.open("rb") as file:
                grades = _all_grades(path, file)
        except PermissionError as error:
            raise WrongInputError(f"{path}: cannot be read ({error.strerror}); change its permissions") from None
        except (ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise WrongInputError(f"{path}: numpy cannot read it ({error}); fetch it again") from None
        reference = path.file() if isinstance(path, S3Place) else ImageFile(str(path))
        records = [
            SourceRecord(
                name=f"{path.name}/{prefix}/{index:04d}",
                read=ArrayImage(reference, f"{prefix}_images", index),
                labels=graded(dr_grade=grade),
                split=split if self.keep_splits else None,
            )
            for prefix, split in SPLIT_OF.items()
            for index, grade in enumerate(grades[prefix])
        ]
        return SourceListing(records, rows_without_image=[], images_without_row=[], has_patients=False)


def _all_grades(path: Place, file: IO[bytes]) -> dict[str, list[int | None]]:
    if not zipfile.is_zipfile(file):
        raise WrongInputError(f"{path}: not an .npz file, or truncated; fetch it again")
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays, zipfile.ZipFile(file) as archive:
        return {prefix: _grades(path, arrays, archive, prefix) for prefix in SPLIT_OF}


def _grades(path: Place, arrays: Any, archive: zipfile.ZipFile, prefix: str) -> list[int | None]:
    for name in (f"{prefix}_images", f"{prefix}_labels"):
        if name not in arrays.files:
            raise WrongInputError(
                f"{path}: no array {name!r}, only {', '.join(arrays.files)}; name the file of RetinaMNIST"
            )
    shape, dtype = _image_header(archive, f"{prefix}_images")
    labels = arrays[f"{prefix}_labels"]
    if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8 or labels.size != shape[0]:
        raise WrongInputError(
            f"{path}: {prefix}_images is {dtype} {shape} with {labels.size} labels;"
            " expected uint8 (N, H, W, 3) and N labels; fetch it again"
        )
    grades: list[int | None] = []
    for index, value in enumerate(labels.reshape(-1).tolist()):
        try:
            grades.append(parse_value("dr_grade", value))
        except WrongInputError as error:
            raise WrongInputError(f"{path}: {prefix}_labels[{index}]: {error}") from None
    return grades


def _image_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and dtype of an array from its first bytes."""
    with archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    return shape, dtype

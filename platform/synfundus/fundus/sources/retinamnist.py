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

PARTS = {"train": "train", "val": "validation", "test": "test"}
"""Prefix of the arrays to our name of the part."""


@dataclass(frozen=True, slots=True)
class ArrayImage:
    """An image that is one slice of an array in an `.npz`."""

    file: ImageFile | S3File
    array: str
    index: int

    def load(self) -> bytes:
        """Lossless PNG of the slice."""
        return encode_png(_array(self.file, self.array)[self.index])


@lru_cache(maxsize=len(PARTS))
def _array(file: ImageFile | S3File, name: str) -> NDArray[np.uint8]:
    """A whole array, since it is compressed as one; at 224 px the three hold 241 MB."""
    with file.open() as opened, np.load(opened, allow_pickle=False) as arrays:
        array: NDArray[np.uint8] = arrays[name]
        return array


class RetinaMnistSource(Config):
    """RetinaMNIST."""

    layout: Literal["retinamnist"]
    """RetinaMNIST `.npz`."""
    path: str
    """The file: `retinamnist.npz`, `retinamnist_64.npz`, `retinamnist_128.npz` or `retinamnist_224.npz`."""
    keep_splits: bool = False
    """Keep its parts `train`, `val` and `test`; otherwise the study makes its own."""

    def listing(self) -> SourceListing:
        """Read the grades; the images stay packed.

        Raises:
            WrongInputError: no such file, no right to read it, not an `.npz` of RetinaMNIST, or a grade out of range.
        """
        path = place_of(self.path)
        if not path.is_file():
            raise WrongInputError(f"{self.path}: no such file; `path` of this layout names the .npz file itself")
        try:
            with path.open("rb") as file:
                grades = _all_grades(path, file)
        except PermissionError as error:
            raise WrongInputError(f"{path}: cannot be read ({error.strerror}); give the right to read it") from None
        except (ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise WrongInputError(f"{path}: numpy cannot read it ({error}); fetch it again") from None
        reference = path.file() if isinstance(path, S3Place) else ImageFile(str(path))
        records = [
            SourceRecord(
                name=f"{path.name}/{part}/{index:04d}",
                read=ArrayImage(reference, f"{part}_images", index),
                labels=graded(dr_grade=grade),
                split=split if self.keep_splits else None,
            )
            for part, split in PARTS.items()
            for index, grade in enumerate(grades[part])
        ]
        return SourceListing(records, rows_without_image=[], images_without_row=[], has_patients=False)


def _all_grades(path: Place, file: IO[bytes]) -> dict[str, list[int | None]]:
    if not zipfile.is_zipfile(file):
        raise WrongInputError(f"{path}: not an .npz file, or cut off; fetch it again")
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays, zipfile.ZipFile(file) as archive:
        return {part: _grades(path, arrays, archive, part) for part in PARTS}


def _grades(path: Place, arrays: Any, archive: zipfile.ZipFile, part: str) -> list[int | None]:
    for name in (f"{part}_images", f"{part}_labels"):
        if name not in arrays.files:
            raise WrongInputError(f"{path}: no array {name!r}; it holds {', '.join(arrays.files)}")
    shape, dtype = _image_header(archive, f"{part}_images")
    labels = arrays[f"{part}_labels"]
    if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8 or labels.size != shape[0]:
        raise WrongInputError(
            f"{path}: {part}_images is {dtype} {shape} with {labels.size} labels; "
            "expected uint8 (N, H, W, 3) and N labels"
        )
    grades: list[int | None] = []
    for index, value in enumerate(labels.reshape(-1).tolist()):
        try:
            grades.append(parse_value("dr_grade", value))
        except WrongInputError as error:
            raise WrongInputError(f"{path}: {part}_labels[{index}]: {error}") from None
    return grades


def _image_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an array, from its first bytes."""
    with archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    return shape, dtype

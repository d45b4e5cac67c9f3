"""Files of a dataset: find tables, and find images by the names that tables give them."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import ImageFile, S3File
from synfundus.fundus.sources.place import Place, S3Place, place_of

IMAGE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".ppm"))
"""Suffixes of files that are listed as images. Preparation rejects a file that is not an image."""
SEARCH_DEPTH = 3
"""Number of folder levels below a source's path in which its table is searched: unpacked archives are nested."""


def existing_folder(path: str) -> Place:
    """Return the folder that a source's `path` names.

    Raises:
        WrongInputError: it does not exist, is a file, or lies on a store that cannot be listed.
    """
    folder = place_of(path)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise WrongInputError(f"{path}: {what}; `path` of a source names the folder that holds its images")
    return folder


def find_files(root: Place, name: str) -> list[Place]:
    """Return files called `name`, in any case, at most `SEARCH_DEPTH` folders below `root`; sorted."""
    found = (root / near for near in _near(root) if PurePosixPath(near).name.casefold() == name.casefold())
    return sorted(found, key=lambda place: place.parts)


def _near(root: Place) -> Iterator[str]:
    """Yield files at most `SEARCH_DEPTH` folders below `root`, not in hidden folders."""
    if isinstance(root, S3Place):
        yield from (name for name in root.names() if name.count("/") <= SEARCH_DEPTH)
        return
    for folder, folders, files in os.walk(root):
        below = Path(folder).relative_to(root)
        folders[:] = [f for f in folders if not f.startswith(".") and len(below.parts) < SEARCH_DEPTH]
        yield from ((below / f).as_posix() for f in files)


def find_file(root: Place, name: str) -> Place:
    """Return the one file called `name` below `root`.

    Raises:
        WrongInputError: there is none, or more than one.
    """
    found = find_files(root, name)
    if not found:
        raise WrongInputError(f"{root}: no file {name!r} in it; `path` of the source names the unpacked dataset")
    if len(found) > 1:
        raise WrongInputError(
            f"{root}: {name!r} exists more than once ({found[0]}, {found[1]}); set `path` to the folder of one"
        )
    return found[0]


def child_folder(parent: Place, name: str) -> Place:
    """Return the folder `name` in `parent`, in any case (`IMAGES`, `images`); the exact name if there is none."""
    exact = parent / name
    if exact.is_dir() or not parent.is_dir():
        return exact
    matches = [p for p in parent.iterdir() if p.is_dir() and p.name.casefold() == name.casefold()]
    return min(matches, key=lambda place: place.name, default=exact)


class ImageFolder:
    """The images in a folder and below it, by name; hidden files and folders are ignored."""

    def __init__(self, folder: Place, root: Place) -> None:
        """List `folder`, which lies in the source's `root`; no image is opened.

        Raises:
            WrongInputError: the folder does not exist, may not be read, or holds no image.
        """
        if root not in (folder, *folder.parents):
            raise WrongInputError(f"{folder}: the images must lie below the source's path {root}")
        if not folder.is_dir():
            raise WrongInputError(f"{folder}: no such folder; the images are expected there")
        self.folder = folder
        self._prefix = PurePosixPath(*folder.parts[len(root.parts) :])
        self._by_key: dict[str, str | list[str]] = {}
        try:
            self.names = sorted(_images(folder))
        except OSError as error:
            raise WrongInputError(
                f"{error.filename}: cannot be listed ({error.strerror}); change its permissions"
            ) from None
        if not self.names:
            raise WrongInputError(f"{folder}: no image in this folder; put the images there or correct the path")
        self._exact = frozenset(self.names)
        for name in self.names:
            known = self._by_key.get(key := _key(name))
            self._by_key[key] = name if known is None else [*([known] if isinstance(known, str) else known), name]

    def find(self, name: str, where: str) -> str | None:
        """Return the image that a table calls `name`, as a path below the folder; None if there is none.

        An exact path wins. Otherwise the table may omit folders or the suffix, or write another suffix or case.

        Args:
            where: position in the table, for the message.

        Raises:
            WrongInputError: several images match equally well.
        """
        name = name.replace("\\", "/").removeprefix("./").strip("/")
        if name in self._exact:
            return name
        known = self._by_key.get(_key(name), [])
        matches = [image for image in ([known] if isinstance(known, str) else known) if _ends_with(image, name)]
        suffix = _suffix(name)
        for better in (lambda n: _suffix(n) == suffix, lambda n: _bare(n).endswith(_bare(name))):
            matches = list(filter(better, matches)) or matches
        if len(matches) > 1:
            raise WrongInputError(f"{where}: {name!r} may be {matches[0]} or {matches[1]}; name its folder or suffix")
        return matches[0] if matches else None

    def reference(self, name: str) -> ImageFile | S3File:
        return self.folder.file(name) if isinstance(self.folder, S3Place) else ImageFile(f"{self.folder}/{name}")

    def record_name(self, name: str) -> str:
        """Return `name` relative to the source's path."""
        return (self._prefix / name).as_posix()


def _images(folder: Place) -> Iterator[str]:
    if isinstance(folder, S3Place):
        yield from filter(_suffix, folder.names())
        return
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{name}/")
                elif _suffix(entry.name):
                    yield name


def _suffix(name: str) -> str:
    suffix = f".{name.rpartition('.')[2].lower()}"
    return suffix if suffix in IMAGE_SUFFIXES else ""


def _bare(name: str) -> str:
    """Remove an image suffix; other dots belong to the name."""
    return name[: -len(suffix)] if (suffix := _suffix(name)) else name


def _key(name: str) -> str:
    return _bare(name).rsplit("/", 1)[-1].casefold()


def _ends_with(image: str, name: str) -> bool:
    return f"/{_bare(image)}".casefold().endswith(f"/{_bare(name)}".casefold())

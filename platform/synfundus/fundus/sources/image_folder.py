"""Files of a dataset on disk: the images below a folder, found by the names that tables give them."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import ImageFile

IMAGE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".ppm"))
"""Files that are taken for images; whether they are is found when they are prepared."""
SEARCH_DEPTH = 3
"""Folder levels below a source's path in which its table is looked for: archives nest when they are unpacked."""


def existing_folder(path: str) -> Path:
    """The folder that a source's `path` names.

    Raises:
        WrongInputError: it is not there, or is a file.
    """
    folder = Path(path)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise WrongInputError(f"{path}: {what}; `path` of a source names the folder that holds its images")
    return folder


def find_files(root: Path, name: str) -> list[Path]:
    """Files called `name`, whatever its case, at most `SEARCH_DEPTH` folders below `root`; sorted."""
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        if len(Path(folder).relative_to(root).parts) >= SEARCH_DEPTH:
            folders.clear()
        found += (Path(folder, f) for f in files if f.casefold() == name.casefold())
    return sorted(found)


def find_file(root: Path, name: str) -> Path:
    """The one file called `name` below `root`.

    Raises:
        WrongInputError: there is none, or more than one.
    """
    found = find_files(root, name)
    if not found:
        raise WrongInputError(f"{root}: no file {name!r} in it; `path` of the source names the unpacked dataset")
    if len(found) > 1:
        raise WrongInputError(f"{root}: {name!r} is there more than once ({found[0]}, {found[1]}); name one's folder")
    return found[0]


def child_folder(parent: Path, name: str) -> Path:
    """The folder `name` in `parent`, whatever its case (`IMAGES`, `images`); the exact name where there is none."""
    exact = parent / name
    if exact.is_dir() or not parent.is_dir():
        return exact
    return next((p for p in sorted(parent.iterdir()) if p.is_dir() and p.name.casefold() == name.casefold()), exact)


class ImageFolder:
    """The images in a folder and below it, by name. Hidden files and folders do not count."""

    def __init__(self, folder: Path, root: Path) -> None:
        """List `folder`, which lies in the source's `root`; no image is opened.

        Raises:
            WrongInputError: there is no such folder, it may not be read, or there is no image in it.
        """
        if not folder.is_relative_to(root):
            raise WrongInputError(f"{folder}: the images must lie below the source's path {root}")
        if not folder.is_dir():
            raise WrongInputError(f"{folder}: no such folder; the images are expected there")
        self.folder = folder
        self._prefix = PurePosixPath(folder.relative_to(root).as_posix())
        self._by_key: dict[str, str | list[str]] = {}
        try:
            self.names = sorted(_walk(folder))
        except OSError as error:
            raise WrongInputError(f"{error.filename}: cannot be listed ({error.strerror}); give the right to") from None
        if not self.names:
            raise WrongInputError(f"{folder}: no image in it; put the images there or mend the path")
        self._exact = frozenset(self.names)
        for name in self.names:
            known = self._by_key.get(key := _key(name))
            self._by_key[key] = name if known is None else [*([known] if isinstance(known, str) else known), name]

    def find(self, wanted: str, where: str) -> str | None:
        """The image that a table calls `wanted`, as a path below the folder, or null.

        An exact path wins. Otherwise the table may leave out folders or the suffix, or write another suffix or case.

        Raises:
            WrongInputError: several images fit equally well; names `where` the table says so.
        """
        wanted = wanted.replace("\\", "/").removeprefix("./").strip("/")
        if wanted in self._exact:
            return wanted
        known = self._by_key.get(_key(wanted), [])
        fits = [name for name in ([known] if isinstance(known, str) else known) if _ends_with(name, wanted)]
        suffix = _suffix(wanted)
        for better in (lambda n: _suffix(n) == suffix, lambda n: _bare(n).endswith(_bare(wanted))):
            fits = list(filter(better, fits)) or fits
        if len(fits) > 1:
            raise WrongInputError(f"{where}: {wanted!r} may be {fits[0]} or {fits[1]}; name its folder or suffix")
        return fits[0] if fits else None

    def reference(self, name: str) -> ImageFile:
        return ImageFile(f"{self.folder}/{name}")

    def record_name(self, name: str) -> str:
        """`name` as seen from the source's path."""
        return (self._prefix / name).as_posix()


def _walk(folder: Path) -> Iterator[str]:
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
    """Without an image suffix; other dots belong to the name."""
    return name[: -len(suffix)] if (suffix := _suffix(name)) else name


def _key(name: str) -> str:
    return _bare(name).rsplit("/", 1)[-1].casefold()


def _ends_with(name: str, wanted: str) -> bool:
    return f"/{_bare(name)}".casefold().endswith(f"/{_bare(wanted)}".casefold())

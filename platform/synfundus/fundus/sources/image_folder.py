"""Files of a dataset: find tables, and find images by the names that tables give them."""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import ImageFile, S3File
from synfundus.fundus.sources.patient_ids import whole_number
from synfundus.fundus.sources.place import Place, S3Place, place_of

IMAGE_SUFFIXES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".dib", ".webp", ".gif"),
        *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    )
)
"""Suffixes of files that are listed as images: those of the formats that are decoded. Preparation rejects a file that
is not an image."""
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
        self._prefix_parts = _parts(self._prefix.as_posix())
        self._by_key: dict[str, str | list[str]] = {}
        try:
            self.names = sorted(_images(folder))
        except OSError as error:
            raise WrongInputError(
                f"{error.filename}: cannot be listed ({error.strerror}); change its permissions"
            ) from None
        if not self.names:
            raise WrongInputError(
                f"{folder}: no image in this folder; put the images there or correct the path"
                " (linked folders below it are not followed)"
            )
        _require_utf8(folder, self.names)
        self._exact = frozenset(self.names)
        for name in self.names:
            known = self._by_key.get(key := _key(_parts(name)[-1]))
            self._by_key[key] = name if known is None else [*([known] if isinstance(known, str) else known), name]

    def find(self, name: str, where: str) -> str | None:
        """Return the image that a table calls `name`, as a path below the folder; None if there is none.

        An exact path wins. Otherwise the table may omit folders, or write more of them than there are below the folder:
        a path below the source's path, or one of another machine. It may write another suffix, case or Unicode normal
        form, and `1` for `001`. Of several images, the one whose folders agree furthest wins.

        Args:
            where: position in the table, for the message.

        Raises:
            WrongInputError: several images match equally well.
        """
        if name in self._exact:
            return name
        if not (written := _parts(name)):
            return None
        known = self._by_key.get(_key(written[-1]), [])
        depths = {
            image: depth
            for image in ([known] if isinstance(known, str) else known)
            if (depth := self._agreeing_folders(image, written)) is not None
        }
        matches = [image for image, depth in depths.items() if depth == max(depths.values())]
        bare, suffix = _bare(_plain(name)), _suffix(written[-1])
        for better in (
            lambda image: _bare(_parts(image)[-1]) == _bare(written[-1]),
            lambda image: _suffix(image) == suffix,
            lambda image: bare.endswith(_bare(_plain(image))) or _bare(_plain(image)).endswith(bare),
        ):
            matches = list(filter(better, matches)) or matches
        if len(matches) > 1:
            raise WrongInputError(f"{where}: {name!r} may be {matches[0]} or {matches[1]}; name its folder or suffix")
        return matches[0] if matches else None

    def _agreeing_folders(self, image: str, written: list[str]) -> int | None:
        """Return how many folders above both names agree; None if they contradict each other below the folder."""
        below = _parts(image)[:-1]
        above = written[:-1]
        pairs = zip(reversed([*self._prefix_parts, *below]), reversed(above), strict=False)
        agreeing = next((depth for depth, (one, other) in enumerate(pairs) if one != other), None)
        if agreeing is None:
            return min(len(self._prefix_parts) + len(below), len(above))
        return agreeing if agreeing >= min(len(below), len(above)) else None

    def reference(self, name: str) -> ImageFile | S3File:
        return self.folder.file(name) if isinstance(self.folder, S3Place) else ImageFile(f"{self.folder}/{name}")

    def record_name(self, name: str) -> str:
        """Return `name` relative to the source's path."""
        return (self._prefix / name).as_posix()


def _images(folder: Place) -> Iterator[str]:
    if isinstance(folder, S3Place):
        if wrong := next(filter(_suffix, folder.names_with_empty_part()), None):
            raise WrongInputError(f"{folder}: the key {wrong!r} has an empty folder in it; rename such objects")
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
                # A pipe would block its reader. A broken link is listed, because reading it gives the reason.
                elif _suffix(entry.name) and (entry.is_symlink() or entry.is_file(follow_symlinks=False)):
                    yield name


def _require_utf8(folder: Place, names: list[str]) -> None:
    """Refuse names that are no text: neither a table nor a report can hold them."""
    wrong = [name for name in names if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name)]
    if wrong:
        raise WrongInputError(
            f"{folder}: {len(wrong)} file names are not UTF-8, first {os.fsencode(wrong[0])!r};"
            " rename them, for example with the program convmv"
        )


def _suffix(name: str) -> str:
    suffix = f".{name.rpartition('.')[2].lower()}"
    return suffix if suffix in IMAGE_SUFFIXES else ""


def _bare(name: str) -> str:
    """Remove an image suffix; other dots belong to the name."""
    return name[: -len(suffix)] if (suffix := _suffix(name)) else name


def _plain(name: str) -> str:
    """Return a path with slashes, in Unicode's composed form (NFC): file systems of Apple decompose names."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _parts(name: str) -> list[str]:
    """Return folders and name of a path in a form without case."""
    return [part for part in _plain(name).casefold().split("/") if part not in ("", ".")]


def _key(file_name: str) -> str:
    """Return the key of a name out of `_parts`: without suffix, and a number without leading zeros."""
    bare = _bare(file_name)
    return whole_number(bare) or bare

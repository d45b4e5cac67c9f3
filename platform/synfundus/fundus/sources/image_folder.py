"""Files of a dataset: find tables, and find images by the names that tables give them."""

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from synfundus.errors import WrongInputError
from synfundus.fundus.sources.base import ImageFile, S3File
from synfundus.fundus.sources.patient_ids import whole_number
from synfundus.fundus.sources.place import Place, S3Place, place_of

DECODED_SUFFIXES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".dib", ".webp", ".gif"),
        *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    )
)
"""Suffixes of the formats that are decoded."""
NOT_DECODED_SUFFIXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "DICOM": (".dcm", ".dicom"),
        "AVIF": (".avif", ".avifs"),
        "HEIF": (".heic", ".heics", ".heif", ".heifs", ".hif"),
        "PDF": (".pdf",),
        "Photoshop": (".psd", ".psb"),
        "JPEG XL": (".jxl",),
    }
)
"""Format that photographs may have and that is not decoded (`signatures.NOT_DECODED`) to its suffixes."""
IMAGE_SUFFIXES = DECODED_SUFFIXES.union(*NOT_DECODED_SUFFIXES.values())
"""Suffixes of files that are listed as images. Preparation rejects a file that is not decoded, with the reason."""
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
        self._root_parts = _parts(str(root))
        try:
            self.names = sorted(_images(folder))
            above = [root.joinpath(*self._prefix.parts[:depth]) for depth in range(len(self._prefix_parts))]
            self._beside = [frozenset(_entries(place)) for place in above]
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
        self._findable = _findable(self.names)
        self._exact = frozenset(self._findable)
        self._deepest = max(name.count("/") for name in self.names)
        self._by_path = _grouped(self._findable, lambda parts: _path_key(parts[:-1], parts[-1]))

    def find(self, name: str, where: str) -> str | None:
        """Return the image that a table calls `name`, as a path below the folder; None if there is none.

        An exact path wins, below the folder or below the source's path. Otherwise the table may omit folders, or write
        more of them than there are below the folder: a path below the source's path, or one of another machine. It may
        write another suffix, case or Unicode normal form, and `1` for `001`. Of several images, the one whose folders
        agree furthest wins. A path of another file or folder below the source's path finds none. A file of a format
        that is not decoded is found only if no other file has its path without suffix.

        Args:
            where: position in the table, for the message.

        Raises:
            WrongInputError: several images match equally well.
        """
        for exact in (name, name.removeprefix(f"{self._prefix}/")):
            if exact in self._exact:
                return exact
        if not (written := _parts(name)) or self._is_beside(name, written):
            return None
        depths = {
            image: depth
            for image in self._candidates(written)
            if (depth := self._agreeing_folders(image, written)) is not None
        }
        furthest = max(depths.values(), default=0)
        matches = [image for image, depth in depths.items() if depth == furthest]
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

    def _is_beside(self, name: str, written: list[str]) -> bool:
        """Return whether a table means a file or folder below the source's path that lies outside this folder."""
        num_root = len(self._root_parts)
        if num_root and written[:num_root] == self._root_parts:
            written = written[num_root:]
        elif _plain(name).startswith("/"):
            return False
        ends = [*("/" for _ in written[1:]), ""]
        for entries, own, part, end in zip(self._beside, self._prefix_parts, written, ends, strict=False):
            if part != own:
                return part + end in entries
        return False

    def _candidates(self, written: list[str]) -> Iterable[str]:
        """Return images of this file name, among them all that may match."""
        *above, last = written
        if len(above) < self._deepest:  # the table may omit folders
            return _images_of(self._by_name, _key(last))
        paths = (_path_key(above[start:], last) for start in range(len(above) + 1))
        return [image for path in paths for image in _images_of(self._by_path, path)]

    @cached_property
    def _by_name(self) -> "_Groups":
        return _grouped(self._findable, lambda parts: _key(parts[-1]))

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


def _entries(folder: Place) -> Iterator[str]:
    """Yield the files and folders in a folder in a form without case; folders end with a slash."""
    if isinstance(folder, S3Place):
        for name in folder.names():
            first, slash, _ = name.partition("/")
            yield f"{_plain(first).casefold()}{slash}"
        return
    with os.scandir(folder) as entries:
        yield from (f"{_plain(entry.name).casefold()}{'/' if entry.is_dir() else ''}" for entry in entries)


def _findable(names: list[str]) -> list[str]:
    """Return the names without files that are not decoded and lie beside one that is, such as a.heic beside a.jpg."""
    if all(_suffix(name) in DECODED_SUFFIXES for name in names):
        return names
    decoded = {_bare(name).casefold() for name in names if _suffix(name) in DECODED_SUFFIXES}
    return [name for name in names if _suffix(name) in DECODED_SUFFIXES or _bare(name).casefold() not in decoded]


_Groups = dict[str, str | list[str]]
"""Names by a key. Most keys have one name, and a list for each would double the memory of a million names."""


def _grouped(names: Sequence[str], key_of: Callable[[list[str]], str]) -> _Groups:
    groups: _Groups = {}
    for name in names:
        known = groups.get(key := key_of(_parts(name)))
        if isinstance(known, list):
            known.append(name)
        else:
            groups[key] = name if known is None else [known, name]
    return groups


def _images_of(groups: _Groups, key: str) -> list[str]:
    known = groups.get(key, [])
    return [known] if isinstance(known, str) else known


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


def _path_key(folders: Sequence[str], file_name: str) -> str:
    """Return the key of a path whose folders and name are out of `_parts`."""
    return "/".join([*folders, _key(file_name)])


def _key(file_name: str) -> str:
    """Return the key of a name out of `_parts`: without suffix, and a number without leading zeros."""
    bare = _bare(file_name)
    return whole_number(bare) or bare

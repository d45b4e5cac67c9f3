"""Manifests: typed, written last, and the only source of names that a reader trusts."""

import json
from typing import Any, Literal

import pytest

from synfundus.errors import AlreadyExistsError, StorageError, WrongInputError
from synfundus.storage import (
    FileEntry,
    Manifest,
    Storage,
    is_complete,
    manifest_digest,
    read_manifest,
    read_trusted,
    write_manifest,
)

FOLDER = "data/x"
NAME = f"{FOLDER}/manifest.json"


class DataManifest(Manifest):
    """A manifest with a field of its own."""

    kind: Literal["data"] = "data"
    size_px: int


class ReportManifest(Manifest):
    """A manifest of another kind."""

    kind: Literal["report"] = "report"


def stored(storage: Storage, **changes: Any) -> None:
    """Write a manifest with these keys changed, as another program would."""
    record = {"version": 1, "kind": "data", "digest": "d", "size_px": 64, "files": {}}
    storage.write_once(NAME, json.dumps({**record, **changes}).encode())


def test_a_manifest_is_read_as_it_was_written_and_names_the_files_below_its_folder(storage: Storage) -> None:
    objects = [storage.write_once(f"{FOLDER}/{name}", b"abc") for name in ("sub/b.parquet", "a.parquet", "c.json")]
    assert not is_complete(storage, FOLDER)
    written = write_manifest(storage, FOLDER, objects, DataManifest(digest="d", size_px=64))
    assert is_complete(storage, FOLDER)
    assert list(written.files) == ["a.parquet", "c.json", "sub/b.parquet"]
    assert written.files["a.parquet"] == FileEntry(size_bytes=3, sha256=objects[1].sha256)
    assert written.shards == ["a.parquet", "sub/b.parquet"]
    read = read_manifest(storage, FOLDER, DataManifest)
    assert (read, read.size_px) == (written, 64)
    assert manifest_digest(read) == manifest_digest(written)


def test_a_manifest_of_too_many_brackets_is_refused(storage: Storage) -> None:
    storage.write_once(NAME, b"[" * 100_000)
    with pytest.raises(StorageError, match="does not hold DataManifest of this version"):
        read_manifest(storage, FOLDER, DataManifest)


def test_a_file_that_a_manifest_should_name_is_a_storage_error() -> None:
    manifest = DataManifest(digest="d", size_px=64, files={"a.json": FileEntry(size_bytes=1, sha256="0a" * 32)})
    assert manifest.sha256("a.json") == "0a" * 32
    with pytest.raises(StorageError, match=r"^the manifest of the data does not name b\.json; restore it"):
        manifest.sha256("b.json")


def test_a_second_manifest_of_other_content_is_refused(storage: Storage) -> None:
    write_manifest(storage, FOLDER, [], DataManifest(digest="d", size_px=64))
    write_manifest(storage, FOLDER, [], DataManifest(digest="d", size_px=64))
    with pytest.raises(AlreadyExistsError):
        write_manifest(storage, FOLDER, [], DataManifest(digest="other", size_px=64))


def test_a_folder_without_a_manifest_is_incomplete_input(storage: Storage) -> None:
    storage.write_once(f"{FOLDER}/a", b"abc")
    with pytest.raises(WrongInputError, match=r"data/x is not complete .* run the stage that makes it first"):
        read_manifest(storage, FOLDER, DataManifest)


def test_a_folder_of_another_kind_is_wrong_input(storage: Storage) -> None:
    write_manifest(storage, FOLDER, [], ReportManifest(digest="d"))
    with pytest.raises(
        WrongInputError, match=f"{NAME}: the folder holds 'report', expected 'data'; name another folder"
    ):
        read_manifest(storage, FOLDER, DataManifest)


@pytest.mark.parametrize("file", ["../other/a", "/etc/passwd", "a/../../b", "a\0b"])
def test_a_manifest_that_names_a_file_outside_its_folder_is_refused(storage: Storage, file: str) -> None:
    stored(storage, files={file: {"size_bytes": 1, "sha256": "0" * 64}})
    with pytest.raises(StorageError, match="which is not in its folder"):
        read_manifest(storage, FOLDER, DataManifest)


@pytest.mark.parametrize("sha256", ["", "0", "../" * 21 + "a", "/etc/passwd", "A" * 64, "0" * 64 + "\n"])
def test_a_manifest_with_another_word_than_a_sha256_is_refused(storage: Storage, sha256: str) -> None:
    """Copies on this machine are named by it."""
    stored(storage, files={"a.json": {"size_bytes": 1, "sha256": sha256}})
    with pytest.raises(StorageError, match=r"files\.a\.json\.sha256"):
        read_manifest(storage, FOLDER, DataManifest)


@pytest.mark.parametrize(
    ("changes", "place"),
    [({"version": "two"}, "version"), ({"num_images": 3}, "num_images"), ({"size_px": "large"}, "size_px")],
)
def test_a_manifest_with_a_wrong_value_or_an_unknown_key_is_one_line(
    storage: Storage, changes: dict[str, object], place: str
) -> None:
    stored(storage, **changes)
    with pytest.raises(StorageError) as caught:
        read_manifest(storage, FOLDER, DataManifest)
    message = str(caught.value)
    assert message.startswith(f"{NAME} does not hold DataManifest of this version ({place}: ")
    assert message.endswith("use the version of synfundus that wrote it, or make it again")
    assert "\n" not in message


class SecondManifest(DataManifest):
    """A manifest of the same kind in its second version."""

    version: Literal[2] = 2


def test_a_manifest_of_another_version_is_refused_in_one_line_that_says_what_to_do(storage: Storage) -> None:
    stored(storage)
    with pytest.raises(StorageError) as caught:
        read_manifest(storage, FOLDER, SecondManifest)
    assert str(caught.value) == (
        f"{NAME} has version 1, and this program reads version 2; use the version of synfundus that wrote it, or delete"
        f" {FOLDER} and run the stage that makes it again"
    )


def test_a_manifest_of_a_newer_version_is_refused(storage: Storage) -> None:
    write_manifest(storage, FOLDER, [], SecondManifest(digest="d", size_px=64))
    with pytest.raises(StorageError, match="has version 2, and this program reads version 1;"):
        read_manifest(storage, FOLDER, DataManifest)


def test_a_truncated_manifest_is_one_line(storage: Storage) -> None:
    storage.write_once(NAME, b'{"kind": "da')
    with pytest.raises(StorageError, match=r"does not hold DataManifest of this version \(Invalid JSON"):
        read_manifest(storage, FOLDER, DataManifest)


def test_only_named_files_are_trusted(storage: Storage) -> None:
    manifest = write_manifest(
        storage, FOLDER, [storage.write_once(f"{FOLDER}/a", b"abc")], DataManifest(digest="d", size_px=64)
    )
    storage.write_once(f"{FOLDER}/stranger", b"abc")
    assert read_trusted(storage, FOLDER, "a", manifest) == b"abc"
    with pytest.raises(StorageError, match=f"{NAME} does not name stranger"):
        read_trusted(storage, FOLDER, "stranger", manifest)

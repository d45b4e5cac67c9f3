"""The promises of the write-once root."""

import errno
import os
import threading
from pathlib import Path

import pytest

from synfundus.errors import AlreadyExistsError, StorageError, WrongInputError
from synfundus.storage import LocalStorage, Storage, is_complete, open_storage, read_trusted, write_manifest


def test_the_same_bytes_twice_are_one_object(storage: Storage) -> None:
    first = storage.write_once("data/x/a", b"abc")
    assert storage.write_once("data/x/a", b"abc") == first
    assert storage.read("data/x/a") == b"abc"


def test_bytes_that_are_there_are_not_written_again(storage: Storage) -> None:
    """Not even for a moment: a second run leaves the times of all files and folders as they are."""
    storage.write_once("data/x/a", b"abc")
    folder = Path(storage.uri("data/x"))
    before = folder.stat().st_mtime_ns
    storage.write_once("data/x/a", b"abc")
    assert folder.stat().st_mtime_ns == before


def test_a_full_disk_is_told_when_the_root_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(StorageError, match="disk full while writing"):
        open_storage(str(tmp_path / "root"))


def test_a_root_may_be_looked_at_without_being_made(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "a" / "root"), create=False)
    assert list(storage.names("data")) == []
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(WrongInputError, match="Not a directory"):
        open_storage(str(tmp_path / "file" / "root"), create=False)


def test_other_bytes_are_refused_and_the_first_stay(storage: Storage) -> None:
    storage.write_once("data/x/a", b"abc")
    with pytest.raises(AlreadyExistsError, match="data/x/a exists with other content"):
        storage.write_once("data/x/a", b"abd")
    assert storage.read("data/x/a") == b"abc"


def test_of_two_writers_at_once_one_wins_and_the_other_says_so(storage: Storage) -> None:
    outcomes: list[str] = []
    barrier = threading.Barrier(8)

    def write(data: bytes) -> None:
        barrier.wait()
        try:
            storage.write_once("data/race", data)
            outcomes.append("won")
        except AlreadyExistsError:
            outcomes.append("lost")

    threads = [threading.Thread(target=write, args=(bytes([i]) * 1000,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 7 + ["won"]
    assert len(set(storage.read("data/race"))) == 1


def test_only_runs_is_mutable(storage: Storage) -> None:
    storage.replace("runs/x/a", b"1")
    storage.replace("runs/x/a", b"2")
    assert storage.read("runs/x/a") == b"2"
    with pytest.raises(ValueError, match="write-once"):
        storage.replace("data/a", b"1")
    with pytest.raises(ValueError, match="mutable"):
        storage.write_once("runs/a", b"1")


def test_a_full_disk_is_one_line_and_leaves_nothing(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk full while writing data/a"):
        storage.write_once("data/a", b"x" * 100)
    assert list(storage.names("data")) == []
    assert list(Path(storage.uri("data")).iterdir()) == []


def test_no_name_leaves_the_root(storage: Storage) -> None:
    for name in ("../a", "/a", "data/../../a"):
        with pytest.raises(ValueError, match="not a name below the root"):
            storage.read(name)


def test_a_folder_is_complete_with_its_manifest_only(storage: Storage) -> None:
    written = storage.write_once("data/x/a.parquet", b"abc")
    assert not is_complete(storage, "data/x")
    manifest = write_manifest(storage, "data/x", [written], {"kind": "data"})
    assert is_complete(storage, "data/x")
    assert read_trusted(storage, "data/x", "a.parquet", manifest) == b"abc"


def test_a_changed_file_is_not_trusted(storage: Storage) -> None:
    manifest = write_manifest(storage, "data/x", [storage.write_once("data/x/a", b"abc")], {})
    Path(storage.uri("data/x/a")).write_bytes(b"abd")
    with pytest.raises(StorageError, match="differs from its manifest"):
        read_trusted(storage, "data/x", "a", manifest)


def test_an_unwritable_root_is_wrong_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WrongInputError, match="root: cannot write to"):
        open_storage(str(tmp_path / "file" / "root"))


def test_a_root_may_have_spaces(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "a root"))
    assert isinstance(storage, LocalStorage)
    assert storage.root.endswith("a%20root")
    storage.write_once("data/a", b"1")
    assert (tmp_path / "a root" / "data" / "a").read_bytes() == b"1"


def test_removing_what_is_not_there_is_no_error_and_empty_folders_go(storage: Storage) -> None:
    storage.remove("runs/none/progress.json")
    storage.replace("runs/a/b/progress.json", b"{}")
    storage.remove("runs/a/b/progress.json")
    assert not Path(storage.uri("runs/a")).exists()
    with pytest.raises(ValueError, match="write-once"):
        storage.remove("data/x")

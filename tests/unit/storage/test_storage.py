"""The promises of a root, on disk and on a real S3 store."""

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from support.s3_store import BUCKET, Store, client
from synfundus.errors import AlreadyExistsError, StorageError, WrongInputError
from synfundus.storage import LocalStorage, Manifest, Storage, is_complete, open_storage, read_trusted, write_manifest
from synfundus.storage.parquet import open_parquet
from synfundus.storage.s3 import S3Storage


@pytest.fixture(params=["disk", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty root, on disk or on S3."""
    if request.param == "disk":
        return open_storage(str(tmp_path / "root"))
    request.getfixturevalue("s3_store")
    return open_storage(f"s3://{BUCKET}/{tmp_path.name}")


def overwrite(root: Storage, name: str, data: bytes) -> None:
    """Write an object without the library, as a stranger would."""
    if isinstance(root, S3Storage):
        assert root.environment.endpoint
        client(root.environment.endpoint).put_object(Bucket=root.bucket, Key=f"{root.prefix}/{name}", Body=data)
    else:
        Path(root.uri(name)).write_bytes(data)


# Every root


def test_writing_the_same_bytes_again_succeeds(root: Storage) -> None:
    first = root.write_once("data/x/a", b"abc")
    assert root.write_once("data/x/a", b"abc") == first
    assert root.read("data/x/a") == b"abc"


def test_writing_other_bytes_is_refused_and_the_first_stay(root: Storage) -> None:
    root.write_once("data/x/a", b"abc")
    with pytest.raises(AlreadyExistsError, match=r"data/x/a exists with other content below (file|s3)://"):
        root.write_once("data/x/a", b"abd")
    assert root.read("data/x/a") == b"abc"


def test_exactly_one_of_eight_concurrent_writers_wins_and_the_others_raise(
    root: Storage, request: pytest.FixtureRequest
) -> None:
    if isinstance(root, S3Storage):
        store: Store = request.getfixturevalue("s3_store")
        if not store.atomic:
            pytest.skip("moto's conditional PUT is not atomic; install versitygw")
    for race in range(10):
        outcomes: list[str] = []
        barrier = threading.Barrier(8)

        def write(data: bytes, name: str, barrier: threading.Barrier = barrier, out: list[str] = outcomes) -> None:
            barrier.wait()
            try:
                root.write_once(name, data)
                out.append("won")
            except AlreadyExistsError:
                out.append("lost")

        threads = [threading.Thread(target=write, args=(bytes([i]) * 1000, f"data/race-{race}")) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["lost"] * 7 + ["won"]
        assert len(set(root.read(f"data/race-{race}"))) == 1


def test_only_runs_is_mutable(root: Storage) -> None:
    root.replace("runs/x/a", b"1")
    root.replace("runs/x/a", b"2")
    assert root.read("runs/x/a") == b"2"
    root.remove("runs/x/a")
    root.remove("runs/x/a")
    assert not root.exists("runs/x/a")
    with pytest.raises(ValueError, match="write-once"):
        root.replace("data/a", b"1")
    with pytest.raises(ValueError, match="write-once"):
        root.remove("data/a")
    with pytest.raises(ValueError, match="mutable"):
        root.write_once("runs/a", b"1")


def test_no_name_leaves_the_root(root: Storage) -> None:
    for name in ("../a", "/a", "data/../../a", "data/a\0b"):
        with pytest.raises(ValueError, match="not a name below the root"):
            root.read(name)


def test_a_folder_is_complete_with_its_manifest_only(root: Storage) -> None:
    written = root.write_once("data/x/a.parquet", b"abc")
    assert not is_complete(root, "data/x")
    manifest = write_manifest(root, "data/x", [written], Manifest(kind="data", digest="d"))
    assert is_complete(root, "data/x")
    assert read_trusted(root, "data/x", "a.parquet", manifest) == b"abc"


def test_a_changed_file_is_not_trusted(root: Storage) -> None:
    written = root.write_once("data/x/a", b"abc")
    manifest = write_manifest(root, "data/x", [written], Manifest(kind="data", digest="d"))
    overwrite(root, "data/x/a", b"abd")
    with pytest.raises(StorageError, match="differs from its manifest"):
        read_trusted(root, "data/x", "a", manifest)


def test_names_yields_the_objects_below_a_folder(root: Storage) -> None:
    for name in ("data/x/b", "data/x/a/c", "data/x-filled/a", "data/xy"):
        root.write_once(name, b"")
    assert list(root.names("data/x")) == ["data/x/a/c", "data/x/b"]
    assert list(root.names("data/none")) == []


def test_parquet_is_read_through_arrow(root: Storage) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"n": range(1000)}), sink, row_group_size=100)
    root.write_once("data/x/a.parquet", sink.getvalue().to_pybytes())
    with root.open_input("data/x/a.parquet") as source:
        assert open_parquet(source).read_row_group(3).column("n").to_pylist() == list(range(300, 400))


def test_a_missing_object_is_an_error_of_one_line(root: Storage) -> None:
    for look in (root.read, root.open_input):
        with pytest.raises(
            StorageError, match=r"cannot read .*data/none.*(NoSuchKey|No such file|not found|404)"
        ) as caught:
            look("data/none")
        assert "\n" not in str(caught.value)
    assert not root.exists("data/none")


# A root on a disk


def test_existing_bytes_are_not_written_again(storage: Storage) -> None:
    """A second run leaves the modification times of all files and folders unchanged."""
    storage.write_once("data/x/a", b"abc")
    folder = Path(storage.uri("data/x"))
    before = folder.stat().st_mtime_ns
    storage.write_once("data/x/a", b"abc")
    assert folder.stat().st_mtime_ns == before


def test_a_full_disk_is_reported_when_the_root_is_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(StorageError, match="disk full while writing"):
        open_storage(str(tmp_path / "root"))


def test_a_root_can_be_read_without_being_created(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "a" / "root"), create=False)
    assert list(storage.names("data")) == []
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(WrongInputError, match="Not a directory"):
        open_storage(str(tmp_path / "file" / "root"), create=False)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take away the right to write to `folder`. No mode binds the user root, who gets a read-only mount, or a skip."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
    elif subprocess.run(["mount", "-o", "bind,ro", folder, folder], capture_output=True).returncode:
        pytest.skip("mount does not work here")
    try:
        yield
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", "--lazy", folder], check=True)
        else:
            folder.chmod(0o755)


def test_the_right_to_read_suffices_to_read_a_root(storage: Storage) -> None:
    """Serving a study and fetching its report write nothing below the root."""
    storage.write_once("data/a", b"1")
    folder = Path(storage.uri("."))
    with read_only(folder):
        assert open_storage(str(folder), create=False).read("data/a") == b"1"
        with pytest.raises(WrongInputError, match="root: cannot write to"):
            open_storage(str(folder))


def test_a_root_that_may_not_be_read_is_an_error_of_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: str) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(WrongInputError, match=r"root: cannot read .*/root \(Permission denied\); choose another root"):
        open_storage(str(tmp_path / "root"), create=False)


def test_a_full_disk_is_an_error_of_one_line_and_leaves_no_file(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk full while writing data/a"):
        storage.write_once("data/a", b"x" * 100)
    assert list(storage.names("data")) == []
    assert list(Path(storage.uri("data")).iterdir()) == []


def test_a_root_that_cannot_be_written_is_wrong_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WrongInputError, match="root: cannot write to"):
        open_storage(str(tmp_path / "file" / "root"))


def test_a_folder_in_the_place_of_an_object_is_an_error_of_one_line(storage: Storage) -> None:
    storage.write_once("data/x/a", b"1")
    with pytest.raises(StorageError, match=r"cannot read data/x below file://.*: Is a directory"):
        storage.write_once("data/x", b"1")


def test_the_path_of_a_root_may_contain_spaces(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "a root"))
    assert isinstance(storage, LocalStorage)
    assert storage.root.endswith("a%20root")
    storage.write_once("data/a", b"1")
    assert (tmp_path / "a root" / "data" / "a").read_bytes() == b"1"


def test_removing_a_missing_object_is_no_error_and_removing_the_last_one_removes_its_folder(storage: Storage) -> None:
    storage.remove("runs/none/progress.json")
    storage.replace("runs/a/b/progress.json", b"{}")
    storage.remove("runs/a/b/progress.json")
    assert not Path(storage.uri("runs/a")).exists()

"""Objects of S3 as files of this machine: copied once, whole or not at all, whatever happens in between."""

import errno
import multiprocessing
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.copying import Pieces, copy_all
from support.s3_proxy import Proxy, Response
from support.s3_store import BUCKET, Store, client
from support.small_disk import small_disk
from synfundus.errors import FullDiskError, StorageError
from synfundus.storage import LocalCopies, Storage, open_storage, read_manifest, write_manifest
from synfundus.storage.local_copies import UNUSED_DAYS, _locked

FOLDER = "data/p"
PIECES = {f"images-{number}.parquet": bytes([number]) * 300_000 for number in range(6)}


@pytest.fixture
def root(proxy: Proxy, tmp_path: Path) -> str:
    """A root on S3 with a complete folder."""
    root = f"s3://{BUCKET}/{tmp_path.name}"
    storage = open_storage(root)
    objects = [storage.write_once(f"{FOLDER}/{name}", data) for name, data in PIECES.items()]
    write_manifest(storage, FOLDER, objects, Pieces(digest=""))
    return root


def copies_of(root: str) -> LocalCopies:
    storage = open_storage(root, create=False)
    return LocalCopies(storage, FOLDER, read_manifest(storage, FOLDER, Pieces))


def requested(proxy: Proxy) -> list[str]:
    """Return the names of the pieces that were read, sorted."""
    return sorted(request.rpartition("/")[2] for request in proxy.requests if "GET" in request and "images-" in request)


def test_a_root_on_this_machine_needs_no_copy(storage: Storage, copies_folder: Path) -> None:
    objects = [storage.write_once(f"{FOLDER}/{name}", data) for name, data in PIECES.items()]
    copies = LocalCopies(storage, FOLDER, write_manifest(storage, FOLDER, objects, Pieces(digest="")))
    copies.copy(list(PIECES))
    assert {file: copies.path(file).read_bytes() for file in PIECES} == PIECES
    assert not copies_folder.exists()


def test_processes_of_a_machine_read_each_object_once(root: str, copies_folder: Path, proxy: Proxy) -> None:
    proxy.requests.clear()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=copy_all, args=(root, FOLDER)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert requested(proxy) == sorted(PIECES)
    assert {path.read_bytes() for path in copies_folder.iterdir()} == set(PIECES.values())
    copy_all(root, FOLDER)
    assert requested(proxy) == sorted(PIECES), "a later process reads nothing"


def test_another_dataset_with_the_same_objects_reads_nothing(root: str, copies_folder: Path, proxy: Proxy) -> None:
    storage = open_storage(root)
    copy_all(root, FOLDER)
    objects = [storage.write_once(f"data/other/{name}", data) for name, data in PIECES.items()]
    write_manifest(storage, "data/other", objects, Pieces(digest="other"))
    proxy.requests.clear()
    copy_all(root, "data/other")
    assert requested(proxy) == []
    assert len(list(copies_folder.iterdir())) == len(PIECES)


def test_a_process_that_is_killed_in_the_middle_leaves_no_wrong_copy_and_no_lock(
    root: str, copies_folder: Path, proxy: Proxy
) -> None:
    def keep_back(request: str, response: Response) -> None:
        response.kept_back = "images-3" in request

    proxy.change = keep_back
    worker = multiprocessing.get_context("spawn").Process(target=copy_all, args=(root, FOLDER))
    worker.start()
    end_s = time.monotonic() + 60
    while "images-3.parquet" not in requested(proxy) and time.monotonic() < end_s:
        time.sleep(0.05)
    worker.kill()
    worker.join()
    assert len(list(copies_folder.glob("*.part"))) >= 1, "the worker was not in the middle of a copy"
    for part in copies_folder.glob("*.part"):
        part.write_bytes(b"half an object")
    proxy.change = lambda request, response: None
    assert [path.read_bytes() for path in copy_all(root, FOLDER)] == list(PIECES.values())
    assert not list(copies_folder.glob("*.part"))


def test_a_full_disk_leaves_nothing_half_and_names_the_remedy(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", "1m"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "disk"))
        with pytest.raises(FullDiskError, match=r"disk/synfundus/objects: data/p needs 0\.0 GiB.*set XDG_CACHE_HOME"):
            copies_of(root).copy(list(PIECES))
        # Another program fills the disk after the space was counted.
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2**40, 0, 2**40))
        with pytest.raises(FullDiskError, match=r"objects: disk full while copying images-\d.parquet; free some space"):
            copies_of(root).copy(list(PIECES))
        left = list((tmp_path / "disk/synfundus/objects").iterdir())
        assert 0 < len(left) < len(PIECES)
        assert {path.read_bytes() for path in left} < set(PIECES.values())


def test_a_cache_that_cannot_be_written_names_the_remedy(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"file/synfundus/objects: cannot copy .*; set XDG_CACHE_HOME to a folder"):
        copies_of(root).copy(list(PIECES))


def test_an_object_that_differs_from_its_manifest_is_not_kept(root: str, copies_folder: Path, s3_store: Store) -> None:
    client(s3_store.endpoint).put_object(
        Bucket=BUCKET, Key=f"{root.rpartition('/')[2]}/{FOLDER}/images-2.parquet", Body=b"other"
    )
    with pytest.raises(StorageError, match=rf"{FOLDER}/images-2\.parquet differs from its manifest"):
        copies_of(root).copy(list(PIECES))
    assert bytes([2]) * 300_000 not in {path.read_bytes() for path in copies_folder.iterdir()}
    assert not list(copies_folder.glob("*.part"))


def test_a_copy_that_nothing_opened_for_two_weeks_is_removed_with_the_next_dataset(
    root: str, copies_folder: Path
) -> None:
    copies_folder.mkdir(parents=True)
    old_s = time.time() - (UNUSED_DAYS + 1) * 86_400
    for name in ("a" * 64, "b" * 64 + ".part", "c" * 64):
        (copies_folder / name).write_bytes(b"of another dataset")
        if name[0] != "c":
            os.utime(copies_folder / name, (old_s, old_s))
    for path in copy_all(root, FOLDER):
        os.utime(path, (old_s, old_s))
    assert sorted(path.name for path in copies_folder.iterdir() if path.name[1] == path.name[2]) == ["c" * 64]
    copies_of(root).copy(["images-0.parquet"])  # the others are old by now, and are copied when they are needed
    assert len(list(copies_folder.iterdir())) == 2
    assert [path.read_bytes() for path in copy_all(root, FOLDER)] == list(PIECES.values())


def test_many_holders_of_one_file_take_turns_and_never_fail(tmp_path: Path) -> None:
    """Those that wait for the lock find the file removed or made anew at any moment."""
    path, holders, most = tmp_path / "copy.part", list[int](), list[int]()

    def hold(number: int) -> None:
        with _locked(path):
            holders.append(number)
            most.append(len(holders))
            holders.remove(number)

    with ThreadPoolExecutor(16) as pool:
        assert len(list(pool.map(hold, range(20_000)))) == 20_000
    assert max(most) == 1
    assert not path.exists()


def test_only_the_owner_may_enter_the_folder_of_copies(root: str, copies_folder: Path) -> None:
    copies_folder.mkdir(parents=True)
    copies_folder.chmod(0o755)  # as a folder of before
    copies_of(root).path("images-0.parquet")
    assert copies_folder.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(copies_folder)
    copies_of(root).copy(["images-0.parquet"])
    assert copies_folder.stat().st_mode & 0o777 == 0o700


def test_each_use_of_a_copy_renews_its_time(root: str, copies_folder: Path) -> None:
    """A stage that opens the index alone copies nothing, and a training of another dataset removes what is old."""
    path = copies_of(root).path("images-0.parquet")
    os.utime(path, (1, 1))
    assert copies_of(root).path("images-0.parquet") == path
    assert path.stat().st_mtime > time.time() - 600


def test_a_copy_whose_time_cannot_be_renewed_is_used_or_copied_again(
    root: str, copies_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copies_of(root).path("images-0.parquet")

    def of_another_user(path: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))

    def emptied(path: Path) -> None:
        path.unlink(missing_ok=True)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    for utime in (of_another_user, emptied):
        monkeypatch.setattr(os, "utime", utime)
        copies_of(root).copy(["images-0.parquet"])
        assert path.read_bytes() == PIECES["images-0.parquet"]

"""Sources on a real S3 store: the same listing as on disk, few requests, and each mistake in one line."""

import io
import pickle
import shutil
import socket
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from support.release_example import RELEASE, publish_example
from support.s3_proxy import Proxy, Response, refuse
from support.s3_store import ACCESS_KEY, BUCKET, SECRET_KEY, Store, client, free_port
from support.samples_example import phantom_samples
from synfundus.environment import Environment
from synfundus.errors import StorageError, WrongInputError
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.preprocess import Rejected
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.sources import SourceConfig, SourceListing, list_source
from synfundus.fundus.sources.image_folder import ImageFolder
from synfundus.fundus.sources.place import S3Place, source_exists
from synfundus.fundus.staging import load_and_prepare
from synfundus.samples.release_config import ReleaseConfig
from synfundus.storage import LocalStorage, Storage
from synfundus.storage.client import BODY_ATTEMPTS, PROBE_ATTEMPTS, s3_client

ADAPTER: TypeAdapter[SourceConfig] = TypeAdapter(SourceConfig)
LIMIT_S = 30
"""Time within which a wrong store is reported."""
UPLOADS = 8

Upload = Callable[[Path], str]


@pytest.fixture
def upload(s3_store: Store, tmp_path: Path) -> Upload:
    """Return a function that uploads all files below a folder, hidden ones too, and returns their address."""

    def put(folder: Path) -> str:
        store = client(s3_store.endpoint)
        prefix = f"{tmp_path.name}/{folder.name}"

        def put_one(file: Path) -> None:
            store.put_object(Bucket=BUCKET, Key=f"{prefix}/{file.relative_to(folder)}", Body=file.read_bytes())

        with ThreadPoolExecutor(UPLOADS) as pool:
            list(pool.map(put_one, (file for file in folder.rglob("*") if file.is_file())))
        return f"s3://{BUCKET}/{prefix}"

    return put


def listing(layout: str, path: object, **settings: Any) -> SourceListing:
    return list_source(ADAPTER.validate_python({"layout": layout, "path": str(path), **settings}))


def put(root: Path, *names: str) -> None:
    """Write images of different bytes."""
    for shade, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (shade, 40, 10)).save(file, "PNG" if name.lower().endswith("png") else "JPEG")


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode())


def require_equal(on_disk: SourceListing, on_s3: SourceListing) -> None:
    """Compare all that a dataset depends on: names, labels, patients, splits, bytes, and everything unmatched."""

    def rows(result: SourceListing) -> list[object]:
        return [(r.name, dict(r.labels), r.patient_id, r.split, r.load()) for r in result.records]

    assert rows(on_s3) == rows(on_disk)
    assert on_disk.records
    for name in ("rows_without_image", "images_without_row", "has_patients"):
        assert getattr(on_s3, name) == getattr(on_disk, name), name


# The same listing as on disk


def test_a_folder_of_nested_images(tmp_path: Path, upload: Upload) -> None:
    root = tmp_path / "clinic"
    write(root, "labels.csv", "\ufefffile_name,dr_grade,patient_id\r\na,1,p\r\nsub/Ä #1?.jpg,,q\r\nlost.png,2,q\r\n")
    put(root, "images/a.png", "images/sub/Ä #1?.JPG", "images/sub/deep/er/b.png", "images/sub-a/c.png")
    put(root, "images/.hidden.png", "images/.thumbs/d.png", "images-old/d.png", "e.png")
    write(root, "images/notes.txt", "no image")
    on_disk, on_s3 = listing("folder", root), listing("folder", upload(root))
    require_equal(on_disk, on_s3)
    assert [r.name for r in on_s3.records] == [
        "images/a.png",
        "images/sub-a/c.png",
        "images/sub/deep/er/b.png",
        "images/sub/Ä #1?.JPG",
    ]
    assert on_s3.rows_without_image == ["labels.csv row 4: lost.png"]
    both = [listing("folder", path, images=".", csv="./labels.csv") for path in (root, upload(root) + "/")]
    require_equal(*both)


def test_names_that_a_table_writes_otherwise(tmp_path: Path, upload: Upload) -> None:
    root = tmp_path / "other"
    rows = "images/Müller.jpg,1,7\n/data/images/b.jpg,2,7.0\n1,3,007\n"
    write(root, "labels.csv", f"file_name,dr_grade,patient_id\n{rows}")
    put(root, unicodedata.normalize("NFD", "images/Müller.jpg"), "images/b.jfif", "images/sub/001.jpe")
    on_s3 = listing("folder", upload(root))
    require_equal(listing("folder", root), on_s3)
    assert (on_s3.rows_without_image, on_s3.images_without_row) == ([], [])
    assert {record.patient_id for record in on_s3.records} == {"7"}


def test_an_object_below_an_empty_folder_is_named() -> None:
    """The store of these tests keeps keys as files, which cannot have such names."""
    keys = ["b/clinic/images//b.png", "b/clinic/images/", "b/clinic/images/a.png", "b/clinic/labels.csv"]
    root = S3Place(PurePosixPath("b/clinic"), keys, Environment().s3)
    with pytest.raises(WrongInputError, match=r"^s3://b/clinic/images: the key '/b\.png' has an empty folder in it"):
        ImageFolder(root / "images", root)
    assert ImageFolder(replace(root, keys=keys[1:]) / "images", root).names == ["a.png"]


def test_a_layout_whose_table_is_searched_for(tmp_path: Path, upload: Upload) -> None:
    header = "Image name,Retinopathy grade,Risk of macular edema \r\n"
    root = tmp_path / "idrid"
    grading = root / "unpacked" / "B. Disease Grading"
    write(grading, "2. Groundtruths/a. IDRiD_Disease Grading_Training Labels.csv", f"{header}IDRiD_001,3,2\r\n")
    write(grading, "2. Groundtruths/B. idrid_Disease Grading_Testing Labels.CSV", f"{header}IDRiD_001,4,0\r\n")
    put(grading, "1. Original Images/a. Training Set/IDRiD_001.jpg", "1. Original Images/b. Testing Set/IDRiD_001.jpg")
    write(root, ".old/b. IDRiD_Disease Grading_Testing Labels.csv", header)
    write(root, "1/2/3/4/b. IDRiD_Disease Grading_Testing Labels.csv", header)
    require_equal(listing("idrid", root), listing("idrid", upload(root)))
    shutil.copytree(root / "unpacked", root / "twice")
    with pytest.raises(WrongInputError, match=r"exists more than once \(s3://.*, s3://.*\)"):
        listing("idrid", upload(root))
    inside = upload(root / "unpacked/B. Disease Grading/2. Groundtruths")
    with pytest.raises(WrongInputError, match="`path` must lie above the folder"):
        listing("idrid", inside)


def test_layouts_whose_folders_have_several_names(tmp_path: Path, upload: Upload) -> None:
    one = tmp_path / "messidor2"
    columns = "image_id,adjudicated_dr_grade,adjudicated_dme,adjudicated_gradable"
    write(one, "messidor_data.csv", f"{columns}\nIM1.jpg,2,0,1\nIM2.jpg,,,0\n")
    put(one, "Images/IM1.JPG", "Images/IM2.JPG")
    require_equal(listing("messidor2", one), listing("messidor2", upload(one)))
    write(one, "messidor-2.csv", "left;right\nIM1.JPG;IM2.JPG\n")
    paired = listing("messidor2", upload(one))
    require_equal(listing("messidor2", one), paired)
    assert paired.has_patients

    two = tmp_path / "rfmid"
    used = "ARMD,ODP,ODE,AION,ODPM,TD,CSR,CRS,PTCR,CF,ERM,BRVO,CRVO,DR,ODC,CB,ST,MNF,MS,RPEC,RS,RP,HPED,MYA"
    row = ",".join("1" if name == "ERM" else "0" for name in used.split(","))
    write(two, "Set/Training_Set/RFMiD_Training_Labels.csv", f"ID,Disease_Risk,{used}\n1,1,{row}\n")
    put(two, "Set/Training_Set/Training/1.png")
    write(two, "2. Groundtruths/c. RFMiD_Testing_Labels.csv", f"ID,Disease_Risk,{used}\n1,1,{row}\n")
    put(two, "1. Original Images/c. Testing Set/1.png")
    require_equal(*(listing("rfmid", path, keep_splits=True) for path in (two, upload(two))))


def test_a_release(storage: Storage, upload: Upload) -> None:
    phantom_samples(storage)
    config = ReleaseConfig.model_validate({"data_statement": "Phantoms.", "date_published": "2026-11-27"})
    publish_example(storage, RELEASE, config)
    assert isinstance(storage, LocalStorage)
    root = storage.path(RELEASE)
    on_disk, on_s3 = listing("release", root), listing("release", upload(root))
    require_equal(on_disk, on_s3)
    assert on_s3.origin == on_disk.origin
    reference = pickle.dumps(on_s3.records[0])
    assert SECRET_KEY.encode() not in reference
    assert ACCESS_KEY.encode() not in reference
    (root / "manifest.json").unlink()
    address = upload(root.rename(root.with_name("unfinished")))
    with pytest.raises(WrongInputError, match=f"^{address}: no manifest.json in it"):
        listing("release", address)


def npz(path: Path, size: int = 28) -> dict[str, Any]:
    rng = np.random.default_rng(size)
    arrays: dict[str, Any] = {}
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, size, size, 3), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count, dtype=np.uint8) % 5)[:, None]
    path.parent.mkdir(parents=True)
    np.savez_compressed(path, **arrays)
    return arrays


def test_retinamnist_is_one_object(tmp_path: Path, upload: Upload) -> None:
    file = tmp_path / "mnist" / "retinamnist.npz"
    arrays = npz(file)
    address = f"{upload(file.parent)}/{file.name}"
    on_s3 = listing("retinamnist", address)
    require_equal(listing("retinamnist", file), on_s3)
    record = pickle.loads(pickle.dumps(on_s3.records[6]))
    with Image.open(io.BytesIO(record.load())) as image:
        assert np.array_equal(np.asarray(image), arrays["val_images"][1])
    with pytest.raises(WrongInputError, match=r"mnist: no such file; `path` of this layout names the \.npz"):
        listing("retinamnist", address.removesuffix(f"/{file.name}"))
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(WrongInputError, match=r"s3://.*retinamnist\.npz: not an \.npz file, or truncated"):
        listing("retinamnist", f"{upload(file.parent)}/{file.name}")


# Requests and secrets


def test_2500_images_are_listed_by_few_requests_and_none_is_read(tmp_path: Path, upload: Upload, proxy: Proxy) -> None:
    root = tmp_path / "many"
    names = [f"images/{number // 10:03d}/{number:04d}.png" for number in range(2500)]
    for name in names:
        write(root, name, "not read")
    write(root, "labels.csv", "file_name,dr_grade\n" + "".join(f"{Path(name).stem},1\n" for name in names))
    result = listing("folder", upload(root))
    assert [record.name for record in result.records] == names
    # A probe of the store, three pages of a thousand, and the table twice: its header, its rows.
    assert len(proxy.requests) == 6, proxy.requests
    assert sum("labels.csv" in request for request in proxy.requests) == 2


def test_references_hold_no_secret(tmp_path: Path, upload: Upload) -> None:
    root = tmp_path / "clinic"
    write(root, "labels.csv", "file_name,dr_grade\na,1\n")
    put(root, "images/a.png")
    npz(root / "arrays" / "retinamnist.npz")
    address = upload(root)
    for result in (listing("folder", address), listing("retinamnist", f"{address}/arrays/retinamnist.npz")):
        data = pickle.dumps(result)
        for secret in (SECRET_KEY, ACCESS_KEY):
            assert secret.encode() not in data
            assert secret not in repr(result)
        assert pickle.loads(data) == result


# Mistakes


def complaint(path: str, layout: str = "folder") -> str:
    """Return the message with which a source is refused: one line, in time, without a secret."""
    start_s = time.monotonic()
    with pytest.raises(WrongInputError) as caught:
        listing(layout, path)
    assert time.monotonic() - start_s < LIMIT_S
    text = str(caught.value)
    assert "\n" not in text
    assert SECRET_KEY not in text
    assert text.startswith(path)
    return text


def test_a_wrong_address_or_layout_is_reported_in_one_line(tmp_path: Path, upload: Upload) -> None:
    assert "there is no bucket 'no-such-bucket'; create it, or correct this address" in complaint(
        "s3://no-such-bucket/x"
    )
    assert "no such folder; `path` of a source names" in complaint(f"s3://{BUCKET}/none")
    assert "no such file; `path` of this layout" in complaint(f"s3://{BUCKET}/none.npz", "retinamnist")
    assert "names no bucket" in complaint("s3:///x")
    assert "is a folder or file of this machine, or s3://bucket/prefix" in complaint("gs://fundus/x")
    root = tmp_path / "clinic"
    write(root, "labels.csv", "file_name,dr_grade\na,1\n")
    address = upload(root)
    assert "is a file, not a folder" in complaint(f"{address}/labels.csv")
    assert "/images: no such folder" in complaint(address)
    write(root, "images/notes.txt", "no image")
    assert "/images: no image in this folder" in complaint(upload(root))
    with pytest.raises(WrongInputError, match=r"other\.csv: no such file"):
        listing("folder", address, csv="other.csv")
    with pytest.raises(WrongInputError, match="must lie below the source's path"):
        listing("folder", address, images="/")
    (root / "labels.csv").write_bytes("file_name,note\nä,1\n".encode("latin-1"))
    assert "labels.csv line 2: byte 0xe4 is not UTF-8" in complaint(upload(root))


def test_a_store_that_cannot_be_listed_is_reported_in_one_line(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = f"s3://{BUCKET}/x"
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")
        assert "cannot be reached" in complaint(address)
    if s3_store.atomic:  # moto takes any credentials
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
        s3_client.cache_clear()
        assert "does not accept these credentials" in complaint(address)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    s3_client.cache_clear()
    assert "no credentials" in complaint(address)


def test_a_store_that_does_not_respond_is_reported_within_30_s(
    s3_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its port accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "cannot be reached" in complaint(f"s3://{BUCKET}/x")


def test_a_missing_right_to_list_or_to_read_the_table_is_reported_in_one_line(
    tmp_path: Path, upload: Upload, proxy: Proxy
) -> None:
    root = tmp_path / "clinic"
    write(root, "labels.csv", "file_name,dr_grade\na,1\n")
    put(root, "images/a.png")
    address = upload(root)
    proxy.change = refuse("list-type", 403, "AccessDenied")
    assert "these credentials may not list and read there (AccessDenied)" in complaint(address)
    proxy.change = refuse("labels.csv", 403, "AccessDenied")
    assert "labels.csv: cannot be read (Permission denied)" in complaint(address)
    npz(root / "arrays" / "retinamnist.npz")
    file = f"{upload(root)}/arrays/retinamnist.npz"
    proxy.change = refuse("/retinamnist.npz", 403, "AccessDenied")
    assert complaint(file, "retinamnist") == f"{file}: cannot be read (Permission denied); change its permissions"


def test_a_missing_or_forbidden_object_is_unreadable_and_a_failing_store_is_an_error(
    s3_store: Store, tmp_path: Path, upload: Upload, proxy: Proxy
) -> None:
    root = tmp_path / "clinic"
    write(root, "labels.csv", "file_name,dr_grade\na,1\n")
    put(root, "images/a.png", "images/b.png", "images/c.png")
    address = upload(root)
    gone, denied, readable = listing("folder", address).records
    config = PrepareConfig(size_px=64)
    client(s3_store.endpoint).delete_object(Bucket=BUCKET, Key=f"{tmp_path.name}/clinic/images/a.png")
    proxy.change = refuse("b.png", 403, "AccessDenied")
    for record, error, detail in (
        (gone, FileNotFoundError, "No such file or directory"),
        (denied, PermissionError, "Permission denied"),
    ):
        with pytest.raises(error):
            record.load()
        assert load_and_prepare(record, config) == (None, Rejected(ImageRejectionReason.UNREADABLE, detail))
    for code in ("InvalidAccessKeyId", "NoSuchBucket"):
        proxy.change = refuse("c.png", 404 if code == "NoSuchBucket" else 403, code)
        with pytest.raises(StorageError, match=rf"cannot read {address}/images/c\.png: .*{code}") as caught:
            load_and_prepare(readable, config)
        assert "\n" not in str(caught.value)


def test_a_broken_connection_is_repeated_a_few_times(tmp_path: Path, upload: Upload, proxy: Proxy) -> None:
    root = tmp_path / "clinic"
    write(root, "labels.csv", "file_name,dr_grade\na,1\n")
    put(root, "images/a.png")
    (record,) = listing("folder", upload(root)).records
    left = 1

    def cut(request: str, response: Response) -> None:
        nonlocal left
        if left:
            left, response.cut_to = left - 1, len(response.body) // 2

    proxy.change = cut
    assert record.load() == (root / "images/a.png").read_bytes()
    left = BODY_ATTEMPTS
    with pytest.raises(StorageError, match="cannot read s3://"):
        record.load()
    assert left == 0


def test_the_existence_of_a_source_is_found_without_listing_it(tmp_path: Path, upload: Upload, proxy: Proxy) -> None:
    root = tmp_path / "clinic"
    put(root, "images/a.png", "images-old/a.png")
    address = upload(root)
    assert source_exists(address)
    assert source_exists(f"{address}/images/a.png")
    assert len(proxy.requests) <= 4
    assert not source_exists(f"{address}/imag")


def test_the_existence_of_a_source_is_reported_within_30_s(
    tmp_path: Path, upload: Upload, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit holds for a store that stops responding after its first response, too."""
    put(tmp_path / "clinic", "images/a.png")
    address = upload(tmp_path / "clinic")
    monkeypatch.setattr("synfundus.storage.client.PROBE_READ_TIMEOUT_S", 2)

    def keep_back(request: str, response: Response) -> None:
        response.kept_back = len(proxy.requests) > 1

    proxy.change = keep_back
    with pytest.raises(WrongInputError, match="cannot be reached"):
        source_exists(address)
    assert len(proxy.requests) == 1 + PROBE_ATTEMPTS

"""A study on S3: only `root` and the paths of the sources differ from one on disk; the written bytes are equal."""

import json
import shutil
from pathlib import Path

import pytest

from support.fundus_photographs import encoded, photograph
from support.s3_store import ACCESS_KEY, BUCKET, SECRET_KEY, Store, client
from support.tiny_study import NAME, OUTPUTS, PHANTOMS, FinishedStudy, run_here
from synfundus.storage import Storage, open_storage

pytestmark = pytest.mark.usefixtures("ray_session", "patient_key")
Capture = pytest.CaptureFixture[str]

NUM_PHOTOGRAPHS = 12


def test_a_study_on_s3_writes_the_bytes_that_it_writes_on_a_disk(
    capsys: Capture, finished_study: FinishedStudy, s3_store: Store, tmp_path: Path
) -> None:
    """The study starts from a dataset that was prepared elsewhere: it has neither sources nor a record of the run.

    A manifest names every object with its SHA-256, so equal manifests mean equal objects. Annotator and copy detector
    are copied: the generator is trained as they are, and each training takes a minute.
    """
    root = f"s3://{BUCKET}/{tmp_path.name}"
    file = tmp_path / "tiny.yaml"
    text = PHANTOMS.replace("root: root", f"root: {root}")
    start, end = text.index("  sources:"), text.index("  prepare:")
    file.write_text(text[:start] + f"  sources: []\n  prepared: {NAME}\n" + text[end:])
    early = run_here(capsys, "study", "run", file)
    assert early.code == 2
    assert f"data.prepared: data/{NAME} is not complete below {root}" in early.error_line
    storage = open_storage(root)
    for stage in ("prepare", "train-annotator", "train-copy-detector"):
        _upload(finished_study.root, OUTPUTS[stage], storage)
    outcome = run_here(capsys, "study", "run", file)
    assert outcome.code == 0, outcome.err
    assert f"{root}/releases/{NAME}" in outcome.out
    for stage, folder in OUTPUTS.items():
        on_s3 = storage.read(f"{folder}/manifest.json")
        on_disk = (finished_study.root / folder / "manifest.json").read_bytes()
        if stage in ("evaluate", "publish"):  # images prepared elsewhere count as photographs, not as phantoms
            assert json.loads(on_s3)["files"].keys() == json.loads(on_disk)["files"].keys(), folder
        else:
            assert on_s3 == on_disk, folder
    for name in storage.names("runs"):
        assert SECRET_KEY.encode() not in storage.read(name), name

    checked = run_here(capsys, "doctor", file)
    assert f"{root}: writable, honours the conditional PUT" in checked.out


def _upload(root: Path, folder: str, storage: Storage) -> None:
    """Copy a complete folder; its manifest comes last."""
    files = [path for path in (root / folder).rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.name == "manifest.json"):
        storage.write_once(path.relative_to(root).as_posix(), path.read_bytes())


def _clinic(folder: Path) -> list[str]:
    """Write photographs of six patients, one broken and one duplicate, and return their names below `folder`."""
    lines = ["file_name,patient_id,dr_grade,is_fundus"]
    for i in range(NUM_PHOTOGRAPHS):
        file = folder / "images" / f"Ward {i % 3}" / f"eye {i:02d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(photograph(i), "JPEG", quality=92))
        lines.append(f"{file.name},Doe-{i // 2},{i % 5},1")
    (folder / "images" / "broken.png").write_bytes(b"words")
    shutil.copy(folder / "images/Ward 0/eye 00.jpg", folder / "images/again.jpg")
    (folder / "labels.csv").write_text("\n".join([*lines, "lost.jpg,Doe-9,1,1"]))
    return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]


def test_photographs_on_s3_give_the_dataset_that_they_give_on_a_disk(
    capsys: Capture, s3_store: Store, tmp_path: Path
) -> None:
    """Equal manifests mean equal objects. Once prepared, the photographs may be deleted, on S3 as on disk."""
    names, prefix = _clinic(tmp_path / "clinic"), f"{tmp_path.name}/clinic"
    store = client(s3_store.endpoint)
    for name in names:
        store.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=(tmp_path / "clinic" / name).read_bytes())
    file = tmp_path / "eyes.yaml"
    file.write_text(
        "recipe: phantom-cpu\nname: eyes\nroot: root\ndata:\n  sources: [{layout: folder, path: clinic}]\n"
        "  prepare: {size_px: 32, shard_rows: 8}\n"
    )
    root = f"s3://{BUCKET}/{tmp_path.name}/root"
    on_s3 = ("--set", f"root={root}", "--set", f"data.sources.0.path=s3://{BUCKET}/{prefix}")
    for settings in ((), on_s3):
        outcome = run_here(capsys, "prepare", file, *settings)
        assert outcome.code == 0, outcome.err
        for secret in (SECRET_KEY, ACCESS_KEY):
            assert secret not in outcome.out + outcome.err
    storage = open_storage(root)
    manifest = storage.read("data/eyes/manifest.json")
    assert manifest == (tmp_path / "root/data/eyes/manifest.json").read_bytes()
    assert json.loads(manifest)["rejected"]["exact_duplicate"] == 1
    for name in storage.names("runs"):
        assert SECRET_KEY.encode() not in storage.read(name), name

    for name in names:
        store.delete_object(Bucket=BUCKET, Key=f"{prefix}/{name}")
    again = run_here(capsys, "prepare", file, *on_s3)
    assert again.code == 0, again.err
    assert f"no longer at s3://{BUCKET}/{prefix}; the prepared images are used as they are" in again.out

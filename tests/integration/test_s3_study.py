"""The same study on an S3 root: only `root` changes, and what is written does not."""

from pathlib import Path

import pytest

from s3_store import BUCKET, SECRET_KEY, Store
from synfundus.storage import open_storage
from tiny_study import NAME, OUTPUTS, PHANTOMS, FinishedStudy, run_here

pytestmark = pytest.mark.usefixtures("ray_session", "patient_key")
Capture = pytest.CaptureFixture[str]


def test_a_study_on_s3_writes_the_bytes_that_it_writes_on_a_disk(
    capsys: Capture, finished_study: FinishedStudy, s3_store: Store, tmp_path: Path
) -> None:
    """A manifest names every object with its SHA-256, so equal manifests are equal objects."""
    root = f"s3://{BUCKET}/{tmp_path.name}"
    file = tmp_path / "tiny.yaml"
    file.write_text(PHANTOMS.replace("root: root", f"root: {root}"))
    outcome = run_here(capsys, "study", "run", file)
    assert outcome.code == 0, outcome.err
    assert f"{root}/releases/{NAME}" in outcome.out
    storage = open_storage(root)
    for folder in OUTPUTS.values():
        ours, theirs = storage.read(f"{folder}/manifest.json"), (finished_study.root / folder / "manifest.json")
        assert ours == theirs.read_bytes(), folder
    for name in storage.names("runs"):
        assert SECRET_KEY.encode() not in storage.read(name), name

    told = run_here(capsys, "doctor", file)
    assert f"{root}: writable, honours the conditional PUT" in told.out


def test_a_study_may_start_from_a_dataset_that_was_prepared_elsewhere(
    capsys: Capture, finished_study: FinishedStudy, s3_store: Store, tmp_path: Path
) -> None:
    """Nothing but the prepared images is there: no sources, no `runs/`."""
    root = f"s3://{BUCKET}/{tmp_path.name}"
    file = tmp_path / "tiny.yaml"
    text = PHANTOMS.replace("root: root", f"root: {root}")
    start, end = text.index("  sources:"), text.index("  prepare:")
    file.write_text(text[:start] + f"  sources: []\n  prepared: {NAME}\n" + text[end:])
    early = run_here(capsys, "study", "run", file)
    assert early.code == 2
    assert f"data.prepared: data/{NAME} is not complete below {root}" in early.error_line
    storage = open_storage(root)
    for path in sorted((finished_study.root / "data" / NAME).iterdir(), key=lambda path: path.name == "manifest.json"):
        storage.write_once(f"data/{NAME}/{path.name}", path.read_bytes())
    prepared = run_here(capsys, "prepare", file)
    assert prepared.code == 0, prepared.err
    trained = run_here(capsys, "train-annotator", file)
    assert trained.code == 0, trained.err
    folder = OUTPUTS["train-annotator"]
    assert storage.read(f"{folder}/manifest.json") == (finished_study.root / folder / "manifest.json").read_bytes()

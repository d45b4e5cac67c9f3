"""A full disk is one line and exit code 1, and the same command completes once there is room."""

import shutil
import subprocess
from pathlib import Path

import pytest

from support.clinic import refused
from support.failing_storage import FullDisk
from support.small_disk import small_disk
from support.tiny_study import OUTPUTS, FinishedStudy, copy_before, manifests, run_here
from synfundus.storage import Storage, open_storage
from synfundus_jobs import stages

pytestmark = pytest.mark.usefixtures("patient_key")

Capture = pytest.CaptureFixture[str]


def enlarge(folder: Path, size: str) -> None:
    """Give a mounted file system another size."""
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("verb", "full_at"),
    [
        ("fill", ["images-00001.parquet"]),
        ("sample", ["shards/shard-00001.parquet", "verification.json"]),
        ("evaluate", ["public.html"]),
        ("publish", ["croissant.json"]),
    ],
)
def test_a_full_disk_is_one_line_and_the_same_command_completes(
    capsys: Capture,
    finished_study: FinishedStudy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    full_at: list[str],
) -> None:
    root = tmp_path / "copy"
    copy_before(finished_study, root, verb)
    command = (verb, finished_study.file, "--set", f"root={root}")
    for name in full_at:

        def full(root: str, *, create: bool = True, name: str = name) -> Storage:
            return FullDisk(open_storage(root, create=create).root, name)

        with monkeypatch.context() as patch:
            patch.setattr(stages, "open_storage", full)
            outcome = run_here(capsys, *command)
        assert outcome.code == 1
        assert outcome.error_line.startswith("error: disk full while writing ")
        assert outcome.error_line.endswith(name)
        assert not (root / OUTPUTS[verb] / "manifest.json").exists()
    assert run_here(capsys, *command).code == 0
    folder = OUTPUTS[verb]
    assert manifests(root, [folder]) == manifests(finished_study.root, [folder])


@pytest.mark.usefixtures("ray_session")
def test_prepare_stops_on_a_real_full_disk_and_completes_once_there_is_room(
    capsys: Capture, finished_study: FinishedStudy, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "300k"):
        command = ("prepare", finished_study.file, "--set", f"root={disk / 'root'}")
        outcome = run_here(capsys, *command)
        assert outcome.code == 1
        assert "disk full while writing " in outcome.error_line
        assert "free some space and run the same command again" in outcome.error_line
        assert not (disk / "root" / OUTPUTS["prepare"] / "manifest.json").exists()
        enlarge(disk, "50m")
        assert run_here(capsys, *command).code == 0
        folder = OUTPUTS["prepare"]
        assert manifests(disk / "root", [folder]) == manifests(finished_study.root, [folder])


@pytest.mark.usefixtures("ray_session")
def test_a_training_completes_after_a_wrong_architecture_and_after_a_real_full_disk(
    capsys: Capture, finished_study: FinishedStudy, tmp_path: Path
) -> None:
    """A worker reports the wrong architecture. Ray Train, not this package, writes the checkpoints."""
    disk = tmp_path / "disk"
    with small_disk(disk, "20m"):
        shutil.copytree(finished_study.root / OUTPUTS["prepare"], disk / "root" / OUTPUTS["prepare"])
        command = ("train-annotator", finished_study.file, "--set", f"root={disk / 'root'}")
        wrong = refused(capsys, *command, "--set", "annotator.architecture=resnet11t", root=disk / "root")
        assert "architecture" in wrong
        assert "resnet11t" in wrong
        outcome = run_here(capsys, *command)
        assert outcome.code == 1
        assert "disk full while " in outcome.error_line
        assert "free some space and run the same command again" in outcome.error_line
        enlarge(disk, "500m")
        assert run_here(capsys, *command).code == 0
        folder = OUTPUTS["train-annotator"]
        assert manifests(disk / "root", [folder]) == manifests(finished_study.root, [folder])


def test_a_disk_without_room_for_the_root_itself_is_a_full_disk(capsys: Capture, clinic: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "8k,nr_inodes=1"):
        outcome = run_here(capsys, "doctor", clinic, "--set", f"root={disk / 'root'}")
        assert outcome.code == 1
        assert "disk full" in outcome.error_line

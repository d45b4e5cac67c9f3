"""The command line: wrong input is one line and exit code 2, nothing is half-written; a full disk is exit code 1."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.failing_storage import FullDisk
from support.fundus_photographs import encoded, photograph
from support.tiny_study import (
    MODELS,
    NAME,
    OUTPUTS,
    FinishedStudy,
    Outcome,
    copy_before,
    listing,
    manifests,
    run_here,
    run_process,
)
from synfundus.storage import Storage, open_storage
from synfundus_jobs import job
from synfundus_jobs.cli import VERBS

pytestmark = pytest.mark.usefixtures("patient_key")

Capture = pytest.CaptureFixture[str]
FOLDER_STUDY = f"""\
recipe: real-64
name: {NAME}
root: root
data:
  sources: [{{layout: folder, path: clinic, patient_column: patient_id}}]
  prepare: {{size_px: 32, shard_rows: 4}}
{MODELS}release: {{data_statement: Phantoms in photographs' clothing.}}
"""
CHANGES = {
    "prepare": ("data.prepare.split_seed", 5),
    "train-annotator": ("annotator.seed", 5),
    "train-generator": ("generator.seed", 5),
    "sample": ("samples.seed", 5),
    "evaluate": ("evaluation.seed", 5),
    "publish": ("release.version", "2.0.0"),
}
"""A setting of each stage that has any, with another value."""


def write_labels(folder: Path, rows: list[dict[str, object]], columns: tuple[str, ...] = ()) -> None:
    names = columns or ("file_name", "patient_id", "eye_side", "dr_grade")
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def good_rows(number: int = 6) -> list[dict[str, object]]:
    return [
        {"file_name": f"{i}.png", "patient_id": f"p{i // 2}", "eye_side": i % 2, "dr_grade": i % 5}
        for i in range(number)
    ]


@pytest.fixture(scope="module")
def six_photographs() -> list[bytes]:
    return [encoded(photograph(i)) for i in range(6)]


@pytest.fixture
def clinic(tmp_path: Path, six_photographs: list[bytes]) -> Path:
    """A study of six photographs with a table: the study's file."""
    images = tmp_path / "clinic" / "images"
    images.mkdir(parents=True)
    for i, data in enumerate(six_photographs):
        (images / f"{i}.png").write_bytes(data)
    write_labels(tmp_path / "clinic", good_rows())
    (tmp_path / "clinic.yaml").write_text(FOLDER_STUDY)
    return tmp_path / "clinic.yaml"


def refused(capsys: Capture, *argv: object, root: Path | None = None) -> str:
    """The one line of a command that must be wrong input and must leave everything below the root as it was."""
    before = listing(root, "runs") if root else {}
    outcome = run_here(capsys, *argv)
    assert (outcome.code, outcome.out) == (2, ""), outcome
    if root:
        assert listing(root, "runs") == before
    return outcome.error_line


# What a study says


@pytest.mark.parametrize("verb", ["prepare", "train-annotator", "study run", "study check", "study show"])
def test_a_misspelt_key_is_told_with_the_nearest_and_nothing_is_made(capsys: Capture, clinic: Path, verb: str) -> None:
    clinic.write_text(FOLDER_STUDY.replace("num_steps: 60", "num_step: 60"))
    said = refused(capsys, *verb.split(), clinic)
    assert said == f"error: {clinic}: generator: unknown key 'num_step'; did you mean 'num_steps'?"
    assert not (clinic.parent / "root").exists()


def test_a_study_of_a_newer_version_asks_for_an_upgrade(capsys: Capture, clinic: Path) -> None:
    clinic.write_text("version: 2\n" + FOLDER_STUDY)
    assert refused(capsys, "study", "run", clinic).endswith("(1); upgrade synfundus")


def test_a_missing_data_statement_names_the_key(capsys: Capture, clinic: Path) -> None:
    clinic.write_text(FOLDER_STUDY.replace("data_statement: ", "title: "))
    assert refused(capsys, "study", "run", clinic) == f"error: {clinic}: release.data_statement: this key is required"


def test_no_such_study_and_no_such_verb(capsys: Capture, tmp_path: Path) -> None:
    assert "synfundus study init" in refused(capsys, "prepare", tmp_path / "none.yaml")
    assert "synfundus study init" in refused(capsys, "doctor", tmp_path / "none.yaml")
    assert (
        refused(capsys, "train-generater", "x") == "error: no verb 'train-generater'; did you mean 'train-generator'?"
    )
    assert "--help" in refused(capsys, "study")
    assert "--help" in refused(capsys, "fill")


def test_an_override_that_is_none_is_one_line(capsys: Capture, clinic: Path) -> None:
    assert "--set generator.seed=[: the value is not valid YAML" in refused(
        capsys, "prepare", clinic, "--set", "generator.seed=["
    )


# What the sources say


@pytest.mark.parametrize("verb", ["prepare", "prepare --dry-run", "study check", "study run"])
def test_a_missing_column_names_file_and_column(capsys: Capture, clinic: Path, verb: str) -> None:
    write_labels(clinic.parent / "clinic", [], ("image", "patient_id", "eye_side"))
    command, *options = verb.split()
    said = refused(capsys, command, *([options.pop(0)] if command == "study" else []), clinic, *options)
    assert str(clinic.parent / "clinic" / "labels.csv") in said
    assert "file_name" in said


def test_a_label_out_of_range_names_the_row(capsys: Capture, clinic: Path) -> None:
    rows = good_rows()
    rows[3]["dr_grade"] = 7
    write_labels(clinic.parent / "clinic", rows)
    said = refused(capsys, "study", "run", clinic)
    assert "labels.csv" in said
    assert "row 5" in said
    assert "dr_grade" in said
    assert "7" in said
    assert "0 to 4" in said


def test_an_empty_folder_is_told(capsys: Capture, clinic: Path) -> None:
    shutil.rmtree(clinic.parent / "clinic" / "images")
    (clinic.parent / "clinic" / "images").mkdir()
    said = refused(capsys, "prepare", clinic)
    assert "clinic/images" in said
    assert "image" in said


@pytest.mark.usefixtures("ray_session")
def test_nothing_left_is_told_and_a_mended_study_goes_on(capsys: Capture, clinic: Path) -> None:
    said = refused(capsys, "prepare", clinic, "--set", "data.prepare.min_field_px=5000", root=clinic.parent / "root")
    assert "none of 6 images is left (6 too_small)" in said
    assert "check the sources and data.prepare" in said
    assert run_here(capsys, "prepare", clinic).code == 0


@pytest.mark.usefixtures("ray_session")
def test_prepared_images_do_not_need_their_photographs_any_more(capsys: Capture, clinic: Path) -> None:
    assert run_here(capsys, "prepare", clinic).code == 0
    before = listing(clinic.parent / "root")
    (clinic.parent / "clinic").rename(clinic.parent / "away")
    again = run_here(capsys, "prepare", clinic)
    assert (again.code, again.complaints) == (0, [])
    assert "the prepared images are used as they are" in again.out
    assert listing(clinic.parent / "root") == before
    assert "another configuration" in refused(capsys, "prepare", clinic, "--set", "data.prepare.split_seed=5")


@pytest.mark.usefixtures("ray_session")
def test_files_that_were_mended_in_place_are_looked_at_again(capsys: Capture, clinic: Path) -> None:
    folder = clinic.parent / "clinic" / "images"
    good = {path: path.read_bytes() for path in folder.iterdir()}
    for path in good:
        path.write_bytes(b"not yet fetched")
    assert "none of 6 images is left" in refused(capsys, "prepare", clinic, root=clinic.parent / "root")
    for path, data in good.items():
        path.write_bytes(data)
    assert run_here(capsys, "prepare", clinic).code == 0


@pytest.mark.usefixtures("ray_session")
def test_rows_without_image_and_images_without_row_are_counted_and_listed(capsys: Capture, clinic: Path) -> None:
    write_labels(clinic.parent / "clinic", [*good_rows(5), {"file_name": "lost.png", "patient_id": "p9"}])
    checked = run_here(capsys, "study", "check", clinic)
    assert "6 images, 1 rows without image, 1 images without row, patients known" in checked.out
    outcome = run_here(capsys, "prepare", clinic)
    assert (outcome.code, outcome.complaints) == (0, [])
    assert "1 rows without image, 1 images without row; named in rejected.json" in outcome.out
    report = (clinic.parent / "root" / OUTPUTS["prepare"] / "rejected.json").read_text()
    assert "lost.png" in report
    assert "5.png" in report


# What a late stage would stumble over


@pytest.mark.parametrize("verb", ["run", "check"])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["evaluation.inception_weights=none.pth"], "evaluation.inception_weights: "),
        (["evaluation.inception_weights=clinic/labels.csv"], "has SHA-256"),
        (["external_annotator={predictions: p.csv, columns: {is_gc: gc}}"], "external_annotator."),
        (["generator.init_from=none.safetensors"], "generator.init_from: cannot read"),
        (["samples.solver.num_steps=2000"], "samples.solver.num_steps: 2000 is more than the 1000"),
        (["data.prepare.split_fractions={train: 1, validation: 0, test: 0}"], "without held-out photographs"),
        (["annotator.init_from=none.safetensors"], "annotator.init_from: cannot read"),
        (["generator.unet.size_px=64"], "generator.unet.size_px: is 64, data.prepare.size_px is 32; make them equal"),
        (["generator.num_workers=3"], "generator.batch_size: 8 does not divide into 3 workers"),
    ],
)
def test_a_late_stages_mistake_is_refused_before_any_work(
    capsys: Capture, clinic: Path, verb: str, settings: list[str], said: str
) -> None:
    (clinic.parent / "p.csv").write_text("image_id,gc\n0123456789abcdef,0.5\n")
    overrides = [part for setting in settings for part in ("--set", setting)]
    assert said in refused(capsys, "study", verb, clinic, *overrides, root=clinic.parent / "root")
    assert not list((clinic.parent / "root").glob("*"))


def test_a_table_cannot_annotate_samples_and_says_what_can(capsys: Capture, clinic: Path) -> None:
    (clinic.parent / "p.csv").write_text("image_id,gc\n0123456789abcdef,0.5\n")
    external = "external_annotator={predictions: p.csv, columns: {is_gc: gc}}"
    said = refused(capsys, "study", "run", clinic, "--set", external)
    assert "can neither annotate new images" in said
    assert "train an annotator or name an external model" in said


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_a_wrong_inception_file_stops_evaluate_before_it_begins(
    capsys: Capture, finished_study: FinishedStudy, tmp_path: Path, options: list[str]
) -> None:
    root = tmp_path / "copy"
    copy_before(finished_study, root, "evaluate")
    wrong = tmp_path / "weights.pth"
    wrong.write_bytes(b"not these")
    for named, said in ((wrong, "has SHA-256"), (tmp_path / "none.pth", "cannot be read (No such file or directory)")):
        settings = ["--set", f"root={root}", "--set", f"evaluation.inception_weights={named}"]
        line = refused(capsys, "evaluate", finished_study.file, *settings, *options, root=root)
        assert f"evaluation.inception_weights: {named} {said}" in line
        assert "or leave the key out" in line


# Where it writes


@pytest.mark.parametrize("verb", [["prepare"], ["study", "run"], ["doctor"]])
def test_an_unwritable_root_is_told(capsys: Capture, clinic: Path, verb: list[str]) -> None:
    (clinic.parent / "file").touch()
    for root in ("/proc/synfundus", clinic.parent / "file" / "root"):
        outcome = run_here(capsys, *verb, clinic, "--set", f"root={root}")
        assert outcome.code == 2
        assert f"root: cannot write to {root}" in outcome.error_line
        assert outcome.error_line.endswith("choose another root in the study file")


def test_a_scheme_that_is_not_supported_is_told(capsys: Capture, clinic: Path) -> None:
    assert "scheme 'gopher'" in refused(capsys, "prepare", clinic, "--set", "root=gopher://there")


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("verb", list(CHANGES))
def test_a_name_reused_with_another_configuration_names_the_key(
    capsys: Capture, finished_study: FinishedStudy, verb: str
) -> None:
    key, value = CHANGES[verb]
    before = listing(finished_study.root)
    said = refused(capsys, verb, finished_study.file, "--set", f"{key}={value}")
    assert listing(finished_study.root) == before
    assert key in said, said
    assert str(value) in said
    assert "give the study another name" in said


# Full disk


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
            patch.setattr(job, "open_storage", full)
            outcome = run_here(capsys, *command)
        assert outcome.code == 1
        assert outcome.error_line.startswith("error: disk full while writing ")
        assert outcome.error_line.endswith(name)
        assert not (root / OUTPUTS[verb] / "manifest.json").exists()
    assert run_here(capsys, *command).code == 0
    folder = OUTPUTS[verb]
    assert manifests(root, [folder]) == manifests(finished_study.root, [folder])


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A real file system of this size, or a skip that says why there is none."""
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("not root: a file system of a given size cannot be mounted")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"mount does not work here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # a worker may still be closing its files


def enlarge(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)


@pytest.mark.usefixtures("ray_session")
def test_a_disk_that_is_really_full_stops_prepare_and_it_completes_once_freed(
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
def test_a_training_completes_after_what_its_worker_found_wrong_and_a_disk_that_is_really_full(
    capsys: Capture, finished_study: FinishedStudy, tmp_path: Path
) -> None:
    """Its checkpoints are written by Ray Train, not by our storage."""
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


# Help, dry runs, and the rest


def test_help_of_every_verb(capsys: Capture) -> None:
    top = run_here(capsys, "--help")
    assert top.code == 0
    for verb, title in VERBS.items():
        assert f"  {verb} " in top.out
        assert title in top.out
        outcome = run_here(capsys, verb, "--help")
        assert (outcome.code, outcome.complaints) == (0, [])
        assert f"usage: synfundus {verb}" in outcome.out
    assert set(OUTPUTS) < set(VERBS)
    for verb in ("init", "show", "check", "run"):
        assert "FILE" in run_here(capsys, "study", verb, "--help").out
    assert run_here(capsys).code == 2
    assert run_here(capsys, "--version").out.startswith("synfundus ")


@pytest.mark.parametrize("verb", [*OUTPUTS, "study run"])
def test_a_dry_run_says_much_and_writes_nothing(capsys: Capture, finished_study: FinishedStudy, verb: str) -> None:
    before = listing(finished_study.root)
    outcome = run_here(capsys, *verb.split(), finished_study.file, "--dry-run")
    assert (outcome.code, outcome.complaints) == (0, [])
    assert listing(finished_study.root) == before
    for stage in OUTPUTS if verb == "study run" else [verb]:
        assert f"{stage} would" in outcome.out
        assert OUTPUTS[stage] in outcome.out
    assert "later" not in outcome.out


@pytest.mark.parametrize("verb", ["prepare", "train-annotator", "fill", "train-generator", "study run", "study check"])
def test_without_a_root_a_dry_run_makes_none(capsys: Capture, clinic: Path, verb: str) -> None:
    command = [*verb.split(), clinic] + ([] if verb == "study check" else ["--dry-run"])
    before = listing(clinic.parent)
    outcome = run_here(capsys, *command)
    assert (outcome.code, outcome.complaints) == (0, [])
    assert listing(clinic.parent) == before
    assert verb != "study run" or "later" in outcome.out


@pytest.mark.parametrize("verb", ["sample", "evaluate", "publish"])
def test_a_stage_before_its_time_says_what_is_missing(capsys: Capture, clinic: Path, verb: str) -> None:
    said = refused(capsys, verb, clinic, "--dry-run")
    assert "is not complete" in said
    assert "run the stage that makes it first" in said


def test_study_init_writes_a_file_that_check_understands(capsys: Capture, clinic: Path) -> None:
    file = clinic.parent / "My 1st Süd-Study.yaml"
    outcome = run_here(capsys, "study", "init", file)
    assert outcome.code == 0
    assert f"synfundus study check {file}" in outcome.out
    text = file.read_text()
    assert "name: my-1st-s-d-study\n" in text
    assert "photographs" in refused(capsys, "study", "check", file), "the photographs are not there yet"
    (clinic.parent / "clinic").rename(clinic.parent / "photographs")
    checked = run_here(capsys, "study", "check", file)
    assert checked.code == 0
    assert "6 images, 0 rows without image, 0 images without row, patients known" in checked.out
    assert "study my-1st-s-d-study is sound" in checked.out
    assert "exists; choose another name" in refused(capsys, "study", "init", file)
    assert file.read_text() == text
    assert "did you mean 'small-128'?" in refused(capsys, "study", "init", clinic.parent / "b", "--recipe", "small")


def test_study_show_round_trips(capsys: Capture, clinic: Path) -> None:
    shown = run_here(capsys, "study", "show", clinic, "--set", "generator.num_steps=9").out
    (clinic.parent / "elsewhere").mkdir()
    again = clinic.parent / "elsewhere" / "shown.yaml"
    again.write_text(shown)
    assert run_here(capsys, "study", "show", again).out == shown
    assert "num_steps: 9" in shown


def test_doctor_tells_of_the_machine_and_tries_the_root(capsys: Capture, clinic: Path) -> None:
    alone = run_here(capsys, "doctor")
    assert (alone.code, alone.err) == (0, "")
    for name in ("processor", "GPU", "torch", "ray"):
        assert name in alone.out
    outcome = run_here(capsys, "doctor", clinic)
    assert outcome.code == 0
    assert "write-once holds" in outcome.out
    assert "from SYNFUNDUS_PATIENT_KEY" in outcome.out
    assert listing(clinic.parent / "root") == {}, "the probe is gone"


def by_name(module: str, *argv: object) -> Outcome:
    command = [sys.executable, "-m", module, *map(str, argv)]
    done = subprocess.run(command, capture_output=True, text=True)
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_a_job_is_launched_by_name(finished_study: FinishedStudy) -> None:
    """As a cluster's entrypoint does it."""
    before = listing(finished_study.root)
    outcome = by_name("synfundus_jobs.train_generator", finished_study.file, "--dry-run")
    assert (outcome.code, outcome.complaints) == (0, [])
    assert "60 steps of 8 images" in outcome.out
    wrong = by_name("synfundus_jobs.evaluate", finished_study.file, "--set", "evaluation.sed=1")
    assert wrong.code == 2
    assert wrong.error_line.endswith("evaluation: unknown key 'sed'; did you mean 'seed'?")
    assert listing(finished_study.root) == before


def test_the_console_script_ends_with_the_jobs_code(tmp_path: Path) -> None:
    outcome = run_process("prepare", tmp_path / "none.yaml")
    assert outcome.code == 2
    assert "cannot read study" in outcome.error_line

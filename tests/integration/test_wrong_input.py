"""Wrong input is one line and exit code 2, before any work, and nothing is half-written."""

import shutil
from pathlib import Path

import pytest

from support.clinic import STUDY, good_rows, refused, write_table
from support.tiny_study import FinishedStudy, copy_before, listing, run_here

pytestmark = pytest.mark.usefixtures("patient_key")

Capture = pytest.CaptureFixture[str]
CHANGES = {
    "prepare": ("data.prepare.split_seed", 5),
    "train-annotator": ("annotator.seed", 5),
    "train-copy-detector": ("copy_detector.seed", 5),
    "train-generator": ("generator.seed", 5),
    "sample": ("samples.seed", 5),
    "evaluate": ("evaluation.seed", 5),
    "publish": ("release.version", "2.0.0"),
}
"""A setting of each stage that has any, with another value."""


# The study file


@pytest.mark.parametrize("verb", ["prepare", "train-annotator", "study run", "study check", "study show"])
def test_a_misspelt_key_is_refused_with_the_nearest_one(capsys: Capture, clinic: Path, verb: str) -> None:
    clinic.write_text(STUDY.replace("num_steps: 60", "num_step: 60"))
    message = refused(capsys, *verb.split(), clinic)
    assert message == f"error: {clinic}: generator: unknown key 'num_step'; did you mean 'num_steps'?"
    assert not (clinic.parent / "root").exists()


def test_a_study_of_a_newer_version_asks_for_an_upgrade(capsys: Capture, clinic: Path) -> None:
    clinic.write_text("version: 2\n" + STUDY)
    assert refused(capsys, "study", "run", clinic).endswith("(1); upgrade synfundus")


def test_a_missing_data_statement_names_the_key(capsys: Capture, clinic: Path) -> None:
    clinic.write_text(STUDY.replace("data_statement: ", "title: "))
    assert refused(capsys, "study", "run", clinic) == f"error: {clinic}: release.data_statement: this key is required"


@pytest.mark.parametrize("verb", ["prepare", "doctor", "study run"])
def test_a_study_file_that_does_not_exist_is_refused_with_the_verb_that_writes_one(
    capsys: Capture, tmp_path: Path, verb: str
) -> None:
    message = refused(capsys, *verb.split(), tmp_path / "none.yaml")
    assert str(tmp_path / "none.yaml") in message
    assert "synfundus study init" in message


def test_an_override_that_is_not_yaml_is_one_line(capsys: Capture, clinic: Path) -> None:
    message = refused(capsys, "prepare", clinic, "--set", "generator.seed=[")
    assert "--set generator.seed=[: the value is not valid YAML" in message


# The sources


@pytest.mark.parametrize("verb", ["prepare", "prepare --dry-run", "study check", "study run"])
def test_a_missing_column_names_file_and_column(capsys: Capture, clinic: Path, verb: str) -> None:
    write_table(clinic.parent / "clinic", [], ("image", "patient_id", "eye_side"))
    words = [word for word in verb.split() if not word.startswith("--")]
    options = [word for word in verb.split() if word.startswith("--")]
    message = refused(capsys, *words, clinic, *options)
    assert str(clinic.parent / "clinic" / "labels.csv") in message
    assert "file_name" in message


def test_a_label_out_of_range_names_the_row(capsys: Capture, clinic: Path) -> None:
    rows = good_rows()
    rows[3]["dr_grade"] = 7
    write_table(clinic.parent / "clinic", rows)
    message = refused(capsys, "study", "run", clinic)
    for part in ("labels.csv", "row 5", "dr_grade", "7", "0 to 4"):
        assert part in message


def test_an_empty_folder_is_refused(capsys: Capture, clinic: Path) -> None:
    shutil.rmtree(clinic.parent / "clinic" / "images")
    (clinic.parent / "clinic" / "images").mkdir()
    message = refused(capsys, "prepare", clinic)
    assert "clinic/images" in message
    assert "image" in message


@pytest.mark.usefixtures("ray_session")
def test_a_study_whose_every_image_is_rejected_can_be_corrected(capsys: Capture, clinic: Path) -> None:
    message = refused(capsys, "prepare", clinic, "--set", "data.prepare.min_field_px=5000", root=clinic.parent / "root")
    assert "all 6 images are rejected (6 too small)" in message
    assert "check the sources and data.prepare" in message
    assert run_here(capsys, "prepare", clinic).code == 0


@pytest.mark.usefixtures("ray_session")
def test_files_that_were_corrected_in_place_are_read_again(capsys: Capture, clinic: Path) -> None:
    folder = clinic.parent / "clinic" / "images"
    good = {path: path.read_bytes() for path in folder.iterdir()}
    for path in good:
        path.write_bytes(b"not yet fetched")
    assert "all 6 images are rejected" in refused(capsys, "prepare", clinic, root=clinic.parent / "root")
    for path, data in good.items():
        path.write_bytes(data)
    assert run_here(capsys, "prepare", clinic).code == 0


# Settings that a late stage would fail on


@pytest.mark.parametrize("verb", ["run", "check"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["evaluation.inception_weights=none.pth"], "evaluation.inception_weights: "),
        (["evaluation.inception_weights=clinic/labels.csv"], "has SHA-256"),
        (["external_annotator={predictions: p.csv, columns: {is_gc: gc}}"], "external_annotator."),
        (["generator.init_from=none.safetensors"], "generator.init_from: cannot read"),
        (["samples.solver.num_steps=2000"], "samples.solver.num_steps: 2000 is more than the 1000"),
        (["data.prepare.split_fractions={train: 1, validation: 0, test: 0}"], "split_fractions.validation: is 0"),
        (["annotator.init_from=none.safetensors"], "annotator.init_from: cannot read"),
        (["generator.unet.size_px=64"], "generator.unet.size_px: is 64, data.prepare.size_px is 32; make them equal"),
        (["generator.resources.num_workers=3"], "generator.batch_size: 8 is not a multiple of 3 workers"),
    ],
)
def test_a_late_stages_mistake_is_refused_before_any_work(
    capsys: Capture, clinic: Path, verb: str, settings: list[str], message: str
) -> None:
    (clinic.parent / "p.csv").write_text("image_id,gc\n0123456789abcdef,0.5\n")
    overrides = [part for setting in settings for part in ("--set", setting)]
    assert message in refused(capsys, "study", verb, clinic, *overrides, root=clinic.parent / "root")
    assert not list((clinic.parent / "root").glob("*"))


def test_a_table_of_predictions_cannot_annotate_samples(capsys: Capture, clinic: Path) -> None:
    (clinic.parent / "p.csv").write_text("image_id,gc\n0123456789abcdef,0.5\n")
    external = "external_annotator={predictions: p.csv, columns: {is_gc: gc}}"
    message = refused(capsys, "study", "run", clinic, "--set", external)
    assert "can neither annotate new images" in message
    assert "train an annotator or name an external model" in message


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_a_wrong_inception_file_stops_evaluate_before_it_begins(
    capsys: Capture, finished_study: FinishedStudy, tmp_path: Path, options: list[str]
) -> None:
    root = tmp_path / "copy"
    copy_before(finished_study, root, "evaluate")
    wrong = tmp_path / "weights.pth"
    wrong.write_bytes(b"not these")
    missing = tmp_path / "none.pth"
    reasons = {
        wrong: (f"{wrong} has SHA-256", "or remove the key"),
        missing: (f"cannot read {missing} (No such file or directory)", "correct the path"),
    }
    for file, (reason, remedy) in reasons.items():
        settings = ["--set", f"root={root}", "--set", f"evaluation.inception_weights={file}"]
        message = refused(capsys, "evaluate", finished_study.file, *settings, *options, root=root)
        assert f"evaluation.inception_weights: {reason}" in message
        assert remedy in message


# The root


@pytest.mark.parametrize("verb", [["prepare"], ["study", "run"], ["doctor"]])
def test_a_root_that_cannot_be_written_is_refused(capsys: Capture, clinic: Path, verb: list[str]) -> None:
    (clinic.parent / "file").touch()
    for root in ("/proc/synfundus", clinic.parent / "file" / "root"):
        message = refused(capsys, *verb, clinic, "--set", f"root={root}")
        assert f"root: cannot write to {root}" in message
        assert message.endswith("choose another root in the study file")


def test_a_scheme_that_is_not_supported_is_refused(capsys: Capture, clinic: Path) -> None:
    assert "scheme 'gopher'" in refused(capsys, "prepare", clinic, "--set", "root=gopher://there")


@pytest.mark.parametrize("verb", ["train-annotator", "fill", "train-generator", "sample", "evaluate", "publish"])
def test_a_stage_whose_input_is_missing_names_it(capsys: Capture, clinic: Path, verb: str) -> None:
    message = refused(capsys, verb, clinic, "--dry-run")
    assert "is not complete" in message
    assert "run the stage that makes it first" in message
    assert not (clinic.parent / "root").exists()


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("verb", list(CHANGES))
def test_a_name_used_again_with_another_setting_names_the_key(
    capsys: Capture, finished_study: FinishedStudy, verb: str
) -> None:
    key, value = CHANGES[verb]
    before = listing(finished_study.root)
    message = refused(capsys, verb, finished_study.file, "--set", f"{key}={value}")
    assert listing(finished_study.root) == before
    assert key in message
    assert str(value) in message
    assert "give the study another name" in message

"""The command line on a real study: dry runs, `study`, `doctor`, and the two ways to start it."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from support.clinic import good_rows, refused, write_table
from support.tiny_study import OUTPUTS, FinishedStudy, Outcome, listing, run_here, run_process
from synfundus.fundus.sources import SourceListing
from synfundus.fundus.sources.folder import FolderSource

pytestmark = pytest.mark.usefixtures("patient_key")

Capture = pytest.CaptureFixture[str]


def rows_of(text: str, name: str) -> list[str]:
    """Return the values of the lines of a printed table that have this name."""
    lines = [line.strip().split("  ", 1) for line in text.splitlines() if line.startswith("  ")]
    return [line[1].strip() for line in lines if line[0] == name]


@pytest.mark.parametrize("verb", [*OUTPUTS, "study run"])
def test_a_dry_run_describes_the_stage_and_writes_nothing(
    capsys: Capture, finished_study: FinishedStudy, verb: str
) -> None:
    before = listing(finished_study.root)
    outcome = run_here(capsys, *verb.split(), finished_study.file, "--dry-run")
    assert (outcome.code, outcome.complaints) == (0, [])
    assert listing(finished_study.root) == before
    for stage in OUTPUTS if verb == "study run" else [verb]:
        assert f"{stage} would" in outcome.out
        assert OUTPUTS[stage] in outcome.out
    assert "later" not in outcome.out


@pytest.mark.parametrize("verb", ["prepare", "study run", "study check"])
def test_a_dry_run_without_a_root_makes_none(capsys: Capture, clinic: Path, verb: str) -> None:
    command = [*verb.split(), clinic, *([] if verb == "study check" else ["--dry-run"])]
    before = listing(clinic.parent)
    outcome = run_here(capsys, *command)
    assert (outcome.code, outcome.complaints) == (0, [])
    assert listing(clinic.parent) == before
    assert verb != "study run" or "later" in outcome.out


@pytest.mark.usefixtures("ray_session")
def test_prepared_images_do_not_need_their_photographs_any_more(capsys: Capture, clinic: Path) -> None:
    assert run_here(capsys, "prepare", clinic).code == 0
    before = listing(clinic.parent / "root")
    (clinic.parent / "clinic").rename(clinic.parent / "away")
    again = run_here(capsys, "prepare", clinic)
    assert (again.code, again.complaints) == (0, [])
    assert "the prepared images are used as they are" in again.out
    assert listing(clinic.parent / "root") == before
    message = refused(capsys, "prepare", clinic, "--set", "data.prepare.split_seed=5")
    assert "was made with other settings" in message


@pytest.mark.usefixtures("ray_session")
def test_rows_without_image_and_images_without_row_are_counted_and_listed(capsys: Capture, clinic: Path) -> None:
    write_table(clinic.parent / "clinic", [*good_rows(5), {"file_name": "lost.png", "patient_id": "p9"}])
    checked = run_here(capsys, "study", "check", clinic)
    assert rows_of(checked.out, "rows without image") == ["1 (labels.csv row 7: lost.png)"]
    assert rows_of(checked.out, "images without row") == ["1 (images/5.png)"]
    outcome = run_here(capsys, "prepare", clinic)
    assert (outcome.code, outcome.complaints) == (0, [])
    assert "1 rows without image, 1 images without row; listed in rejected.json" in outcome.out
    report = (clinic.parent / "root" / OUTPUTS["prepare"] / "rejected.json").read_text()
    assert "lost.png" in report
    assert "5.png" in report


def test_study_check_lists_each_source_once(capsys: Capture, clinic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listings = []
    real = FolderSource.listing

    def counted(self: FolderSource) -> SourceListing:
        listings.append(self.path)
        return real(self)

    monkeypatch.setattr(FolderSource, "listing", counted)
    assert run_here(capsys, "study", "check", clinic).code == 0
    assert listings == [str(clinic.parent / "clinic")]


def test_study_init_writes_a_file_that_check_understands(capsys: Capture, clinic: Path) -> None:
    file = clinic.parent / "My 1st Süd-Study.yaml"
    outcome = run_here(capsys, "study", "init", file)
    assert outcome.code == 0
    assert f"synfundus study check {shlex.quote(str(file))}" in outcome.out
    text = file.read_text()
    assert "name: my-1st-s-d-study\n" in text
    assert "photographs" in refused(capsys, "study", "check", file), "the photographs do not exist yet"
    (clinic.parent / "clinic").rename(clinic.parent / "photographs")
    checked = run_here(capsys, "study", "check", file)
    assert checked.code == 0
    assert rows_of(checked.out, "images") == ["6"]
    assert rows_of(checked.out, "rows without image") == rows_of(checked.out, "images without row") == ["0"]
    assert "study my-1st-s-d-study is sound" in checked.out
    assert "exists; choose another name" in refused(capsys, "study", "init", file)
    assert file.read_text() == text
    assert "did you mean 'small-128'?" in refused(capsys, "study", "init", clinic.parent / "b", "--recipe", "small")
    assert "cannot be written (File name too long)" in refused(capsys, "study", "init", clinic.parent / ("b" * 300))


def test_study_show_prints_a_study_that_shows_the_same(capsys: Capture, clinic: Path) -> None:
    shown = run_here(capsys, "study", "show", clinic, "--set", "generator.num_steps=9").out
    (clinic.parent / "elsewhere").mkdir()
    again = clinic.parent / "elsewhere" / "shown.yaml"
    again.write_text(shown)
    assert run_here(capsys, "study", "show", again).out == shown
    assert "num_steps: 9" in shown


def test_doctor_shows_the_machine_and_tries_the_root(capsys: Capture, clinic: Path) -> None:
    alone = run_here(capsys, "doctor")
    assert (alone.code, alone.err) == (0, "")
    for name in ("CPU", "GPU", "torch", "ray"):
        assert name in alone.out
    outcome = run_here(capsys, "doctor", clinic)
    assert outcome.code == 0
    assert "write-once holds" in outcome.out
    assert "from SYNFUNDUS_PATIENT_KEY" in outcome.out
    assert listing(clinic.parent / "root") == {}, "the probe is deleted"


def run_module(*argv: object) -> Outcome:
    """Run `python -m synfundus_jobs`, as a RayJob's entrypoint does."""
    command = [sys.executable, "-m", "synfundus_jobs", *map(str, argv)]
    done = subprocess.run(command, capture_output=True, text=True)
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_a_stage_is_launched_by_the_name_of_the_package(finished_study: FinishedStudy) -> None:
    before = listing(finished_study.root)
    outcome = run_module("train-generator", finished_study.file, "--dry-run")
    assert (outcome.code, outcome.complaints) == (0, [])
    assert "60 steps of 8 images" in outcome.out
    wrong = run_module("evaluate", finished_study.file, "--set", "evaluation.sed=1")
    assert wrong.code == 2
    assert wrong.error_line.endswith("evaluation: unknown key 'sed'; did you mean 'seed'?")
    assert listing(finished_study.root) == before


def test_the_console_script_ends_with_the_verbs_code(tmp_path: Path) -> None:
    outcome = run_process("prepare", tmp_path / "none.yaml")
    assert outcome.code == 2
    assert ": cannot be read (" in outcome.error_line

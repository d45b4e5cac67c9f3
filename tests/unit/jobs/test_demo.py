"""`synfundus demo` is a study file, `studies/demo.yaml`: in a checkout the committed one, elsewhere a copy."""

import shlex
from pathlib import Path

import pytest

from support.tiny_study import run_here
from synfundus.storage import Storage
from synfundus.study import Study, load_study
from synfundus_jobs import demo

Capture = pytest.CaptureFixture[str]
COMMITTED = Path(__file__).parents[3] / "studies" / "demo.yaml"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Study]:
    """The studies that the demo runs, in place of running them; the working directory is empty."""
    found: list[Study] = []

    def record(study: Study, storage: Storage) -> None:
        found.append(study)

    monkeypatch.setattr(demo, "run_study", record)
    monkeypatch.chdir(tmp_path)
    return found


def test_the_demo_writes_the_committed_study_and_runs_it(capsys: Capture, runs: list[Study], tmp_path: Path) -> None:
    outcome = run_here(capsys, "demo")
    assert (outcome.code, outcome.err) == (0, "")
    assert (tmp_path / "studies" / "demo.yaml").read_bytes() == COMMITTED.read_bytes()
    assert [study.root for study in runs] == [load_study(tmp_path / "studies" / "demo.yaml").root]
    assert Path(runs[0].root).resolve() == tmp_path / "outputs" / "demo"
    assert outcome.out.splitlines()[-2:] == [
        "  study file         studies/demo.yaml",
        "  serve both models  synfundus serve studies/demo.yaml",
    ]


def test_a_study_file_that_exists_is_run_and_not_overwritten(
    capsys: Capture, runs: list[Study], tmp_path: Path
) -> None:
    text = demo.STUDY.replace("name: demo", "name: mine")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "demo.yaml").write_text(text)
    assert run_here(capsys, "demo").code == 0
    assert [study.name for study in runs] == ["mine"]
    assert (tmp_path / "studies" / "demo.yaml").read_text() == text


@pytest.mark.parametrize("root", ["elsewhere", "a folder: with spaces", "s3://bucket/demo"])
def test_the_last_line_serves_the_models_of_another_root(
    capsys: Capture, runs: list[Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    """The line can be copied: it gives the same study as the demo ran."""
    monkeypatch.setattr(demo, "open_storage", lambda root: None)
    outcome = run_here(capsys, "demo", "--root", root, "--set", "samples.num_samples=64")
    assert (outcome.code, outcome.err) == (0, "")
    (study,) = runs
    assert study.root == (root if "://" in root else str(tmp_path / root))
    command = outcome.out.splitlines()[-1].partition("serve both models")[2]
    program, verb, file, *options = shlex.split(command)
    assert (program, verb, options[::2]) == ("synfundus", "serve", ["--set", "--set"])
    assert load_study(Path(file), options[1::2]) == study


def test_an_empty_root_is_one_line(capsys: Capture, runs: list[Study]) -> None:
    outcome = run_here(capsys, "demo", "--root", "")
    assert (outcome.code, outcome.error_line) == (
        2,
        "error: studies/demo.yaml: root: is empty; name a file or folder",
    )
    assert runs == []


def test_a_folder_that_cannot_be_written_is_one_line(capsys: Capture, runs: list[Study], tmp_path: Path) -> None:
    (tmp_path / "studies").touch()
    outcome = run_here(capsys, "demo")
    assert outcome.code == 2
    assert outcome.error_line.startswith("error: studies/demo.yaml: cannot be written (")
    assert runs == []

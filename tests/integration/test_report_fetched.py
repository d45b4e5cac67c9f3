"""`synfundus fetch` copies the report to this machine and verifies it against its manifest."""

from pathlib import Path

import pytest

from support.tiny_study import NAME, OUTPUTS, FinishedStudy, run_here

Capture = pytest.CaptureFixture[str]


def test_the_report_is_copied_whole(finished_study: FinishedStudy, tmp_path: Path, capsys: Capture) -> None:
    outcome = run_here(capsys, "fetch", finished_study.file, "--to", tmp_path / "report")
    assert outcome.code == 0
    assert str(tmp_path / "report" / "index.html") in outcome.out
    report = finished_study.root / OUTPUTS["evaluate"]
    names = {path.relative_to(report) for path in report.rglob("*") if path.is_file()} - {Path("manifest.json")}
    assert Path("index.html") in names
    copied = tmp_path / "report"
    assert {path.relative_to(copied) for path in copied.rglob("*") if path.is_file()} == names
    assert all((copied / name).read_bytes() == (report / name).read_bytes() for name in names)


def test_a_report_that_cannot_be_fetched_is_refused_in_one_line(
    finished_study: FinishedStudy, tmp_path: Path, capsys: Capture
) -> None:
    early = run_here(capsys, "fetch", finished_study.file, "--set", f"root={tmp_path}", "--to", tmp_path / "report")
    assert (early.code, f"reports/{NAME}" in early.error_line) == (2, True)
    (tmp_path / "file").write_text("")
    barred = run_here(capsys, "fetch", finished_study.file, "--to", tmp_path / "file" / "report")
    assert (barred.code, "name another folder by --to" in barred.error_line) == (2, True)

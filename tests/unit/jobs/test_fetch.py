"""`synfundus fetch` writes only the files of the report, in its folder, even if the report was tampered with."""

from pathlib import Path

import pytest

from support.report_example import report_manifest
from support.tiny_study import NAME, PHANTOMS, Outcome, run_here
from synfundus.digests import sha256_hex
from synfundus.storage import FileEntry

Capture = pytest.CaptureFixture[str]
REPORT = f"reports/{NAME}"
PAGE = b"<html>"


def fetch(capsys: Capture, folder: Path, name: str, sha256: str) -> Outcome:
    """Fetch a report whose manifest names a page and the file `name`; the bytes of both are `PAGE`."""
    study_file = folder / "tiny.yaml"
    study_file.write_text(PHANTOMS)
    root = folder / "root" / REPORT
    for path in (root / "index.html", Path(f"{root}/{name}")):  # a name in a store may begin with a slash
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PAGE)
    page = FileEntry(size_bytes=len(PAGE), sha256=sha256_hex(PAGE))
    files = {"index.html": page, name: page.model_copy(update={"sha256": sha256})}
    (root / "manifest.json").write_bytes(report_manifest().model_copy(update={"files": files}).to_json())
    return run_here(capsys, "fetch", study_file, "--to", folder / "here" / "report")


@pytest.mark.parametrize("name", ["{outside}/.bashrc", "../.bashrc", "figures/../../.bashrc"])
def test_no_name_leads_out_of_the_folder(capsys: Capture, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "here"
    name = name.format(outside=outside)
    outcome = fetch(capsys, tmp_path, name, sha256_hex(PAGE))
    assert outcome.code == 1
    assert outcome.error_line.startswith(f"error: {REPORT}/manifest.json names {name!r}, which is not in its folder")
    assert not outside.exists()


def test_a_file_that_differs_from_the_manifest_is_refused(capsys: Capture, tmp_path: Path) -> None:
    outcome = fetch(capsys, tmp_path, "metrics.json", sha256_hex(b"other"))
    assert outcome.code == 1
    assert f"{REPORT}/metrics.json differs from its manifest (SHA-256)" in outcome.error_line
    assert not (tmp_path / "here" / "report" / "metrics.json").exists()

"""A study of six photographs with a table, and commands that must be refused."""

import csv
from pathlib import Path

import pytest

from support.tiny_study import MODELS, NAME, OVERRIDE, listing, run_here

STUDY = f"""\
recipe: real-64
name: {NAME}
root: root
data:
  sources: [{{layout: folder, path: clinic, patient_column: patient_id}}]
  prepare: {{size_px: 32, shard_rows: 4}}
{MODELS}release: {{date_published: 2026-11-27, data_statement: Phantoms in photographs' clothing.,
  privacy_override: "{OVERRIDE}"}}
"""
COLUMNS = ("file_name", "patient_id", "eye_side", "dr_grade")


def good_rows(number: int = 6) -> list[dict[str, object]]:
    """Return rows of the table, two per patient."""
    return [
        {"file_name": f"{i}.png", "patient_id": f"p{i // 2}", "eye_side": i % 2, "dr_grade": i % 5}
        for i in range(number)
    ]


def write_table(folder: Path, rows: list[dict[str, object]], columns: tuple[str, ...] = COLUMNS) -> None:
    """Write `labels.csv`."""
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def write_clinic(folder: Path, photographs: list[bytes]) -> Path:
    """Write photographs, table and study below `folder`; return the study's file."""
    images = folder / "clinic" / "images"
    images.mkdir(parents=True)
    for number, data in enumerate(photographs):
        (images / f"{number}.png").write_bytes(data)
    write_table(folder / "clinic", good_rows(len(photographs)))
    (folder / "clinic.yaml").write_text(STUDY)
    return folder / "clinic.yaml"


def refused(capsys: pytest.CaptureFixture[str], *argv: object, root: Path | None = None) -> str:
    """Run a command that is wrong input, and return its one line. Nothing below `root` but `runs/` may change."""
    before = listing(root, "runs") if root else {}
    outcome = run_here(capsys, *argv)
    assert (outcome.code, outcome.out) == (2, ""), outcome
    if root:
        assert listing(root, "runs") == before
    return outcome.error_line

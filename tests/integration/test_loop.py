"""`synfundus study run`: the whole loop completes, repeats, is interrupted and resumes."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from support.metrics_example import example_metrics
from support.tiny_study import (
    NAME,
    OUTPUTS,
    PHANTOMS,
    FinishedStudy,
    Outcome,
    copy_before,
    finish,
    listing,
    manifests,
    run_here,
    start_process,
)
from synfundus.diffusion.metrics import read_generator_metrics
from synfundus.digests import sha256_hex
from synfundus.evaluation.manifest import read_metrics
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.splits import NO_JUDGE, SPLITS
from synfundus.labels import LABEL_NAMES
from synfundus.measures.judge_metrics import TeacherAsJudge
from synfundus.measures.metrics import EvaluationMetrics, MeasuredPrivacy
from synfundus.samples.shards import read_samples
from synfundus.storage import open_storage

PATIENCE_S = 1800.0
"""Seconds after which a test stops waiting. No result depends on it."""


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Wait until `condition` holds. Fails if the process ends before."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        if process.poll() is not None:
            pytest.fail(f"the process ended too early: {finish(process)}")
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_every_stage_is_complete_and_shows_its_summary(finished_study: FinishedStudy) -> None:
    found = manifests(finished_study.root)
    for folder, manifest in found.items():
        files = manifest["files"]  # type: ignore[index]
        written = {
            p.relative_to(finished_study.root / folder).as_posix() for p in (finished_study.root / folder).rglob("*")
        }
        assert {"manifest.json", *files} <= written
        for name, entry in files.items():
            assert sha256_hex((finished_study.root / folder / name).read_bytes()) == entry["sha256"], name
    assert not list(finished_study.root.rglob("*.part")), "no object is left half-written"
    for verb in OUTPUTS:
        assert f"{verb}\n" in finished_study.out
    assert "accepted" in finished_study.out
    assert str(finished_study.root / OUTPUTS["evaluate"] / "index.html") in finished_study.out
    assert str(finished_study.root / OUTPUTS["publish"]) in finished_study.out


def test_progress_off_a_terminal_is_json_lines_and_nothing_else(finished_study: FinishedStudy) -> None:
    for line in finished_study.err.splitlines():
        assert {"stage", "done", "total", "per_s"} <= set(json.loads(line)), line


def test_reports_and_release_are_there(finished_study: FinishedStudy) -> None:
    report, release = (finished_study.root / OUTPUTS[stage] for stage in ("evaluate", "publish"))
    assert "Research use only" in (report / "index.html").read_text()
    public = (report / "public.html").read_bytes()
    assert (release / "report.html").read_bytes() == public
    assert (release / "privacy.html").read_bytes() == (report / "privacy.html").read_bytes()
    assert "Procedural phantoms" in (release / "README.md").read_text()
    assert json.loads((release / "croissant.json").read_text())["@type"] == "sc:Dataset"
    storage = open_storage(str(finished_study.root))
    samples = [table.num_rows for _, table in read_samples(storage, OUTPUTS["sample"])]
    assert len(list((release / "data").glob("*.parquet"))) == len(samples)
    assert sum(PreparedImages(storage, OUTPUTS["prepare"]).num_images(split) for split in SPLITS) <= 240


def test_a_training_records_how_near_its_samples_come_to_training_images_at_each_checkpoint(
    finished_study: FinishedStudy,
) -> None:
    storage = open_storage(str(finished_study.root))
    points = read_generator_metrics(storage, OUTPUTS["train-generator"]).memorisation
    assert [point.step for point in points] == [10, 20, 30, 40, 50, 60]
    assert all(len(point.ratios) == 4 and min(point.ratios) > 0.0 for point in points)
    metrics = read_metrics(storage, OUTPUTS["evaluate"])
    assert [share.step for share in metrics.audit.memorisation] == [10, 20, 30, 40, 50, 60]
    assert metrics.audit.attack_on_weights.auc.measurable
    assert metrics.audit.attack_on_images.auc.measurable


def test_metrics_are_the_typed_record_that_the_schema_describes(finished_study: FinishedStudy) -> None:
    stored = (finished_study.root / OUTPUTS["evaluate"] / "metrics.json").read_bytes()
    metrics = EvaluationMetrics.from_json(stored, "metrics.json")
    assert metrics.to_json() == stored
    assert isinstance(metrics.privacy, MeasuredPrivacy)
    assert metrics.judge == TeacherAsJudge(reason=NO_JUDGE), "240 phantoms are too few for a judge"
    assert set(metrics.consistency.labels) == set(metrics.label_distributions) == set(LABEL_NAMES)
    fidelity, example = metrics.fidelity, example_metrics().fidelity
    for name in ("measures", "strata", "groups", "spaces"):
        assert getattr(fidelity, name).keys() == getattr(example, name).keys(), name
    (space,) = fidelity.computed_spaces
    assert space.strata.keys() == fidelity.strata.keys()
    assert space.landmark is None, "phantoms against phantoms"


def test_a_second_run_writes_nothing(
    finished_study: FinishedStudy, capsys: pytest.CaptureFixture[str], patient_key: None
) -> None:
    before = listing(finished_study.root)
    outcome = run_here(capsys, "study", "run", finished_study.file)
    assert (outcome.code, outcome.complaints) == (0, [])
    assert listing(finished_study.root) == before, "not even below runs/"


@pytest.fixture(scope="module")
def interrupted(
    finished_study: FinishedStudy, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Outcome, list[str]]:
    """The same study in another root, interrupted by Ctrl-C in the middle of train-generator.

    Returns:
        File of the study, outcome of the command, names of the child processes that are still alive.
    """
    file = tmp_path_factory.mktemp("interrupted") / "other.yaml"
    file.write_text(PHANTOMS)
    copy_before(finished_study, file.parent / "root", "train-generator")
    process = start_process("study", "run", file)
    run = file.parent / "root" / "runs" / f"{NAME}-generator"
    # A run resumes only from checkpoints in Ray Train's own list.
    wait_for(
        lambda: any("step-" in path.read_text() for path in run.glob("train/checkpoint_manager_snapshot.json")),
        process,
    )
    children = psutil.Process(process.pid).children(recursive=True)
    assert [child for child in children if "raylet" in child.name()], "Ray was not running, so nothing is proved"
    os.killpg(process.pid, signal.SIGINT)
    outcome = finish(process)
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    return file, outcome, [child.name() for child in alive]


def test_a_ctrl_c_ends_with_one_line_and_leaves_no_process(interrupted: tuple[Path, Outcome, list[str]]) -> None:
    file, outcome, alive = interrupted
    assert outcome.code == 130
    assert outcome.complaints == ["interrupted; the same command goes on where this one stopped"]
    assert alive == []
    done = [folder for folder in OUTPUTS.values() if (file.parent / "root" / folder / "manifest.json").exists()]
    assert done == list(OUTPUTS.values())[:4], "interrupted outside train-generator"


@pytest.mark.usefixtures("ray_session", "patient_key")
def test_the_next_run_resumes_and_ends_with_equal_manifests(
    interrupted: tuple[Path, Outcome, list[str]], finished_study: FinishedStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    """The outputs of later stages are copied from the finished study: those of another generator would be refused."""
    file, _, _ = interrupted
    root = file.parent / "root"
    for stage in ("sample", "evaluate", "publish"):
        for folder in (OUTPUTS[stage], f"runs/{NAME}-{stage}"):
            if (finished_study.root / folder).exists():
                shutil.copytree(finished_study.root / folder, root / folder)
    first_sheet = root / "runs" / f"{NAME}-generator" / "sheets" / "step-0000010.png"
    sheet_ns, before = first_sheet.stat().st_mtime_ns, listing(root, "runs")
    outcome = run_here(capsys, "study", "run", file)
    assert outcome.code == 0, outcome.err
    assert first_sheet.stat().st_mtime_ns == sheet_ns, "it resumed from a checkpoint, not from the beginning"
    after = listing(root, "runs")
    complete = {name: entry for name, entry in before.items() if not name.startswith("generators")}
    assert {name: after[name] for name in complete} == complete, "complete stages were not run again"
    assert manifests(root) == manifests(finished_study.root)


def test_no_manifest_holds_the_root(finished_study: FinishedStudy) -> None:
    for path in finished_study.root.glob("*/*/manifest.json"):
        assert str(finished_study.root.parent) not in path.read_text(), path

"""The whole loop by one command: complete, repeatable, interrupted and resumed."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
from synfundus.digests import sha256_hex
from synfundus.evaluation.config import EvaluationConfig
from synfundus.fundus.dataset import PreparedImages
from synfundus.samples.shards import read_samples
from synfundus.storage import open_storage

PATIENCE_S = 1800.0
"""Nothing is judged by it; it ends a test that waits for what will never come."""


def wait_for(found: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Look until something is there, or the process has ended without it."""
    end_s = time.monotonic() + PATIENCE_S
    while not found():
        if process.poll() is not None:
            pytest.fail(f"the process ended before what was waited for: {finish(process)}")
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_every_stage_is_complete_and_says_so(finished_study: FinishedStudy) -> None:
    found = manifests(finished_study.root)
    for folder, manifest in found.items():
        files = manifest["files"]  # type: ignore[index]
        there = {
            p.relative_to(finished_study.root / folder).as_posix() for p in (finished_study.root / folder).rglob("*")
        }
        assert {"manifest.json", *files} <= there
        for name, entry in files.items():
            assert sha256_hex((finished_study.root / folder / name).read_bytes()) == entry["sha256"], name
    assert not list(finished_study.root.rglob("*.part")), "nothing is left half-written"
    for verb in OUTPUTS:
        assert f"{verb}\n" in finished_study.out, "every stage closes with a summary"
    assert "kept" in finished_study.out
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
    assert "Procedural phantoms" in (release / "README.md").read_text()
    assert json.loads((release / "croissant.json").read_text())["@type"] == "sc:Dataset"
    storage = open_storage(str(finished_study.root))
    samples = [table.num_rows for _, table in read_samples(storage, OUTPUTS["sample"])]
    assert len(list((release / "data").glob("*.parquet"))) == len(samples)
    assert (
        sum(PreparedImages(storage, OUTPUTS["prepare"]).num_images(s) for s in ("train", "validation", "test")) <= 240
    )


def _structure(value: Any, path: str = "") -> Any:
    """Keys of a metrics.json, whatever the numbers; a measure is one thing, measured or not."""
    if isinstance(value, Mapping):
        if {"status", "n"} <= set(value):
            wanted = {"value", "low", "high"} if value["status"] == "measured" else {"reason"}
            assert set(value) == {"status", "n"} | wanted, path
            return "measure"
        if path.startswith("privacy") and value.get("status") == "not measurable":
            return "privacy"
        return {key: _structure(item, f"{path}.{key}" if path else key) for key, item in value.items()}
    return type(value).__name__ if isinstance(value, list) else "value"


def _comparable(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The structure without what may be there or not by the numbers."""
    found: dict[str, Any] = _structure(metrics)
    found.pop("config")
    for label in found["consistency"]["labels"].values():
        label.pop("roc")
    found["fidelity"]["groups"] = sorted(found["fidelity"]["groups"])
    return found


def test_metrics_have_exactly_the_documented_keys(finished_study: FinishedStudy) -> None:
    metrics = json.loads((finished_study.root / OUTPUTS["evaluate"] / "metrics.json").read_text())
    documented = _comparable(example_metrics())
    documented["fidelity"]["spaces"]["annotator"].pop("landmark")
    assert _comparable(metrics) == documented
    assert set(metrics["config"]) == set(EvaluationConfig.model_fields) - {"inception_weights"}
    rocs = [label["roc"] for label in metrics["consistency"]["labels"].values()]
    assert all(roc is None or set(roc) == {"false_positive_rate", "sensitivity", "low", "high"} for roc in rocs)
    assert "landmark" not in json.dumps(metrics), "phantoms are no landmark for phantoms"


@pytest.mark.usefixtures("ray_session")
def test_run_again_it_writes_nothing(
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
    """The same study, begun in another root, stopped by Ctrl-C in the middle of train-generator: file, outcome,
    survivors."""
    file = tmp_path_factory.mktemp("interrupted") / "other.yaml"
    file.write_text(PHANTOMS)
    copy_before(finished_study, file.parent / "root", "train-generator")
    process = start_process("study", "run", file)
    run = file.parent / "root" / "runs" / f"{NAME}-generator"
    # Ray Train's own list of checkpoints: one that is not in it yet is not resumed from.
    wait_for(
        lambda: any("step-" in path.read_text() for path in run.glob("train/checkpoint_manager_snapshot.json")),
        process,
    )
    children = psutil.Process(process.pid).children(recursive=True)
    assert [child for child in children if "raylet" in child.name()], "there are Ray processes to look for"
    os.killpg(process.pid, signal.SIGINT)
    outcome = finish(process)
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    return file, outcome, [child.name() for child in alive]


def test_a_ctrl_c_ends_with_one_line_and_no_process(interrupted: tuple[Path, Outcome, list[str]]) -> None:
    file, outcome, survivors = interrupted
    assert outcome.code == 130
    assert outcome.complaints == ["interrupted; the same command goes on where this one stopped"]
    assert survivors == []
    done = [folder for folder in OUTPUTS.values() if (file.parent / "root" / folder / "manifest.json").exists()]
    assert done == list(OUTPUTS.values())[:3], "it was interrupted in the middle of train-generator, or proves nothing"


@pytest.mark.usefixtures("ray_session", "patient_key")
def test_the_next_run_resumes_and_ends_as_the_undisturbed_one(
    interrupted: tuple[Path, Outcome, list[str]], finished_study: FinishedStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the undisturbed one made of its generator stands there already: of another one it would be refused."""
    file, _, _ = interrupted
    root = file.parent / "root"
    for stage in ("sample", "evaluate", "publish"):
        for folder in (OUTPUTS[stage], f"runs/{NAME}-{stage}"):
            if (finished_study.root / folder).exists():
                shutil.copytree(finished_study.root / folder, root / folder)
    first_sheet = root / "runs" / f"{NAME}-generator" / "sheets" / "step-0000010.png"
    drawn_ns, before = first_sheet.stat().st_mtime_ns, listing(root, "runs")
    outcome = run_here(capsys, "study", "run", file)
    assert outcome.code == 0, outcome.err
    assert first_sheet.stat().st_mtime_ns == drawn_ns, "it went on from a checkpoint, not from the beginning"
    after = listing(root, "runs")
    kept = {name: facts for name, facts in before.items() if not name.startswith("generators")}
    assert {name: after[name] for name in kept} == kept, "finished stages were not run again"
    assert manifests(root) == manifests(finished_study.root)


def test_no_manifest_knows_the_root(finished_study: FinishedStudy) -> None:
    for path in finished_study.root.glob("*/*/manifest.json"):
        assert str(finished_study.root.parent) not in path.read_text(), path

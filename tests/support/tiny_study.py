"""A study small enough to run whole in a test, and ways to call the command line in a test."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from synfundus_jobs import cli

NAME = "tiny"
PATIENT_KEY = "a key that only tests have"
MODELS = """\
annotator:
  image_size_px: 32
  num_steps: 12
  batch_size: 8
  warmup_steps: 2
  resources: {num_threads: 1}
  checkpoint_every_steps: 6
  log_every_steps: 2
copy_detector:
  image_size_px: 32
  width: 8
  num_steps: 12
  batch_size: 8
  warmup_steps: 2
  resources: {num_threads: 1}
  checkpoint_every_steps: 6
  log_every_steps: 2
generator:
  unet: {size_px: 32, channels: [8, 16], norm_num_groups: 4}
  num_steps: 60
  batch_size: 8
  warmup_steps: 10
  resources: {num_threads: 1}
  checkpoint_every_steps: 10
  log_every_steps: 5
  sheet_num_columns: 2
  sheet_solver: {name: ddim, num_steps: 2}
  memorisation_num_samples: 4
samples:
  num_samples: 32
  min_patients: 3
  solver: {name: ddim, num_steps: 3, guidance_scale: 2.0}
  micro_batch: 4
  shard_rows: 8
  max_attempts: 2
  resources: {pool_size: 1}
"""
OVERRIDE = "The generator of a test has learned nothing, and phantoms show no person."
"""Words by which a tiny study is released whatever the privacy gate says."""
PHANTOMS = f"""\
recipe: phantom-cpu
name: {NAME}
root: root
data:
  sources: [{{layout: phantom, num_images: 240, size_px: 48, seed: 1, null_fraction: 0.2}}]
  prepare: {{size_px: 32, min_field_px: 16, shard_rows: 64}}
{MODELS}release: {{privacy_override: "{OVERRIDE}"}}
"""
OUTPUTS = {
    "prepare": f"data/{NAME}",
    "train-annotator": f"annotators/{NAME}",
    "fill": f"data/{NAME}-filled",
    "train-copy-detector": f"copy_detectors/{NAME}",
    "train-generator": f"generators/{NAME}",
    "sample": f"samples/{NAME}",
    "evaluate": f"reports/{NAME}",
    "publish": f"releases/{NAME}",
}
"""Folder that each stage writes, in the order of the stages."""


@dataclass(frozen=True)
class FinishedStudy:
    """A study whose every stage is complete."""

    file: Path
    root: Path
    out: str
    """Standard output of the run."""
    err: str
    """Standard error of the run."""


@dataclass(frozen=True)
class Outcome:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        """Lines of standard error without those of progress, whose number depends on the machine's speed."""
        return [line for line in self.err.splitlines() if not line.startswith('{"stage": ')]

    @property
    def error_line(self) -> str:
        """The only line of complaint. Fails if there are more, or if the error is a defect."""
        (line,) = self.complaints
        assert "a defect" not in line
        return line


def run_here(capsys: pytest.CaptureFixture[str], *argv: object) -> Outcome:
    """Run `synfundus` with these arguments in this process."""
    capsys.readouterr()
    try:
        code = cli.main([str(argument) for argument in argv])
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return Outcome(code, captured.out, captured.err)


def environment() -> dict[str, str]:
    """Return the environment of a command in another process: it starts its own Ray and has the tests' patient key."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SYNFUNDUS_"))}
    return {**ours, "SYNFUNDUS_PATIENT_KEY": PATIENT_KEY, "RAY_worker_niceness": "0"}


def start_process(*argv: object) -> "subprocess.Popen[str]":
    """Start `synfundus` by its console script, in a process group of its own, as a terminal does."""
    script = Path(sys.executable).with_name("synfundus")
    return subprocess.Popen(
        [str(script), *map(str, argv)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A process in the background ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finish(process: "subprocess.Popen[str]", timeout_s: float = 1800) -> Outcome:
    """Wait for a process. A hanging one is killed with its group, so that it does not outlive the test."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Outcome(process.returncode, out, err)


def run_process(*argv: object) -> Outcome:
    """Run `synfundus` with these arguments in another process."""
    return finish(start_process(*argv))


def listing(root: Path, *without: str) -> dict[str, tuple[int, int]]:
    """Return size and time of every file and folder below a root, except in the folders `without` directly below it."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if name.parts[0] not in without:
            stat = path.stat()
            found[name.as_posix()] = (stat.st_size if path.is_file() else 0, stat.st_mtime_ns)
    return found


def copy_before(finished: FinishedStudy, root: Path, verb: str) -> None:
    """Copy the finished root to `root`, as it was before the stage `verb`."""
    shutil.copytree(finished.root, root)
    for later in list(OUTPUTS)[list(OUTPUTS).index(verb) :]:
        shutil.rmtree(root / OUTPUTS[later])
        shutil.rmtree(root / "runs" / f"{NAME}-{later.removeprefix('train-')}", ignore_errors=True)


def manifests(root: Path, folders: Sequence[str] = tuple(OUTPUTS.values())) -> dict[str, object]:
    """Return the content of each folder's manifest."""
    return {folder: json.loads((root / folder / "manifest.json").read_text()) for folder in folders}

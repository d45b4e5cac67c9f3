"""Both trainings on real Ray Train workers: one of two killed on the way, the result is that of a plain loop."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support import models_of_phantoms
from support.datasets_of_phantoms import phantom_dataset
from support.killed_once import KilledOnce
from support.plain_training import train_plainly
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.stages.annotator import AnnotatorTask
from synfundus.stages.generator import GeneratorTask
from synfundus.distributed.train import train
from synfundus.storage import Storage, read_manifest

ANNOTATOR = AnnotatorConfig(
    architecture="resnet10t",
    image_size_px=32,
    num_steps=12,
    batch_size=8,
    learning_rate=1e-3,
    num_workers=2,
    num_threads=1,
    checkpoint_every_steps=4,
    log_every_steps=1,
)


class Silent:
    def update(self, done: int, note: str = "") -> None:
        """Nobody watches."""


def _train_both_ways(task: AnnotatorTask | GeneratorTask, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Manifests of the undisturbed and of the killed run; the former knows nothing of Ray."""
    train_plainly(task, tmp_path / "meeting-point")
    undisturbed = read_manifest(task.storage, task.output_folder)
    other = replace(task, run_name=f"{task.run_name}-killed", output_folder=f"{task.output_folder}-killed")
    marker = tmp_path / "killed"
    train(KilledOnce(other, marker, at_step=6), Silent())
    assert marker.exists(), "the worker was never killed, so this test proved nothing"
    return undisturbed, read_manifest(task.storage, other.output_folder)


@pytest.mark.usefixtures("ray_session")
def test_annotator_of_a_killed_worker_is_the_undisturbed_one(storage: Storage, tmp_path: Path) -> None:
    phantom_dataset(storage, "data/p", 80, 32)
    task = AnnotatorTask(ANNOTATOR, storage, "p-annotator", "data/p", "annotators/p", "digest")
    undisturbed, killed = _train_both_ways(task, tmp_path)
    assert undisturbed["files"] == killed["files"]


@pytest.mark.usefixtures("ray_session")
def test_generator_of_a_killed_worker_is_the_undisturbed_one(storage: Storage, tmp_path: Path) -> None:
    phantom_dataset(storage, "data/p", 80, 32)
    config = models_of_phantoms.GENERATOR.model_copy(
        update={"num_workers": 2, "checkpoint_every_steps": 4, "log_every_steps": 1}
    )
    task = GeneratorTask(config, storage, "p-generator", "data/p", "generators/p", "digest")
    undisturbed, killed = _train_both_ways(task, tmp_path)
    assert undisturbed["files"] == killed["files"]

"""Both trainings on real Ray Train workers: after one of two is killed, the model equals that of a plain loop."""

from dataclasses import replace
from pathlib import Path

import pytest

from support import models_of_phantoms
from support.datasets_of_phantoms import phantom_dataset
from support.killed_once import KilledOnce
from support.plain_training import train_plainly
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.diffusion.manifest import GeneratorManifest
from synfundus.distributed.train import train
from synfundus.resources import TrainingResources
from synfundus.stages.training_tasks import AnnotatorTask, GeneratorTask
from synfundus.storage import Manifest, Storage, read_manifest

ANNOTATOR = AnnotatorConfig(
    architecture="resnet10t",
    image_size_px=32,
    num_steps=12,
    batch_size=8,
    learning_rate=1e-3,
    resources=TrainingResources(num_workers=2, num_threads=1),
    checkpoint_every_steps=4,
    log_every_steps=1,
)


class Silent:
    """Progress that shows nothing."""

    def update(self, done: int, note: str = "") -> None: ...


def _train_both_ways(task: AnnotatorTask | GeneratorTask, manifest: type[Manifest], tmp_path: Path) -> None:
    """Train without Ray and without disturbance, then on Ray with a worker killed; require equal files."""
    train_plainly(task, tmp_path / "meeting-point")
    killed = replace(task, run_name=f"{task.run_name}-killed", output_folder=f"{task.output_folder}-killed")
    marker = tmp_path / "killed"
    train(KilledOnce(killed, marker, at_step=6), Silent())
    assert marker.exists(), "the worker was never killed, so this test proved nothing"
    undisturbed = read_manifest(task.storage, task.output_folder, manifest)
    assert read_manifest(task.storage, killed.output_folder, manifest).files == undisturbed.files


@pytest.mark.usefixtures("ray_session")
def test_an_annotator_is_the_same_if_a_worker_is_killed(storage: Storage, tmp_path: Path) -> None:
    phantom_dataset(storage, "data/p", 80, 32)
    task = AnnotatorTask(ANNOTATOR, storage, "p-annotator", "data/p", "annotators/p", "digest")
    _train_both_ways(task, AnnotatorManifest, tmp_path)


@pytest.mark.usefixtures("ray_session")
def test_a_generator_is_the_same_if_a_worker_is_killed(storage: Storage, tmp_path: Path) -> None:
    phantom_dataset(storage, "data/p", 80, 32)
    config = models_of_phantoms.GENERATOR.model_copy(
        update={"resources": ANNOTATOR.resources, "checkpoint_every_steps": 4, "log_every_steps": 1}
    )
    models_of_phantoms.train_copy_detector(storage, "data/p", "copy_detectors/p")
    task = GeneratorTask(config, storage, "p-generator", "data/p", "generators/p", "digest", "copy_detectors/p")
    _train_both_ways(task, GeneratorManifest, tmp_path)

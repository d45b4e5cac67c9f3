"""Tiny models trained for a few steps on phantoms: real checkpoints within seconds."""

import torch

from synfundus.copies.closing import close_detector, read_encoder
from synfundus.copies.config import CopyDetectorConfig
from synfundus.copies.descriptors import write_descriptors
from synfundus.copies.manifest import CopyDetectorManifest
from synfundus.copies.training import CopyLearner
from synfundus.diagnosis.annotator import Annotator
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.fill import close_filled, write_filled_shard
from synfundus.diagnosis.training import AnnotatorLearner
from synfundus.diffusion.config import GeneratorConfig
from synfundus.diffusion.training import GeneratorLearner
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.manifest import DataManifest
from synfundus.resources import TrainingResources
from synfundus.storage import Storage, read_manifest

ANNOTATOR = AnnotatorConfig(
    architecture="resnet10t",
    image_size_px=32,
    num_steps=12,
    batch_size=8,
    learning_rate=1e-3,
    resources=TrainingResources(num_threads=1),
)
GENERATOR = GeneratorConfig.model_validate(
    {
        "unet": {"size_px": 32, "channels": (8, 16), "norm_num_groups": 4},
        "num_steps": 12,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "resources": {"num_threads": 1},
        "sheet_num_columns": 2,
        "sheet_solver": {"name": "ddim", "num_steps": 2},
        "memorisation_num_samples": 4,
    }
)
COPY_DETECTOR = CopyDetectorConfig(
    image_size_px=32, width=8, num_steps=12, batch_size=8, resources=TrainingResources(num_threads=1)
)


def fill_here(storage: Storage, source: str, annotator: Annotator, target: str) -> DataManifest:
    """Fill the dataset `source` into `target` in this process, one shard after the other; return the new manifest."""
    files = read_manifest(storage, source, DataManifest).shards
    shards = [write_filled_shard(storage, source, file, annotator, target) for file in files]
    return close_filled(storage, source, annotator.digest, target, shards, "filled")


def train_copy_detector(
    storage: Storage,
    data_folder: str,
    folder: str,
    config: CopyDetectorConfig = COPY_DETECTOR,
    device: torch.device | None = None,
) -> CopyDetectorManifest:
    """Train a copy detector in a plain loop, write it to `folder` and return its manifest."""
    images = PreparedImages(storage, data_folder)
    learner = CopyLearner(images, config, device or torch.device("cpu"))
    for step in range(config.num_steps):
        learner.train_step(step)
    learner.save(storage, folder)
    encoder = read_encoder(storage, folder, learner.device)
    files = [write_descriptors(storage, data_folder, shard, encoder, folder) for shard in images.manifest.shards]
    return close_detector(storage, images, config, folder, files, "copy detector")


def train_tiny_models(storage: Storage, data_folder: str, name: str) -> None:
    """Write `annotators/<name>`, `copy_detectors/<name>` and `generators/<name>`, trained in plain loops."""
    train_copy_detector(storage, data_folder, f"copy_detectors/{name}")
    images = PreparedImages(storage, data_folder)
    annotator = AnnotatorLearner(images, ANNOTATOR, torch.device("cpu"))
    for step in range(ANNOTATOR.num_steps):
        annotator.train_step(step)
    annotator.save(storage, f"annotators/{name}", "annotator")
    generator = GeneratorLearner(images, GENERATOR, torch.device("cpu"))
    losses = [generator.train_step(step) for step in range(GENERATOR.num_steps)]
    generator.save(storage, f"generators/{name}", losses, "generator")

"""Tiny models trained for a few steps on phantoms: real checkpoints within seconds."""

import torch

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
    }
)


def fill_here(storage: Storage, source: str, annotator: Annotator, target: str) -> DataManifest:
    """Fill the dataset `source` into `target` in this process, one shard after the other; return the new manifest."""
    files = read_manifest(storage, source, DataManifest).shards
    shards = [write_filled_shard(storage, source, file, annotator, target) for file in files]
    return close_filled(storage, source, annotator.digest, target, shards, "filled")


def train_tiny_models(storage: Storage, data_folder: str, name: str) -> None:
    """Write `annotators/<name>` and `generators/<name>`, trained in a plain loop."""
    images = PreparedImages(storage, data_folder)
    annotator = AnnotatorLearner(images, ANNOTATOR, torch.device("cpu"))
    for step in range(ANNOTATOR.num_steps):
        annotator.train_step(step)
    annotator.save(storage, f"annotators/{name}", "annotator")
    generator = GeneratorLearner(images, GENERATOR, torch.device("cpu"))
    losses = [generator.train_step(step) for step in range(GENERATOR.num_steps)]
    generator.save(storage, f"generators/{name}", losses, "generator")

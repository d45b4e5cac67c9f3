"""Tiny models trained for a few steps on phantoms: real checkpoints, in seconds."""

from typing import Any

import torch

from synfundus.diagnosis.annotator import Annotator
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.fill import close_filled, shards_to_fill, write_filled_shard
from synfundus.diagnosis.training import AnnotatorLearner
from synfundus.diffusion.config import GeneratorConfig
from synfundus.diffusion.training import GeneratorLearner
from synfundus.fundus.dataset import PreparedImages
from synfundus.storage import Storage

ANNOTATOR = AnnotatorConfig(
    architecture="resnet10t", image_size_px=32, num_steps=12, batch_size=8, learning_rate=1e-3, num_threads=1
)
GENERATOR = GeneratorConfig.model_validate(
    {
        "unet": {"size_px": 32, "channels": (8, 16), "norm_num_groups": 4},
        "num_steps": 12,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "num_threads": 1,
        "sheet_num_columns": 2,
        "sheet_solver": {"name": "ddim", "num_steps": 2},
    }
)


def fill_here(storage: Storage, source: str, annotator: Annotator, target: str) -> dict[str, Any]:
    """The dataset `source` filled into `target`, a shard after the other in this process; returns the new manifest."""
    shards = [write_filled_shard(storage, source, file, annotator, target) for file in shards_to_fill(storage, source)]
    return close_filled(storage, source, annotator.digest, target, shards, "filled")


def train_tiny_models(storage: Storage, data_folder: str, name: str) -> None:
    """`annotators/<name>` and `generators/<name>`, by a plain loop."""
    images = PreparedImages(storage, data_folder)
    annotator = AnnotatorLearner(images, ANNOTATOR, torch.device("cpu"))
    for step in range(ANNOTATOR.num_steps):
        annotator.train_step(step)
    annotator.save(storage, f"annotators/{name}", {"digest": "annotator"})
    generator = GeneratorLearner(images, GENERATOR, torch.device("cpu"))
    losses = [{"step": step + 1, **generator.train_step(step)} for step in range(GENERATOR.num_steps)]
    generator.save(storage, f"generators/{name}", losses, {"digest": "generator"})

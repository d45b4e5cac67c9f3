"""The two trainings as tasks of `distributed/training.py`."""

from dataclasses import dataclass
from typing import Any

import torch

from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.training import AnnotatorLearner
from synfundus.diffusion.config import GeneratorConfig
from synfundus.diffusion.training import GeneratorLearner
from synfundus.fundus.dataset import PreparedImages
from synfundus.storage import Storage
from synfundus.training.learner import Learner


@dataclass(frozen=True)
class AnnotatorTask:
    """Train the annotator on experts' labels, calibrate it, and write `annotators/<name>/`."""

    config: AnnotatorConfig
    storage: Storage
    run_name: str
    data_folder: str
    output_folder: str
    digest: str

    def build(self, device: torch.device, rank: int, world_size: int) -> Learner:
        images = PreparedImages(self.storage, self.data_folder)
        return AnnotatorLearner(images, self.config, device, rank, world_size)

    def finish(self, learner: Learner, losses: list[dict[str, float]]) -> dict[str, Any]:  # noqa: ARG002
        assert isinstance(learner, AnnotatorLearner)
        return learner.save(self.storage, self.output_folder, {"digest": self.digest})


@dataclass(frozen=True)
class GeneratorTask:
    """Train the generator on experts' and filled labels, and write `generators/<name>/`."""

    config: GeneratorConfig
    storage: Storage
    run_name: str
    data_folder: str
    output_folder: str
    digest: str

    def build(self, device: torch.device, rank: int, world_size: int) -> Learner:
        images = PreparedImages(self.storage, self.data_folder)
        return GeneratorLearner(images, self.config, device, rank, world_size)

    def finish(self, learner: Learner, losses: list[dict[str, float]]) -> dict[str, Any]:
        assert isinstance(learner, GeneratorLearner)
        return learner.save(self.storage, self.output_folder, losses, {"digest": self.digest})

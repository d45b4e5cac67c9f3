"""Training tasks that wrap another one and change its learner.

A module of its own, because Ray's workers import it by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from synfundus.storage import Storage
from synfundus.training.config import OptimisationConfig
from synfundus.training.learner import Learner
from synfundus.training.metadata import StepMetrics


@dataclass(frozen=True)
class WrappedTask:
    """A task that behaves as `task` does; subclasses change parts of it."""

    task: Any

    @property
    def config(self) -> OptimisationConfig:
        config: OptimisationConfig = self.task.config
        return config

    @property
    def storage(self) -> Storage:
        storage: Storage = self.task.storage
        return storage

    @property
    def run_name(self) -> str:
        return str(self.task.run_name)

    def build(self, device: torch.device, rank: int, world_size: int) -> Learner:
        learner: Learner = self.task.build(device, rank, world_size)
        return learner

    def finish(self, learner: Learner, losses: Sequence[StepMetrics]) -> None:
        self.task.finish(learner, losses)

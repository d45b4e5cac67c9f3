"""A training whose worker dies once; in a module of its own, because Ray's workers import it by name."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from synfundus.learning import Learner
from synfundus.storage import Storage


@dataclass(frozen=True)
class KilledOnce:
    """A task whose worker of rank 1 kills itself hard once, at a step between two checkpoints."""

    task: Any
    marker: Path
    at_step: int

    @property
    def config(self) -> Any:
        return self.task.config

    @property
    def storage(self) -> Storage:
        storage: Storage = self.task.storage
        return storage

    @property
    def run_name(self) -> str:
        return str(self.task.run_name)

    def build(self, device: torch.device, rank: int, world_size: int) -> Learner:
        learner: Learner = self.task.build(device, rank, world_size)
        step = learner.train_step

        def train_step(number: int) -> dict[str, float]:
            if rank == 1 and number == self.at_step and not self.marker.exists():
                self.marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return step(number)

        learner.train_step = train_step  # type: ignore[assignment,method-assign]
        return learner

    def finish(self, learner: Learner, losses: list[dict[str, float]]) -> dict[str, Any]:
        facts: dict[str, Any] = self.task.finish(learner, losses)
        return facts

"""A training whose worker is killed once. A module of its own, because Ray's workers import it by name."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import torch
from wrapped_task import WrappedTask

from synfundus.training.learner import Learner
from synfundus.training.metadata import StepMetrics


@dataclass(frozen=True)
class KilledOnce(WrappedTask):
    """A task whose worker of rank 1 kills itself once with SIGKILL, at a step between two checkpoints."""

    marker: Path
    """File that the worker writes first, so that it kills itself only once."""
    at_step: int

    def build(self, device: torch.device, rank: int, world_size: int) -> Learner:
        learner = super().build(device, rank, world_size)
        step = learner.train_step

        def train_step(number: int) -> StepMetrics:
            if rank == 1 and number == self.at_step and not self.marker.exists():
                self.marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return step(number)

        learner.train_step = train_step  # type: ignore[assignment,method-assign]
        return learner

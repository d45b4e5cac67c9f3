"""A training as a task that Ray sends to its workers."""

from collections.abc import Sequence
from typing import Protocol

import torch

from synfundus.storage import Storage
from synfundus.training.config import OptimisationConfig
from synfundus.training.learner import Learner
from synfundus.training.metadata import StepMetrics


class TrainingTask(Protocol):
    """A training, defined on the driver and sent to the workers. It holds settings and no tensors."""

    @property
    def config(self) -> OptimisationConfig: ...

    @property
    def storage(self) -> Storage: ...

    @property
    def run_name(self) -> str:
        """Folder below `runs/`. It is deterministic, so a retried job finds its own state."""
        ...

    def build(self, device: torch.device, rank: int, world_size: int) -> Learner:
        """Return a learner at step 0. Each worker calls this once."""
        ...

    def finish(self, learner: Learner, losses: Sequence[StepMetrics]) -> None:
        """Write the trained model. Rank 0 calls this after the last step."""
        ...

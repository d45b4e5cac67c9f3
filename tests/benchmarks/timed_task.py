"""A training task that records the time of each step. A module of its own, because Ray's workers import it by name."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import torch
from turns import POLL_S
from wrapped_task import WrappedTask

from synfundus.digests import canonical_json
from synfundus.training.learner import Learner
from synfundus.training.metadata import StepMetrics

WARM_UP = 20
"""Steps before the clock starts: caches fill, memory is allocated, the CPU's frequency settles."""
READY, CLOCK = "ready", "clock.json"
"""Objects of a run: `ready` is written when step `WARM_UP` begins, `clock.json` after the last step."""


class Clock(TypedDict, total=False):
    """Content of `clock.json`: times in seconds since the epoch, and CPU times of the training process."""

    steps_s: list[float]
    """Start of each step."""
    start_cpu_s: float
    """CPU time at the start of step `WARM_UP`."""
    end_s: float
    end_cpu_s: float


@dataclass(frozen=True)
class Timed(WrappedTask):
    """A task that writes `ready` and `clock.json`."""

    clock: Clock = field(default_factory=lambda: Clock())

    @property
    def folder(self) -> str:
        return f"runs/{self.run_name}"

    def build(self, device: torch.device, rank: int, world_size: int) -> Learner:
        learner = super().build(device, rank, world_size)
        real_step = learner.train_step
        self.clock["steps_s"] = []

        def train_step(step: int) -> StepMetrics:
            if step == WARM_UP:
                self.storage.replace(f"{self.folder}/{READY}", b"")
                self.clock["start_cpu_s"] = time.process_time()
            self.clock["steps_s"].append(time.time())
            return real_step(step)

        learner.train_step = train_step  # type: ignore[method-assign]
        return learner

    def finish(self, learner: Learner, losses: Sequence[StepMetrics]) -> None:
        """Write `clock.json`, and then the model. Called after the last step and its checkpoint."""
        clock = {**self.clock, "end_s": time.time(), "end_cpu_s": time.process_time()}
        self.storage.replace(f"{self.folder}/{CLOCK}", canonical_json(clock))
        time.sleep(2 * POLL_S)  # the side is stopped here, so that writing the model is a turn of its own
        super().finish(learner, losses)

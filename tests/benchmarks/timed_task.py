"""A training task that notes when its learner takes a step; in its own module, as Ray's workers import it by name."""

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from turns import POLL_S
from wrapped_task import WrappedTask

from synfundus.digests import canonical_json
from synfundus.training.learner import Learner

WARM_UP = 20
"""Steps before the clock starts: caches fill, memory is claimed, the processor's clock settles."""
READY, CLOCK = "ready", "clock.json"
"""Objects of a run: there when step `WARM_UP` begins, and when the last step is done."""


@dataclass(frozen=True)
class Timed(WrappedTask):
    """Notes when its learner takes a step, and tells when the clock starts and when the last step is done."""

    clock: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return f"runs/{self.run_name}"

    def build(self, device: torch.device, rank: int, world_size: int) -> Learner:
        learner = super().build(device, rank, world_size)
        real_step = learner.train_step
        self.clock["steps_s"] = []

        def train_step(step: int) -> dict[str, float]:
            if step == WARM_UP:
                self.storage.replace(f"{self.folder}/{READY}", b"")
                self.clock["start_cpu_s"] = time.process_time()
            self.clock["steps_s"].append(time.time())
            return real_step(step)

        learner.train_step = train_step  # type: ignore[method-assign]
        return learner

    def finish(self, learner: Learner, losses: list[dict[str, float]]) -> dict[str, Any]:
        """Called after the last step and its checkpoint."""
        clock = {**self.clock, "end_s": time.time(), "end_cpu_s": time.process_time()}
        self.storage.replace(f"{self.folder}/{CLOCK}", canonical_json(clock))
        time.sleep(2 * POLL_S)  # here it is stopped, so that its end is a turn of its own
        return super().finish(learner, losses)

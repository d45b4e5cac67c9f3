"""A model in training: learning-rate curve, order of images, optimiser, exact resume.

Everything random in a training is a pure function of (seed, step, global sample position), and the global batch does
not depend on the world size. So resuming needs the step number and the tensors of `Learner.state`, but no random state.
A learner uses torch and torch.distributed only: Ray Train drives it in `distributed/train.py`, a plain loop in tests.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from synfundus.errors import TrainingDivergedError
from synfundus.seeds import random_numbers
from synfundus.training.config import OptimisationConfig
from synfundus.training.metadata import HeldOutLoss, MemorisationPoint, StepMetrics
from synfundus.training.read_ahead import NUM_AHEAD, ReadAhead


def learning_rate_at(step: int, config: OptimisationConfig) -> float:
    """Return the learning rate: linear warm-up to the peak, then half a cosine to the final fraction at `num_steps`."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.num_steps - config.warmup_steps)
    floor = config.final_learning_rate_fraction
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, num_images: int) -> NDArray[np.int64]:
    """Return a permutation of all images, (num_images,). Two are kept, because a batch may span two epochs."""
    order = random_numbers("order", seed, epoch).permutation(num_images)
    order.flags.writeable = False  # all readers share it
    return order


def image_indices(seed: int, positions: range, num_images: int) -> NDArray[np.int64]:
    """Return the index of the image at each global sample position: one seeded permutation of all images per epoch.

    Memory: 8 bytes per image and epoch, for two epochs.
    """
    parts = [np.zeros(0, np.int64)]
    for epoch in range(positions.start // num_images, (positions.stop - 1) // num_images + 1):
        first, end = (position - epoch * num_images for position in (positions.start, positions.stop))
        parts.append(_epoch_order(seed, epoch, num_images)[max(0, first) : min(end, num_images)])
    return np.concatenate(parts)


class Learner(ABC):
    """A model in training. A subclass defines the loss; optimiser, precision, workers and state are here."""

    inputs: ReadAhead[Any] | None = None
    """Reader of the inputs of `loss`; `train_step` starts it for the next micro-batches. None: nothing is read."""

    def __init__(
        self, network: nn.Module, config: OptimisationConfig, device: torch.device, rank: int = 0, world_size: int = 1
    ) -> None:
        """Move `network` to `device` and build its optimiser.

        Raises:
            WrongInputError: the batch does not divide evenly among workers and accumulation steps.
        """
        config.require_even_batch(world_size, "batch_size")
        self.config, self.device, self.rank, self.world_size = config, device, rank, world_size
        self.held_out_losses: list[HeldOutLoss] = []
        """Results of `held_out_loss` at each checkpoint so far; on rank 0 only."""
        self.memorisation_points: list[MemorisationPoint] = []
        """Results of `memorisation` at each checkpoint so far; on rank 0 only."""
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.forward_network: nn.Module = DistributedDataParallel(self.network) if world_size > 1 else self.network
        decayed = [p for p in self.network.parameters() if p.requires_grad and p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.requires_grad and p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=config.learning_rate,
            betas=(0.9, config.beta_2),
        )

    @abstractmethod
    def loss(self, positions: range) -> Tensor:
        """Return the mean loss of the images at these global sample positions, through `self.forward_network`."""

    def after_step(self, step: int) -> None:  # noqa: B027  an optional hook
        """Update moving averages; called after each optimiser step."""

    def held_out_loss(self, step: int) -> HeldOutLoss | None:  # noqa: ARG002  a hook
        """Return the loss on validation images after `step` steps, or None. Rank 0 calls this at each checkpoint."""
        return None

    def memorisation(self, step: int) -> MemorisationPoint | None:  # noqa: ARG002  a hook
        """Return how near samples come to training images after `step` steps, or None. Called like `held_out_loss`."""
        return None

    def sheet(self) -> NDArray[np.uint8] | None:
        """Return an image (H, W, 3) that shows the model's progress, or None. Rank 0 calls this at each checkpoint."""
        return None

    def close(self) -> None:
        """End the threads that read inputs."""
        if self.inputs is not None:
            self.inputs.close()

    def _positions(self, step: int) -> Iterator[range]:
        """Yield the global sample positions of this worker's micro-batches at a step."""
        size = self.config.batch_size // (self.world_size * self.config.accumulation_steps)
        first = step * self.config.batch_size + self.rank * size * self.config.accumulation_steps
        for micro in range(self.config.accumulation_steps):
            yield range(first + micro * size, first + (micro + 1) * size)

    def _read_ahead(self, step: int, micro: int) -> None:
        """Start to read the inputs of this micro-batch and of the next ones, up to the last step."""
        if self.inputs is not None:
            steps = range(step, max(step + 1, self.config.num_steps))
            following = (positions for later in steps for positions in self._positions(later))
            self.inputs.start(islice(following, micro, micro + 1 + NUM_AHEAD))

    def train_step(self, step: int) -> StepMetrics:
        """Take one optimiser step on global batch `step`, counted from 0.

        Returns:
            Metrics of the step; the loss is this worker's.

        Raises:
            TrainingDivergedError: loss or gradient is not finite.
        """
        self.network.train()
        rate = learning_rate_at(step, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for micro, positions in enumerate(self._positions(step)):
            self._read_ahead(step, micro)
            last = micro == self.config.accumulation_steps - 1
            if isinstance(self.forward_network, DistributedDataParallel):
                self.forward_network.require_backward_grad_sync = last
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.resources.precision == "bf16"):
                loss = self.loss(positions) / self.config.accumulation_steps
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), self.config.max_gradient_norm))
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise TrainingDivergedError(
                f"training diverged at step {step}: loss {total}, gradient norm {norm}; lower learning_rate"
                f" (now {self.config.learning_rate:g}) or lengthen warmup_steps (now {self.config.warmup_steps})"
            )
        self.optimizer.step()
        self.after_step(step)
        return StepMetrics(step=step + 1, loss=total, gradient_norm=norm, learning_rate=rate)

    def state(self) -> dict[str, Tensor]:
        """Return every tensor that the next step depends on, by name. A subclass adds its own."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{key}.{name}"] = value
        return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state` returned; the next step is then bit-equal to that of an uninterrupted run."""
        prefix = "network."
        self.network.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
        for name, parameter in self.network.named_parameters():
            restored: dict[str, Tensor] = {}
            for key in ("step", "exp_avg", "exp_avg_sq"):
                value = tensors.get(f"optimizer.{key}.{name}")
                if value is not None:
                    restored[key] = (
                        value.clone()
                        if key == "step"
                        else value.to(self.device).clone(memory_format=torch.preserve_format)
                    )
            if restored:
                self.optimizer.state[parameter] = restored

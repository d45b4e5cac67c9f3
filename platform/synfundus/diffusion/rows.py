"""Rows of the engine: requested samples at their own step, with their own solver."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synfundus.diffusion.config import ScheduleConfig, SolverConfig
from synfundus.diffusion.noise import normal
from synfundus.diffusion.solvers import SolverTable, solver_table
from synfundus.errors import SynfundusError
from synfundus.labels import CONDITION_DIM


class NonFiniteSampleError(SynfundusError):
    """Rows that ended in NaN or infinity. They have left the engine; the other rows are unchanged."""

    tickets: tuple[int, ...] = ()
    """Tickets of these rows."""

    @classmethod
    def of(cls, rows: Sequence["Row"]) -> "NonFiniteSampleError":
        """Return the error that names these rows."""
        names = ", ".join(f"ticket {row.ticket} (seed {row.request.seed})" for row in rows)
        error = cls(f"not finite: {names}; check the generator's weights, or sample in fp32")
        error.tickets = tuple(row.ticket for row in rows)
        return error


@dataclass(frozen=True, eq=False)
class RowRequest:
    """Request for one sample."""

    condition: NDArray[np.float32]
    """Condition vector (36,); its layout is in `synfundus.labels`."""
    seed: int
    """Seed of all noise of this sample, in [0, 2^53)."""
    solver: SolverConfig


@dataclass(frozen=True, eq=False)
class Row:
    """A requested sample in the engine."""

    ticket: int
    """Number that identifies the row to the caller."""
    request: RowRequest
    table: SolverTable
    steps: NDArray[np.float32]
    """Coefficients of each step, (num_steps, len(COLUMNS))."""


COLUMNS = ("x0_x", "x0_out", "eps_x", "eps_out", "limit", "guidance", "cx", "c0", "c0p", "ce", "cn")
"""Names of the coefficients of a step."""


@lru_cache(maxsize=512)
def step_columns(schedule: ScheduleConfig, solver: SolverConfig) -> NDArray[np.float32]:
    """Return the coefficients of each step: x0 and eps as linear forms of x and output, limit, guidance, update."""
    table = solver_table(schedule, solver)
    ones = np.ones(table.num_steps)
    if schedule.prediction == "epsilon":
        x0_x, x0_out, eps_x, eps_out = 1.0 / table.alpha, -table.sigma / table.alpha, 0.0 * ones, ones
    else:
        x0_x, x0_out, eps_x, eps_out = table.alpha, -table.sigma, table.sigma, table.alpha
    limit = ones if solver.clip else np.inf * ones
    update = (table.cx, table.c0, table.c0p, table.ce, table.cn)
    columns = (x0_x, x0_out, eps_x, eps_out, limit, solver.guidance_scale * ones, *update)
    return np.stack(columns, axis=1).astype(np.float32)


class RowBatch:
    """State of the rows that are denoised together: images, histories, steps done."""

    def __init__(self, shape_CHW: tuple[int, int, int], device: torch.device) -> None:
        """Start without rows."""
        self.rows: list[Row] = []
        self.steps_done: list[int] = []
        self._device = device
        self._shape_CHW = shape_CHW
        self.x_BCHW = torch.zeros((0, *shape_CHW), device=device)
        self.x0_prev_BCHW = torch.zeros((0, *shape_CHW), device=device)
        self.condition_BD = torch.zeros((0, CONDITION_DIM), device=device)

    def noise(self, indices: Sequence[int]) -> Tensor:
        """Return the noise of the rows at their current step; before the first step, the initial x."""
        seeds = torch.tensor([self.rows[b].request.seed for b in indices], dtype=torch.int64, device=self._device)
        stream = torch.tensor([self.steps_done[b] for b in indices], dtype=torch.int64, device=self._device)
        return normal(seeds, stream, self._shape_CHW)

    def join(self, joining: Sequence[Row]) -> None:
        """Add rows at step 0."""
        if not joining:
            return
        first = len(self.rows)
        self.rows += joining
        self.steps_done += [0] * len(joining)
        x_BCHW = self.noise(range(first, len(self.rows)))
        condition_BD = torch.from_numpy(np.stack([row.request.condition for row in joining])).to(self._device)
        self.x_BCHW = torch.cat((self.x_BCHW, x_BCHW))
        self.x0_prev_BCHW = torch.cat((self.x0_prev_BCHW, torch.zeros_like(x_BCHW)))
        self.condition_BD = torch.cat((self.condition_BD, condition_BD))

    def keep(self, indices: Sequence[int]) -> None:
        """Remove all rows except `indices`."""
        if len(indices) == len(self.rows):
            return
        index = torch.tensor(indices, dtype=torch.int64, device=self._device)
        self.rows = [self.rows[b] for b in indices]
        self.steps_done = [self.steps_done[b] for b in indices]
        self.x_BCHW, self.x0_prev_BCHW = self.x_BCHW[index], self.x0_prev_BCHW[index]
        self.condition_BD = self.condition_BD[index]

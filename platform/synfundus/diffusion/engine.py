"""The only denoising loop: rows of different solvers, step counts, guidance and progress in one forward a tick.

Two ways to drive it. *Continuously* (serving): `submit`, `cancel`, `tick`; rows join and leave between ticks, and each
forward is padded to the smallest of a few fixed batch shapes. *In lock step* (sampling): `run`, whose micro-batches
keep one batch shape, so that a row's bits do not depend on its neighbours.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synfundus.diffusion.config import ScheduleConfig, SolverConfig
from synfundus.diffusion.noise import normal
from synfundus.diffusion.solvers import SolverTable, solver_table
from synfundus.errors import SynfundusError, WrongInputError
from synfundus.labels import CONDITION_DIM, null_condition

DEFAULT_BUCKET_SIZES = (1, 2, 4, 8, 16, 32)
MAX_ACTIVE_ROWS = 128
"""Rows of continuous use that are denoised together: they, not those that wait, take memory."""


class NonFiniteSampleError(SynfundusError):
    """A row ended in NaN or infinity; it is gone from the engine, the other rows are as they were."""

    tickets: tuple[int, ...] = ()
    """The rows concerned."""

    @classmethod
    def of(cls, rows: Sequence["_Row"]) -> "NonFiniteSampleError":
        names = ", ".join(f"ticket {row.ticket} (seed {row.request.seed})" for row in rows)
        error = cls(f"not finite: {names}; the generator's weights or its dtype are at fault")
        error.tickets = tuple(row.ticket for row in rows)
        return error


@dataclass(frozen=True, eq=False)
class RowRequest:
    """One sample to make."""

    condition: NDArray[np.float32]
    """Condition vector (36,); layout in synfundus.labels."""
    seed: int
    """Key of all the noise of this sample, in [0, 2^53)."""
    solver: SolverConfig


@dataclass(frozen=True, eq=False)
class _Row:
    ticket: int
    request: RowRequest
    table: SolverTable
    steps: NDArray[np.float32]
    """(num_steps, len(_COLUMNS)): the coefficients of each step."""


_COLUMNS = ("x0_x", "x0_out", "eps_x", "eps_out", "limit", "guidance", "cx", "c0", "c0p", "ce", "cn")


@lru_cache(maxsize=512)
def _step_columns(schedule: ScheduleConfig, solver: SolverConfig) -> NDArray[np.float32]:
    """Of each step: x0 and eps as linear forms of x and the network's output, the clipping limit, guidance, update."""
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


class _Rows:
    """The state of rows that are denoised together: images, histories, steps done."""

    def __init__(self, shape_CHW: tuple[int, int, int], device: torch.device) -> None:
        self.rows: list[_Row] = []
        self.steps_done: list[int] = []
        self._device = device
        self._shape_CHW = shape_CHW
        self.x_BCHW = torch.zeros((0, *shape_CHW), device=device)
        self.x0_prev_BCHW = torch.zeros((0, *shape_CHW), device=device)
        self.condition_BD = torch.zeros((0, CONDITION_DIM), device=device)

    def noise(self, indices: Sequence[int]) -> Tensor:
        """Noise of the rows at their present step; before the first one, the initial x."""
        seeds = torch.tensor([self.rows[b].request.seed for b in indices], dtype=torch.int64, device=self._device)
        stream = torch.tensor([self.steps_done[b] for b in indices], dtype=torch.int64, device=self._device)
        return normal(seeds, stream, self._shape_CHW)

    def join(self, joining: Sequence[_Row]) -> None:
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

    def keep(self, kept: Sequence[int]) -> None:
        if len(kept) == len(self.rows):
            return
        index = torch.tensor(kept, dtype=torch.int64, device=self._device)
        self.rows = [self.rows[b] for b in kept]
        self.steps_done = [self.steps_done[b] for b in kept]
        self.x_BCHW, self.x0_prev_BCHW = self.x_BCHW[index], self.x0_prev_BCHW[index]
        self.condition_BD = self.condition_BD[index]


class Engine:
    """Denoises rows with a conditional U-Net.

    Continuous use is safe from several threads as long as one of them at a time calls `tick`.

    Args:
        unet: diffusers' UNet2DConditionModel with class_embed_type "projection", or a callable of its arguments. A
            module is moved to `device`, to channels_last and to evaluation mode, in place.
        schedule: the schedule it was trained on.
        shape_CHW: channels, height and width of its images, in px.
        bucket_sizes: batch shapes of continuous use, ascending; more rows than the last take several forwards.
        dtype: float32, or bfloat16 by autocast around the U-Net; the update itself is float32 always.
    """

    def __init__(
        self,
        unet: Callable[..., Any],
        schedule: ScheduleConfig,
        shape_CHW: tuple[int, int, int],
        bucket_sizes: Sequence[int] = DEFAULT_BUCKET_SIZES,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f"dtype must be float32 or bfloat16, not {dtype}")
        if list(bucket_sizes) != sorted(set(bucket_sizes)) or not bucket_sizes or bucket_sizes[0] < 1:
            raise ValueError(f"bucket_sizes must be positive and ascending, not {bucket_sizes}")
        self._device = torch.device(device)
        if isinstance(unet, torch.nn.Module):
            unet.to(device=self._device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._unet = unet
        self._schedule = schedule
        self._shape_CHW = shape_CHW
        self._bucket_sizes = tuple(bucket_sizes)
        self._dtype = dtype
        self._null_1D = torch.from_numpy(null_condition())[None].to(self._device)
        self._next_ticket = count()
        self._waiting: deque[_Row] = deque()
        self._cancelled: deque[int] = deque()
        self._finished: list[tuple[int, Tensor]] = []
        self._active = _Rows(shape_CHW, self._device)
        self.num_forwards = 0
        """U-Net forwards so far."""
        self.num_row_steps = 0
        """Steps of all rows so far."""

    @property
    def num_rows(self) -> int:
        """Rows that wait for their first tick or are under way."""
        return len(self._waiting) + len(self._active.rows)

    @property
    def row_steps_left(self) -> int:
        """Steps that these rows still need. To be asked between two ticks."""
        active = zip(self._active.rows, self._active.steps_done, strict=True)
        return sum(row.table.num_steps for row in self._waiting) + sum(
            row.table.num_steps - steps_done for row, steps_done in active
        )

    def submit(self, request: RowRequest) -> int:
        """Let a row join at the next tick that has room for it (`MAX_ACTIVE_ROWS`); returns its ticket.

        Raises:
            WrongInputError: a condition that is not 36 finite numbers, a seed out of range, too many steps.
        """
        row = self._row(request)
        self._waiting.append(row)
        return row.ticket

    def cancel(self, ticket: int) -> None:
        """Let a row leave before the next tick; a ticket that has already left is no error."""
        self._cancelled.append(ticket)

    def tick(self) -> list[tuple[int, Tensor]]:
        """One step of every row.

        Returns (ticket, image) of the rows that finished: float32 (C, H, W) on the CPU, in [-1, 1].

        Raises:
            NonFiniteSampleError: a row ended in NaN or infinity. Good rows of this tick come with the next one.
        """
        # Cancellations first: whatever they name has been submitted, so it is among the rows that wait or are active.
        cancelled = {self._cancelled.popleft() for _ in range(len(self._cancelled))}
        self._active.keep([b for b, row in enumerate(self._active.rows) if row.ticket not in cancelled])
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        waiting = [row for row in waiting if row.ticket not in cancelled]
        room = MAX_ACTIVE_ROWS - len(self._active.rows)
        self._active.join(waiting[:room])
        self._waiting.extendleft(reversed(waiting[room:]))
        done = self._advance(self._active, self._bucket_sizes)
        bad = [row for row, x_CHW in done if not bool(x_CHW.isfinite().all())]
        self._finished += [(row.ticket, x_CHW) for row, x_CHW in done if row not in bad]
        if bad:
            raise NonFiniteSampleError.of(bad)
        finished, self._finished = self._finished, []
        return finished

    def run(self, requests: Sequence[RowRequest], micro_batch: int) -> NDArray[np.uint8]:
        """Samples in lock step, uint8 (N, H, W, C), in the order of the requests.

        Rows are taken `micro_batch` at a time, a short last one filled up with copies of its last row. A forward has
        twice `micro_batch` rows where the solver guides and `micro_batch` rows elsewhere; so the bits of a row depend
        on its request, its place in the micro-batch and the micro-batch's size alone. Rows of `submit` are not touched.

        Raises:
            ValueError: requests of different solvers; their batch shape would depend on the neighbours.
            NonFiniteSampleError: a row ended in NaN or infinity; its ticket is its index in `requests`.
        """
        if len({request.solver for request in requests}) > 1:
            raise ValueError("lock step needs one solver for all requests; use submit and tick for mixed ones")
        images = np.empty((len(requests), *self._shape_CHW[1:], self._shape_CHW[0]), np.uint8)
        for start in range(0, len(requests), micro_batch):
            rows = [self._row(requests[i], i) for i in range(start, min(start + micro_batch, len(requests)))]
            images[start : start + len(rows)] = to_uint8(self._lock_step(rows, micro_batch)).numpy()
        return images

    def _lock_step(self, rows: Sequence[_Row], micro_batch: int) -> Tensor:
        together = _Rows(self._shape_CHW, self._device)
        together.join([*rows, *[rows[-1]] * (micro_batch - len(rows))])
        done: list[tuple[_Row, Tensor]] = []
        while together.rows:
            done += self._advance(together, (micro_batch, 2 * micro_batch))
        bad = [row for row, x_CHW in done[: len(rows)] if not bool(x_CHW.isfinite().all())]
        if bad:
            raise NonFiniteSampleError.of(bad)
        return torch.stack([x_CHW for _, x_CHW in done[: len(rows)]])

    def _row(self, request: RowRequest, ticket: int | None = None) -> _Row:
        if request.condition.shape != (CONDITION_DIM,) or not np.isfinite(request.condition).all():
            raise WrongInputError(
                f"condition has shape {request.condition.shape}; give {CONDITION_DIM} finite numbers (synfundus.labels)"
            )
        if not 0 <= request.seed < 2**53:
            raise WrongInputError(f"seed is {request.seed}; give a whole number from 0 to 2^53 - 1")
        table = solver_table(self._schedule, request.solver)
        steps = _step_columns(self._schedule, request.solver)
        return _Row(next(self._next_ticket) if ticket is None else ticket, request, table, steps)

    @torch.inference_mode()
    def _advance(self, state: _Rows, bucket_sizes: Sequence[int]) -> list[tuple[_Row, Tensor]]:
        """One step of all rows of `state`; those that are done leave it and are returned, in their order."""
        if not state.rows:
            return []
        steps = list(zip(state.rows, state.steps_done, strict=True))
        table = np.stack([row.steps[step] for row, step in steps])
        columns = torch.from_numpy(table.T.copy()).to(self._device)[:, :, None, None, None]
        k = dict(zip(_COLUMNS, columns, strict=True))
        output = self._guided_output(state, k["guidance"], bucket_sizes)

        x = state.x_BCHW
        x0 = (k["x0_x"] * x + k["x0_out"] * output).clamp(-k["limit"], k["limit"])
        eps = k["eps_x"] * x + k["eps_out"] * output
        state.x_BCHW = k["cx"] * x + k["c0"] * x0 + k["c0p"] * state.x0_prev_BCHW + k["ce"] * eps
        state.x0_prev_BCHW = x0
        state.steps_done = [step + 1 for step in state.steps_done]
        self.num_row_steps += len(steps)
        noisy = [b for b, (row, step) in enumerate(steps) if row.table.cn[step] != 0.0]
        if noisy:
            state.x_BCHW[noisy] += k["cn"][noisy] * state.noise(noisy)
        return self._take_done(state)

    def _take_done(self, state: _Rows) -> list[tuple[_Row, Tensor]]:
        left = [row.table.num_steps - step for row, step in zip(state.rows, state.steps_done, strict=True)]
        done = [b for b, steps_left in enumerate(left) if steps_left == 0]
        if not done:
            return []
        x_BCHW = state.x_BCHW[done].clamp(-1.0, 1.0).cpu()
        taken = [(state.rows[b], x_CHW) for b, x_CHW in zip(done, x_BCHW, strict=True)]
        state.keep([b for b, steps_left in enumerate(left) if steps_left > 0])
        return taken

    def _guided_output(self, state: _Rows, guidance_B111: Tensor, bucket_sizes: Sequence[int]) -> Tensor:
        """The network's output for each row; null + w (conditional - null) for the rows that are guided at their step.

        Ho and Salimans 2022 (arXiv 2207.12598), eq. 6, with w counted from 1.
        """
        steps = list(zip(state.rows, state.steps_done, strict=True))
        t_B = torch.tensor([int(row.table.t[step]) for row, step in steps], device=self._device)
        guided = [b for b, (row, step) in enumerate(steps) if row.table.guided[step]]
        num_rows, largest = len(steps), bucket_sizes[-1]
        rows = [*range(num_rows), *guided]
        conditions = [*range(num_rows), *[num_rows] * len(guided)]
        condition_BD = torch.cat((state.condition_BD, self._null_1D))
        outputs = [
            self._forward(
                state.x_BCHW, t_B, condition_BD, rows[i : i + largest], conditions[i : i + largest], bucket_sizes
            )
            for i in range(0, len(rows), largest)
        ]
        output = torch.cat(outputs)
        conditional = output[:num_rows]
        if not guided:
            return conditional
        null = conditional.index_copy(0, torch.tensor(guided, device=self._device), output[num_rows:])
        return null + guidance_B111 * (conditional - null)

    def _forward(
        self,
        x_BCHW: Tensor,
        t_B: Tensor,
        condition_BD: Tensor,
        rows: Sequence[int],
        conditions: Sequence[int],
        bucket_sizes: Sequence[int],
    ) -> Tensor:
        """One U-Net forward of the named rows, padded to a bucket with copies of row 0; float32."""
        padding = [0] * (next(size for size in bucket_sizes if size >= len(rows)) - len(rows))
        row_index = torch.tensor([*rows, *padding], device=self._device)
        condition_index = torch.tensor([*conditions, *padding], device=self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._dtype == torch.bfloat16):
            output: Tensor = self._unet(
                x_BCHW[row_index].contiguous(memory_format=torch.channels_last),
                t_B[row_index],
                encoder_hidden_states=None,
                class_labels=condition_BD[condition_index],
            ).sample
        self.num_forwards += 1
        return output[: len(rows)].float().contiguous()


def to_uint8(x_BCHW: Tensor) -> Tensor:
    """Images in [-1, 1] as uint8 (B, H, W, C) on the CPU: 127.5 (x + 1), rounded to the nearest, ties to even."""
    return ((x_BCHW + 1.0) * 127.5).round().clamp(0.0, 255.0).to(torch.uint8).permute(0, 2, 3, 1).cpu().contiguous()

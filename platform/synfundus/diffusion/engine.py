"""The only denoising loop: rows of different solvers, step counts, guidance and progress share a forward pass.

There are two ways to use it. Serving calls `submit`, `cancel` and `tick`: rows join and leave between ticks, and each
forward is padded to the smallest of a few fixed batch shapes. Sampling calls `run`: it denoises micro-batches of one
fixed shape in lock step, so that the bits of a row do not depend on its neighbours.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synfundus.diffusion.config import ScheduleConfig
from synfundus.diffusion.rows import COLUMNS, NonFiniteSampleError, Row, RowBatch, RowRequest, step_columns
from synfundus.diffusion.solvers import solver_table
from synfundus.errors import WrongInputError
from synfundus.labels import CONDITION_DIM, null_condition
from synfundus.seeds import SEED_END

__all__ = [
    "DEFAULT_BUCKET_SIZES",
    "MAX_ACTIVE_ROWS",
    "Engine",
    "NonFiniteSampleError",
    "RowRequest",
    "to_uint8",
]

DEFAULT_BUCKET_SIZES = (1, 2, 4, 8, 16, 32)
"""Batch shapes of continuous use."""
MAX_ACTIVE_ROWS = 128
"""Largest number of rows that `tick` denoises together. Waiting rows need no memory on the device."""


class Engine:
    """Denoiser of rows, with a conditional U-Net.

    Several threads may use it continuously, as long as only one at a time calls `tick`.

    Args:
        unet: diffusers' UNet2DConditionModel with class_embed_type "projection", or a callable with its arguments. A
            module is moved to `device`, to channels_last and to evaluation mode, in place.
        schedule: the schedule that it was trained on.
        shape_CHW: channels, height and width of its images, in px.
        bucket_sizes: batch shapes of continuous use, ascending; more rows than the largest take several passes.
        dtype: float32, or bfloat16 as autocast around the U-Net; the update is always float32.
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
        self._waiting: deque[Row] = deque()
        self._cancelled: deque[int] = deque()
        self._finished: list[tuple[int, Tensor]] = []
        self._active = RowBatch(shape_CHW, self._device)
        self.num_forwards = 0
        """Number of the U-Net's forward passes since the start."""
        self.num_row_steps = 0
        """Row-steps since the start."""

    @property
    def num_rows(self) -> int:
        """Number of rows that wait for their first tick or are being denoised."""
        return len(self._waiting) + len(self._active.rows)

    @property
    def row_steps_left(self) -> int:
        """Row-steps that these rows still need. Correct between two ticks only."""
        active = zip(self._active.rows, self._active.steps_done, strict=True)
        return sum(row.table.num_steps for row in self._waiting) + sum(
            row.table.num_steps - steps_done for row, steps_done in active
        )

    def submit(self, request: RowRequest) -> int:
        """Let a row join at the next tick that has room for it (`MAX_ACTIVE_ROWS`), and return its ticket.

        Raises:
            WrongInputError: a condition other than 36 finite numbers, a seed out of range, too many steps.
        """
        row = self._row(request)
        self._waiting.append(row)
        return row.ticket

    def cancel(self, ticket: int) -> None:
        """Remove a row before the next tick. A ticket that has already left is ignored."""
        self._cancelled.append(ticket)

    def tick(self) -> list[tuple[int, Tensor]]:
        """Take one step of every row.

        Returns:
            Ticket and image of each row that finished: float32 (C, H, W) on the CPU, in [-1, 1].

        Raises:
            NonFiniteSampleError: a row ended in NaN or infinity. The next tick returns the finite rows of this one.
        """
        # Cancellations come first: their rows were submitted before, so they are among the waiting or active ones.
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
        """Denoise all requests in lock step; return uint8 images (N, H, W, C) in their order.

        Copies of the last row fill up a short last micro-batch. A forward has twice `micro_batch` rows in guided steps
        and `micro_batch` rows in the others. So the bits of a row depend only on its request, its place in the
        micro-batch and the size of the micro-batch. Submitted rows are not changed.

        Raises:
            ValueError: the requests have different solvers, so their batch shape would depend on the neighbours.
            NonFiniteSampleError: a row ended in NaN or infinity; its ticket is its index in `requests`.
        """
        if len({request.solver for request in requests}) > 1:
            raise ValueError("lock step needs one solver for all requests; use submit and tick for mixed ones")
        images = np.empty((len(requests), *self._shape_CHW[1:], self._shape_CHW[0]), np.uint8)
        for start in range(0, len(requests), micro_batch):
            rows = [self._row(requests[i], i) for i in range(start, min(start + micro_batch, len(requests)))]
            images[start : start + len(rows)] = to_uint8(self._lock_step(rows, micro_batch)).numpy()
        return images

    def _lock_step(self, rows: Sequence[Row], micro_batch: int) -> Tensor:
        """Denoise one micro-batch; return images (len(rows), C, H, W) in [-1, 1]."""
        together = RowBatch(self._shape_CHW, self._device)
        together.join([*rows, *[rows[-1]] * (micro_batch - len(rows))])
        done: list[tuple[Row, Tensor]] = []
        while together.rows:
            done += self._advance(together, (micro_batch, 2 * micro_batch))
        bad = [row for row, x_CHW in done[: len(rows)] if not bool(x_CHW.isfinite().all())]
        if bad:
            raise NonFiniteSampleError.of(bad)
        return torch.stack([x_CHW for _, x_CHW in done[: len(rows)]])

    def _row(self, request: RowRequest, ticket: int | None = None) -> Row:
        """Validate a request and look up its coefficients."""
        if request.condition.shape != (CONDITION_DIM,) or not np.isfinite(request.condition).all():
            raise WrongInputError(
                f"condition: shape {request.condition.shape}; give {CONDITION_DIM} finite numbers (synfundus.labels)"
            )
        if not 0 <= request.seed < SEED_END:
            raise WrongInputError(f"seed: is {request.seed}; give a whole number from 0 to 2^53 - 1")
        table = solver_table(self._schedule, request.solver)
        steps = step_columns(self._schedule, request.solver)
        return Row(next(self._next_ticket) if ticket is None else ticket, request, table, steps)

    @torch.inference_mode()
    def _advance(self, state: RowBatch, bucket_sizes: Sequence[int]) -> list[tuple[Row, Tensor]]:
        """Take one step of all rows of `state`; remove the finished ones and return them in their order."""
        if not state.rows:
            return []
        steps = list(zip(state.rows, state.steps_done, strict=True))
        table = np.stack([row.steps[step] for row, step in steps])
        columns = torch.from_numpy(table.T.copy()).to(self._device)[:, :, None, None, None]
        k = dict(zip(COLUMNS, columns, strict=True))
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

    def _take_done(self, state: RowBatch) -> list[tuple[Row, Tensor]]:
        """Remove the finished rows of `state` and return them with their images."""
        left = [row.table.num_steps - step for row, step in zip(state.rows, state.steps_done, strict=True)]
        done = [b for b, steps_left in enumerate(left) if steps_left == 0]
        if not done:
            return []
        x_BCHW = state.x_BCHW[done].clamp(-1.0, 1.0).cpu()
        taken = [(state.rows[b], x_CHW) for b, x_CHW in zip(done, x_BCHW, strict=True)]
        state.keep([b for b, steps_left in enumerate(left) if steps_left > 0])
        return taken

    def _guided_output(self, state: RowBatch, guidance_B111: Tensor, bucket_sizes: Sequence[int]) -> Tensor:
        """Return the network's output for each row: null + w (conditional - null) if the row's step is guided.

        Ho and Salimans 2022 (arXiv 2207.12598), eq. 6, with w = 1 for no guidance.
        """
        steps = list(zip(state.rows, state.steps_done, strict=True))
        # The network embeds t in float32, so a whole number gives the bits that it gives as an integer.
        t_B = torch.tensor([row.table.t[step] for row, step in steps], dtype=torch.float32, device=self._device)
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
        """Run one U-Net forward of these rows, padded to a bucket with copies of row 0; return float32."""
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
    """Convert images in [-1, 1] to uint8 (B, H, W, C) on the CPU: 127.5 (x + 1), rounded to nearest, ties to even."""
    return ((x_BCHW + 1.0) * 127.5).round().clamp(0.0, 255.0).to(torch.uint8).permute(0, 2, 3, 1).cpu().contiguous()

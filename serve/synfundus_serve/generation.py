"""The generation deployment: the study's generator in one engine, shared by all requests of a replica."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from ray import serve

from synfundus.diffusion.checkpoint import load_generator
from synfundus.diffusion.engine import Engine, NonFiniteSampleError, RowRequest
from synfundus.errors import WrongInputError
from synfundus.storage import open_storage
from synfundus.study import Study
from synfundus_serve.continuous import ContinuousEngine
from synfundus_serve.copy_check import CopyCheck
from synfundus_serve.messages import GeneratorInfo
from synfundus_serve.refusal import Refusal
from synfundus_serve.throughput import BusyError

MAX_ONGOING_REQUESTS = 10_000
"""Largest number of requests in a replica at once. High, so that only the limit of row-steps refuses requests."""


@dataclass(frozen=True)
class Generated:
    """Samples of a request."""

    pixels_NHWC: NDArray[np.uint8]
    is_copy_N: NDArray[np.bool_]
    """True for a sample that is withheld, because it lies too near to a training photograph."""


@serve.deployment(max_ongoing_requests=MAX_ONGOING_REQUESTS)
class Generation:
    """One replica with one engine."""

    def __init__(self, study: Study, max_row_steps: int) -> None:
        resources = study.serving.generation
        torch.set_num_threads(resources.num_threads)
        device = torch.device(resources.device)
        storage = open_storage(study.root, create=False)
        generator = load_generator(storage, study.generator_folder, device)
        dtype = torch.bfloat16 if resources.precision == "bf16" else torch.float32
        engine = Engine(generator.unet, generator.schedule, generator.image_shape, device=device, dtype=dtype)
        self._engine = ContinuousEngine(engine, max_row_steps, resources.num_threads)
        self._copy_check = (
            CopyCheck(storage, study.copy_detector_folder, device, resources.num_threads)
            if study.serving.withhold_copies
            else None
        )
        self._info = GeneratorInfo(
            digest=generator.digest,
            size_px=generator.size_px,
            max_steps=generator.schedule.num_train_timesteps,
            usual_solver=study.samples.solver,
            precision=resources.precision,
        )

    async def sample(self, requests: Sequence[RowRequest]) -> Generated | Refusal:
        """Return the samples in the order of the requests."""
        row_steps = sum(request.solver.num_steps for request in requests)
        limit = self._engine.max_row_steps
        if row_steps > limit:
            return Refusal(422, f"{row_steps} row-steps (n x steps) are requested, at most {limit}; lower n or steps")
        try:
            pixels_NHWC = await self._engine.sample(requests)
        except WrongInputError as error:
            return Refusal(422, str(error))
        except BusyError as busy:
            return Refusal(429, "too many images are under way; try again later", busy.retry_after_s)
        except NonFiniteSampleError as error:
            return Refusal(500, str(error))
        if self._copy_check is None:
            return Generated(pixels_NHWC, np.zeros(len(pixels_NHWC), np.bool_))
        return Generated(pixels_NHWC, await self._copy_check.is_copy(pixels_NHWC))

    async def info(self) -> GeneratorInfo:
        """Return the description of the generator."""
        return self._info

    async def require_working(self) -> None:
        """Raise the error that broke the engine; the gateway is not ready then."""
        self._engine.require_working()

    async def num_forwards(self) -> int:
        """Return the number of the U-Net's forward passes of this replica so far."""
        return self._engine.engine.num_forwards

    async def num_rows(self) -> int:
        """Return the number of rows that wait or are under way."""
        return self._engine.engine.num_rows

    def check_health(self) -> None:
        """Raise the error that broke the engine, so that Ray Serve, which calls this, replaces the replica."""
        self._engine.require_working()

"""The generation deployment: the study's generator in one engine that all requests of a replica share."""

from collections.abc import Sequence

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
from synfundus_serve.messages import GeneratorInfo
from synfundus_serve.refusal import Refusal
from synfundus_serve.speed import BusyError

MANY_REQUESTS = 10_000
"""Requests that Serve lets into a replica: the engine's queue of row-steps decides, not their number."""


@serve.deployment(max_ongoing_requests=MANY_REQUESTS)
class Generation:
    """One replica: one engine."""

    def __init__(self, study: Study, max_row_steps: int) -> None:
        samples = study.samples
        torch.set_num_threads(samples.num_threads)
        device = torch.device("cuda" if samples.use_gpu else "cpu")
        generator = load_generator(open_storage(study.root, create=False), study.generator_folder, device)
        dtype = torch.bfloat16 if samples.precision == "bf16" else torch.float32
        engine = Engine(generator.unet, generator.schedule, generator.image_shape, device=device, dtype=dtype)
        self._engine = ContinuousEngine(engine, max_row_steps, samples.num_threads)
        self._info = GeneratorInfo(
            digest=generator.digest,
            size_px=generator.size_px,
            max_steps=generator.schedule.num_train_timesteps,
            usual_solver=samples.solver,
            precision=samples.precision,
        )

    async def draw(self, requests: Sequence[RowRequest]) -> NDArray[np.uint8] | Refusal:
        """Images uint8 (N, H, W, C) in the order of the requests."""
        row_steps = sum(request.solver.num_steps for request in requests)
        limit = self._engine.max_row_steps
        if row_steps > limit:
            return Refusal(422, f"{row_steps} denoising steps of all images; at most {limit}: ask for fewer of either")
        try:
            return await self._engine.draw(requests)
        except WrongInputError as error:
            return Refusal(422, str(error))
        except BusyError as busy:
            return Refusal(429, "too many images are under way; try again later", busy.retry_after_s)
        except NonFiniteSampleError as error:
            return Refusal(500, str(error))

    async def info(self) -> GeneratorInfo:
        return self._info

    async def require_working(self) -> None:
        """Raises whatever broke the engine: the gateway is not ready then."""
        self._engine.require_working()

    async def num_forwards(self) -> int:
        """U-Net forwards of this replica so far."""
        return self._engine.engine.num_forwards

    async def num_rows(self) -> int:
        """Rows that wait or are under way."""
        return self._engine.engine.num_rows

    def check_health(self) -> None:
        """Ray Serve's probe: raising lets it replace the replica."""
        self._engine.require_working()

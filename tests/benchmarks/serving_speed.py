"""Measure the generations/s of a replica whose engine all requests share, and of one that takes one request at a time.

    python tests/benchmarks/serving_speed.py

Models, solver and threads are those of the recipe phantom-cpu; the models are trained for a few steps only, because
speed does not depend on their quality. Both sides are the real gateway on one Ray Serve with the same settings; on one
of them a lock admits one request at a time to the replica's engine. Requests for one image each arrive over HTTP at
random moments (a Poisson process scaled to the stated mean rate), the same for both sides. The sides take turns at
rising rates. Goodput is the highest rate, interpolated, whose 95th percentile of latency stays below a bound.
Writes tests/benchmarks/results/serving_cpu2_202611.md.
"""

import argparse
import asyncio
import itertools
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import torch
from report_table import in_fresh_process, keep, machine, own_ray_session, prepare_data, recipe_study, table
from sampling_speed import train_models

from synfundus.diffusion.checkpoint import load_generator
from synfundus.diffusion.engine import Engine, RowRequest
from synfundus.labels import encode_conditions
from synfundus.storage import open_storage
from synfundus.study import Study

COMMAND = "python tests/benchmarks/serving_speed.py"
RECIPE = "phantom-cpu"
GUIDANCES = (2.0, 1.0)
SHARED, SINGLE = "shared", "one at a time"
LOADS = {
    SHARED: (1.0, 1.3, 1.6, 1.9, 2.2, 2.6, 3.0, 3.5),
    SINGLE: (0.5, 0.65, 0.8, 0.95),
}
"""Offered rates, as multiples of the rate that a lone client gets. A side stops at the first rate beyond the bound."""
BOUND = 4.0
"""Bound on the 95th percentile of latency, as a multiple of the latency of a lone request."""
NUM_REPLICAS = 6
"""Three per side; each takes one of Ray's CPUs."""
FORWARD_ROWS = 32
"""Rows of the engine's largest forward; a guided image takes two."""
TEXT = """# Speed of serving

Command: `{command}`

{machine}

{num_steps} steps of {solver}, {precision}, {threads} thread(s); one image per request. {count} requests per rate arrive
at the same moments for both sides, which take turns. One replica of each model, gateway and client on the same two
cores.

## Goodput at a 95th percentile of {bound:g} x the latency of a lone request

{goodput}

Engine: images/s of the bare engine with full forward passes of {forward_rows} rows, divided by images/s of one image
alone. It limits the gain of sharing in answers/s, but not in goodput: the bound on latency costs the side that takes
one request at a time a larger part of its speed.

## All rates

Latencies in s; loads as multiples of the rate that a lone client gets.

{rates}
"""


@dataclass(frozen=True)
class Measured:
    """One side at one rate."""

    side: str
    guidance: float
    load: float
    offered_per_s: float
    answered_per_s: float
    latencies_s: list[float]

    @property
    def p95_s(self) -> float:
        """95th percentile of latency."""
        return float(np.quantile(self.latencies_s, 0.95))


@contextmanager
def served(study: Study) -> Iterator[dict[str, str]]:
    """Serve both sides; yields the URL of each side's generation endpoint."""
    from ray import serve

    from synfundus_serve import gateway
    from synfundus_serve.edge.install import CONTROLLER_OPTIONS
    from synfundus_serve.generation import Generation

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port}, controller_options=CONTROLLER_OPTIONS)
    try:
        for number, side in enumerate(LOADS):
            generation = Generation if side == SHARED else one_at_a_time(Generation)
            with patch.object(gateway, "Generation", generation):
                serve.run(gateway.application(study, None, 10**9), name=f"side{number}", route_prefix=f"/side{number}")
        yield {side: f"http://127.0.0.1:{port}/side{number}/v1/generate" for number, side in enumerate(LOADS)}
    finally:
        serve.shutdown()


def one_at_a_time(generation: Any) -> Any:
    """Return the deployment with a lock in front of its engine."""

    class OneAtATime(generation.func_or_class):  # type: ignore[misc]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.lock = asyncio.Lock()

        async def sample(self, requests: Any) -> Any:
            async with self.lock:
                return await super().sample(requests)

    return generation.options(func_or_class=OneAtATime)


async def ask(client: httpx.AsyncClient, url: str, seed: int, guidance: float) -> float:
    """Send one request and return its latency in s."""
    start_s = time.monotonic()
    answer = await client.post(url, json={"seed": seed, "guidance": guidance, "condition": {"eye_side": 1}})
    assert answer.status_code == 200, answer.text
    return time.monotonic() - start_s


async def lone_latency(url: str, guidance: float, count: int) -> float:
    """Return the median latency of requests sent one after the other."""
    async with httpx.AsyncClient(timeout=600) as client:
        return float(np.median([await ask(client, url, seed, guidance) for seed in range(count)]))


async def at_rate(url: str, guidance: float, rate_per_s: float, count: int) -> tuple[list[float], float]:
    """Return the latencies of `count` requests at random moments, and the answers/s until the last one."""
    moments = np.cumsum(np.random.default_rng(1).exponential(size=count))
    arrivals_s = [float(t) for t in moments * (count / rate_per_s / moments[-1])]
    async with httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=None)) as client:
        start_s = time.monotonic()

        async def one(seed: int, at_s: float) -> float:
            await asyncio.sleep(max(0.0, start_s + at_s - time.monotonic()))
            due_s = start_s + at_s
            await ask(client, url, seed, guidance)
            return time.monotonic() - due_s

        latencies_s = await asyncio.gather(*itertools.starmap(one, enumerate(arrivals_s)))
        return list(latencies_s), count / (time.monotonic() - start_s)


def images_per_s(root: str, study: Study, guidance: float, num_images: int) -> float:
    """Return the images/s of the bare engine with `num_images` images in flight."""
    torch.set_num_threads(study.serving.generation.num_threads)
    generator = load_generator(open_storage(root), study.generator_folder)
    dtype = torch.bfloat16 if study.serving.generation.precision == "bf16" else torch.float32
    engine = Engine(generator.unet, generator.schedule, generator.image_shape, dtype=dtype)
    (condition,) = encode_conditions([{"eye_side": 1}])
    solver = study.samples.solver.model_copy(update={"guidance_scale": guidance})
    speeds = []
    for _ in range(5):
        start_s = time.monotonic()
        for seed in range(num_images):
            engine.submit(RowRequest(condition, seed, solver))
        while engine.num_rows:
            engine.tick()
        speeds.append(num_images / (time.monotonic() - start_s))
    return float(np.median(speeds))


def measure(study: Study, count: int) -> tuple[list[Measured], dict[float, float]]:
    """Measure both sides at every rate, and the latency of a lone request at each guidance (on the shared side)."""
    found: list[Measured] = []
    alone_s: dict[float, float] = {}
    with served(study) as urls:
        for guidance in GUIDANCES:
            for url in urls.values():
                asyncio.run(lone_latency(url, guidance, 5))
            alone_s[guidance] = asyncio.run(lone_latency(urls[SHARED], guidance, 30))
            for side, load in turns():
                earlier = [m for m in found if (m.side, m.guidance) == (side, guidance)]
                if earlier and earlier[-1].p95_s > BOUND * alone_s[guidance]:
                    continue
                rate = load / alone_s[guidance]
                latencies_s, answered = asyncio.run(at_rate(urls[side], guidance, rate, count))
                found.append(Measured(side, guidance, load, rate, answered, latencies_s))
                print(side, guidance, load, f"{found[-1].p95_s:.3f}", flush=True)
    return found, alone_s


def turns() -> Iterator[tuple[str, float]]:
    """Yield the sides in turn, each with its next load."""
    for loads in itertools.zip_longest(*LOADS.values()):
        for side, load in zip(LOADS, loads, strict=True):
            if load is not None:
                yield side, load


def goodput(found: Sequence[Measured], bound_s: float) -> float:
    """Return the rate at which the 95th percentile reaches the bound, interpolated between the measured rates."""
    below = [m for m in found if m.p95_s <= bound_s]
    above = [m for m in found if m.p95_s > bound_s]
    if not below:
        return 0.0
    last = below[-1]
    if not above:
        return last.offered_per_s
    part = (bound_s - last.p95_s) / (above[0].p95_s - last.p95_s)
    return last.offered_per_s + part * (above[0].offered_per_s - last.offered_per_s)


def tables(found: list[Measured], alone_s: dict[float, float], full_over_alone: dict[float, float]) -> tuple[str, str]:
    """Return the table of goodput and that of all rates.

    Args:
        alone_s: latency of a lone request, by guidance.
        full_over_alone: speed of the bare engine with full forwards over that with one image, by guidance.
    """
    rows = []
    for guidance in GUIDANCES:
        bound_s = BOUND * alone_s[guidance]
        shared, single = (
            goodput([m for m in found if (m.side, m.guidance) == (side, guidance)], bound_s) for side in LOADS
        )
        times = f"{shared / single:.2f}" if single else "-"
        cells = [f"{guidance:g}", f"{alone_s[guidance]:.3f}", f"{bound_s:.2f}", f"{shared:.2f}", f"{single:.2f}"]
        rows.append([*cells, times, f"{full_over_alone[guidance]:.2f}"])
    head = ["guidance", "alone, s", "bound, s", "shared, 1/s", "one at a time, 1/s", "times", "engine"]
    every = [
        [
            m.side,
            f"{m.guidance:g}",
            f"{m.load:g}",
            f"{m.offered_per_s:.2f}",
            f"{m.answered_per_s:.2f}",
            f"{np.median(m.latencies_s):.2f}",
            f"{m.p95_s:.2f}",
            str(len(m.latencies_s)),
        ]
        for m in found
    ]
    heads = ["side", "guidance", "load", "offered, 1/s", "answered, 1/s", "median", "95 %", "requests"]
    return table(head, rows), table(heads, every)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=100, help="requests at each rate")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = recipe_study(RECIPE, folder, ["data.sources.0.num_images=400"])
        storage = open_storage(folder)
        prepare_data(study, storage)
        train_models(study, storage, 20)
        with own_ray_session(NUM_REPLICAS):
            found, alone_s = measure(study, options.requests)
        full_over_alone = {
            guidance: _bare(folder, study, guidance, FORWARD_ROWS // (2 if guidance > 1 else 1))
            / _bare(folder, study, guidance, 1)
            for guidance in GUIDANCES
        }
        best, every = tables(found, alone_s, full_over_alone)
        solver, resources = study.samples.solver, study.serving.generation
        keep(
            "serving",
            TEXT.format(
                command=f"{COMMAND} --requests {options.requests}",
                machine=machine("torch", "diffusers", "ray", "fastapi"),
                num_steps=solver.num_steps,
                solver=solver.name,
                precision=resources.precision,
                threads=resources.num_threads,
                count=options.requests,
                bound=BOUND,
                goodput=best,
                forward_rows=FORWARD_ROWS,
                rates=every,
            ),
        )


def _bare(folder: str, study: Study, guidance: float, num_images: int) -> float:
    result: Any = in_fresh_process(images_per_s, folder, study, guidance, num_images)
    return float(result)


if __name__ == "__main__":
    main()

"""Measure the samples/s of the stage `sample` on Ray Data, and of the bare engine over the same conditions and seeds.

    PYTHONPATH=tests python tests/benchmarks/sampling_speed.py

Models, solver, micro-batch, shard and threads are those of the recipe phantom-cpu. The models are trained for a few
steps only, because speed does not depend on their quality. Each round runs both sides, in alternating order:
engine   one or two new processes: `Engine.run` over the requests; nothing but denoising
stage    `sample_on_pool` of synfundus.stages.sample_pool in a new Ray session with one or two workers: denoising,
         annotation, encoding, checks, Parquet, records, manifest
A side's speed is the sum over its processes, each from the end of its first shard (engine: first micro-batch) to the
end of its last one. Start-up is listed separately.
Writes tests/benchmarks/results/sampling_cpu2_202611.md.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from unittest.mock import patch

import torch
from report_table import (
    Silent,
    best_and_median,
    in_fresh_process,
    in_fresh_processes,
    keep,
    machine,
    own_ray_session,
    prepare_data,
    recipe_study,
    table,
)

from support.models_of_phantoms import train_copy_detector
from synfundus.diagnosis.training import AnnotatorLearner
from synfundus.diffusion.checkpoint import load_generator
from synfundus.diffusion.engine import Engine, RowRequest
from synfundus.diffusion.noise import sample_seed
from synfundus.diffusion.training import GeneratorLearner
from synfundus.fundus.dataset import PreparedImages, read_labels
from synfundus.labels import encode_conditions
from synfundus.samples.plan import Plan, make_plan
from synfundus.samples.sampler import SamplingTask, ShardSampler
from synfundus.samples.work import ShardWork
from synfundus.stages import sample_pool
from synfundus.stages.sample_pool import sample_on_pool
from synfundus.storage import Storage, open_storage
from synfundus.study import Study

COMMAND = "PYTHONPATH=tests python tests/benchmarks/sampling_speed.py"
RECIPE = "phantom-cpu"
POOL_SIZES = (1, 2)
GOAL = 0.90
NOTES = "runs/notes"
"""Folder of the times at which workers finished their shards."""
TEXT = """# Speed of sampling

Command: `{command}`

{machine}
{rounds} rounds, both sides in each. Recipe {recipe}: {size_px} px, {solver} with {num_steps} steps and
guidance {guidance:g}, micro-batches of {micro_batch}, {precision}, {threads} thread(s) per process.

Samples/s, best / median of the rounds, summed over processes, each from the end of its first shard of {shard_rows} to
the end of its last. Engine: `Engine.run` over the same conditions and seeds in new processes, nothing but denoising.
Stage: all of `sample` (denoise, annotate, encode, check against the training images, Parquet, records). CPU ms per
sample: all threads of the processes that sample. Goal: stage >= {goal:.2f} x engine.

{speeds}

A worker encodes, annotates and checks in a thread beside the denoising. With one worker that thread may use a core that
the single engine leaves idle. So CPU time, and the row with as many processes as cores, show its cost.

Start-up s: the time of the whole run minus that of its samples at the steady speed (engine: Python and model; stage:
cluster, workers, descriptors of the training images, manifest). Samples/s with start-up, for a plan of the recipe's
{plan_samples} samples and for 100,000.

{wholes}
"""


@dataclass(frozen=True)
class Note:
    """The moment at which a process finished a shard."""

    process: int
    num_samples: int
    """Samples of the shard."""
    time_s: float
    """Seconds since the epoch."""
    cpu_s: float
    """CPU time of the process so far."""


class NotingSampler(ShardSampler):
    """A worker of the pool that records when it finished each of its shards."""

    def __call__(self, work: ShardWork) -> int:
        num_samples = super().__call__(work)
        line = [os.getpid(), num_samples, time.time(), time.process_time()]
        self.task.storage.replace(f"{NOTES}/{self.task.folder}/{work.shard}.json", json.dumps(line).encode())
        return num_samples


def train_models(study: Study, storage: Storage, steps: int) -> None:
    """Train the models in plain loops and write them to the study's folders."""
    short = study.copy_detector.model_copy(update={"num_steps": steps})
    train_copy_detector(storage, study.data_folder, study.copy_detector_folder, short)
    images = PreparedImages(storage, study.data_folder)
    torch.set_num_threads(2)
    annotator = AnnotatorLearner(images, study.annotator, torch.device("cpu"))
    generator = GeneratorLearner(images, study.generator, torch.device("cpu"))
    for step in range(steps):
        annotator.train_step(step)
        generator.train_step(step)
    annotator.save(storage, study.annotator_folder, "")
    generator.save(storage, study.generator_folder, [], "")


def sampling_task(study: Study, storage: Storage, folder: str, pool_size: int, shards: int) -> SamplingTask:
    """Return the recipe's plan with `shards` shards per worker and without replacements."""
    rows = study.samples.shard_rows
    resources = study.samples.resources.model_copy(update={"pool_size": pool_size})
    changes = {"num_samples": rows * shards * pool_size, "resources": resources, "max_attempts": 1}
    config = study.samples.model_copy(update=changes)
    labels = read_labels(storage, study.data_folder, "train")
    plan = make_plan(config, labels, generator_digest="g", annotator_digest="a", data_digest="d")
    models = (study.generator_folder, study.annotator_folder, study.copy_detector_folder)
    return SamplingTask(storage, folder, *models, plan)


def requests_of(plan: Plan, part: int, parts: int) -> list[RowRequest]:
    """Return the requests of one of `parts` engines that share the plan."""
    ids = range(part, plan.config.num_samples, parts)
    vectors = encode_conditions(plan.conditions(ids))
    seeds = [sample_seed(plan.config.seed, i, 0) for i in ids]
    return [RowRequest(vector, seed, plan.config.solver) for vector, seed in zip(vectors, seeds, strict=True)]


def bare_engine(task: SamplingTask, part: int, parts: int) -> list[Note]:
    """Denoise a part of the plan."""
    config = task.plan.config
    torch.set_num_threads(config.resources.num_threads)
    generator = load_generator(task.storage, task.generator_folder, torch.device("cpu"))
    shape_CHW = (3, generator.size_px, generator.size_px)
    dtype = torch.bfloat16 if config.resources.precision == "bf16" else torch.float32
    engine = Engine(generator.unet, generator.schedule, shape_CHW, dtype=dtype)
    requests = requests_of(task.plan, part, parts)
    notes = []
    for start, stop in pairwise((0, config.micro_batch, len(requests))):
        engine.run(requests[start:stop], config.micro_batch)
        notes.append(Note(part, stop - start, time.time(), time.process_time()))
    return notes


def run_engines(task: SamplingTask) -> list[Note]:
    parts = task.plan.config.resources.pool_size
    answers = in_fresh_processes(bare_engine, [(task, part, parts) for part in range(parts)])
    return [note for notes in answers for note in notes]


def run_stage(task: SamplingTask) -> list[Note]:
    with own_ray_session(), patch.object(sample_pool, "ShardSampler", NotingSampler):
        sample_on_pool(task, "", Silent())
    names = task.storage.names(f"{NOTES}/{task.folder}")
    return [Note(*json.loads(task.storage.read(name))) for name in names]


SIDES: dict[str, Callable[[SamplingTask], list[Note]]] = {"engine": run_engines, "stage": run_stage}


@dataclass(frozen=True)
class Run:
    """Speed and times of one run of one side."""

    samples_per_s: float
    cpu_s_per_sample: float
    start_up_s: float


def measure(side: str, task: SamplingTask) -> Run:
    start_s = time.time()
    notes = SIDES[side](task)
    wall_s = time.time() - start_s
    rate, cpu_s, num_measured = 0.0, 0.0, 0
    for process in {note.process for note in notes}:
        own = sorted((note for note in notes if note.process == process), key=lambda note: note.time_s)
        num_samples = sum(note.num_samples for note in own[1:])
        if num_samples:
            rate += num_samples / (own[-1].time_s - own[0].time_s)
            cpu_s += own[-1].cpu_s - own[0].cpu_s
            num_measured += num_samples
    return Run(rate, cpu_s / num_measured, wall_s - task.plan.config.num_samples / rate)


Runs = dict[int, dict[str, list[Run]]]


def speed_rows(runs: Runs, num_samples: dict[int, int]) -> list[list[str]]:
    rows = []
    for pool_size, by_side in runs.items():
        speeds = {side: [run.samples_per_s for run in by_side[side]] for side in SIDES}
        best = max(speeds["stage"]) / max(speeds["engine"])
        median = statistics.median(speeds["stage"]) / statistics.median(speeds["engine"])
        cpu_ms = [1000 * statistics.median(run.cpu_s_per_sample for run in by_side[side]) for side in SIDES]
        rows.append(
            [
                str(pool_size),
                str(num_samples[pool_size]),
                *(best_and_median(speeds[side]) for side in SIDES),
                f"{best:.3f} / {median:.3f}",
                "yes" if min(best, median) >= GOAL else "**no**",
                " / ".join(f"{ms:.0f}" for ms in cpu_ms),
            ]
        )
    return rows


def whole_rows(runs: Runs, plan_samples: int) -> list[list[str]]:
    rows = []
    for pool_size, by_side in runs.items():
        start_up = [statistics.median(run.start_up_s for run in by_side[side]) for side in SIDES]
        rate = [statistics.median(run.samples_per_s for run in by_side[side]) for side in SIDES]
        row = [str(pool_size), " / ".join(f"{seconds:.1f}" for seconds in start_up)]
        for total in (plan_samples, 100_000):
            whole = [total / (s + total / r) for s, r in zip(start_up, rate, strict=True)]
            row += [" / ".join(f"{value:.2f}" for value in whole), f"{whole[1] / whole[0]:.3f}"]
        rows.append(row)
    return rows


def all_runs(study: Study, storage: Storage, rounds: int, shards: int) -> tuple[Runs, dict[int, int]]:
    runs: Runs = {pool_size: {side: [] for side in SIDES} for pool_size in POOL_SIZES}
    num_samples = {}
    for number in range(rounds):
        for pool_size in POOL_SIZES:
            for side in list(SIDES)[:: -1 if number % 2 else 1]:
                task = sampling_task(study, storage, f"samples/{side}-{pool_size}-{number}", pool_size, shards)
                num_samples[pool_size] = task.plan.config.num_samples
                runs[pool_size][side].append(measure(side, task))
                print(number, pool_size, side, runs[pool_size][side][-1], flush=True)
    return runs, num_samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shards", type=int, default=5, help="shards per worker")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting of the study"
    )
    parser.add_argument("--train-steps", type=int, default=200, help="training steps of both models")
    parser.add_argument("--theme", default="sampling", help="name of the file of the result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        study, storage = recipe_study(RECIPE, root, options.set), open_storage(root)
        prepare_data(study, storage)
        in_fresh_process(train_models, study, storage, options.train_steps)
        runs, num_samples = all_runs(study, storage, options.rounds, options.shards)
    ratio, config = "stage : engine", study.samples
    heads = ["processes", "samples", "engine", "stage", ratio, f">= {GOAL:.2f}", "CPU ms per sample, engine / stage"]
    speeds = table(heads, speed_rows(runs, num_samples))
    heads = [
        "processes",
        "start-up s, engine / stage",
        f"{config.num_samples} samples",
        ratio,
        "100,000 samples",
        ratio,
    ]
    wholes = table(heads, whole_rows(runs, config.num_samples))
    shown = [f"--rounds {options.rounds}", f"--shards {options.shards}", *(f"--set '{text}'" for text in options.set)]
    text = TEXT.format(
        command=" ".join([COMMAND, *shown, f"--train-steps {options.train_steps}"]),
        machine=machine("torch", "ray", "diffusers", "timm", "pillow", "pyarrow"),
        rounds=options.rounds,
        recipe=RECIPE,
        size_px=study.generator.unet.size_px,
        solver=config.solver.name,
        num_steps=config.solver.num_steps,
        guidance=config.solver.guidance_scale,
        micro_batch=config.micro_batch,
        precision=config.resources.precision,
        threads=config.resources.num_threads,
        shard_rows=config.shard_rows,
        goal=GOAL,
        plan_samples=config.num_samples,
        speeds=speeds,
        wholes=wholes,
    )
    keep(options.theme, text)


if __name__ == "__main__":
    main()

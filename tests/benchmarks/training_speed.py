"""Steps/s of training on Ray Train, beside a bare PyTorch loop over the same learner.

    python tests/benchmarks/training_speed.py

Both models with the settings and the data of the recipe phantom-cpu. In each round, one after the other, the order
changing from round to round:
bare   a new process: `for step in range(num_steps): learner.train_step(step)`; no checkpoint, nothing written down
Ray    `train` of synfundus.distributed.training on a new Ray session with one worker: losses, progress and TensorBoard
       written, checkpoints and sample sheets as often a step as in the recipe
A side's speed is that of its steady state: from the start of step `WARM_UP` to the end of the last step, on Ray to the
end of the last checkpoint. Start-up and the writing of the model are told apart.
Writes tests/benchmarks/results/training_cpu2_202611.md.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from report_table import (
    Silent,
    best_and_median,
    in_fresh_process,
    keep,
    machine,
    own_ray_session,
    prepare_data,
    recipe_study,
    table,
)
from wrapped_task import WrappedTask

from synfundus.distributed.tasks import AnnotatorTask, GeneratorTask
from synfundus.distributed.training import TrainingTask, train
from synfundus.learning import Learner
from synfundus.storage import Storage, canonical_json, open_storage
from synfundus.study import Study

COMMAND = "python tests/benchmarks/training_speed.py"
RECIPE = "phantom-cpu"
WARM_UP = 20
"""Steps before the clock starts: caches fill, memory is claimed, the processor's clock settles."""
CHECKPOINTS = {"annotator": 2, "generator": 1}
"""Checkpoint intervals of the recipe that a run is long."""
GOAL = 0.95
TEXT = """# Speed of training on Ray

Command: `{command}`

{machine}
{rounds} rounds, both sides in each; {threads} threads a side.

Steps/s, best / median of the rounds. Bare: `for step in range(num_steps): learner.train_step(step)` in a new process.
Ray: the job's own loop with one worker, its losses, progress and TensorBoard files, and checkpoints with sample sheets
as often a step as in the recipe {recipe}. From step {warm_up} to the end of the last step, on Ray of the last
checkpoint. CPU s a step: of the process that trains, all its threads. Goal: Ray >= {goal} x bare.

{speeds}

With start-up. Start-up s: from the call to the first step, on Ray with the start of the cluster, bare with Python's.
End s: calibration, metrics and writing of the model. Whole s: the recipe's number of steps at the median speed, with
both.

{wholes}
"""


@dataclass(frozen=True)
class Timed(WrappedTask):
    """A task that notes when its learner takes step 0 and step `WARM_UP`, and when it is done with the last one."""

    clock: dict[str, float] = field(default_factory=dict)

    def build(self, device: torch.device, rank: int, world_size: int) -> Learner:
        learner = super().build(device, rank, world_size)
        real_step = learner.train_step

        def train_step(step: int) -> dict[str, float]:
            if step == 0:
                self.clock["first_step_s"] = time.time()
            if step == WARM_UP:
                self.clock.update(start_s=time.time(), start_cpu_s=time.process_time())
            return real_step(step)

        learner.train_step = train_step  # type: ignore[method-assign]
        return learner

    def finish(self, learner: Learner, losses: list[dict[str, float]]) -> dict[str, Any]:
        """Called after the last step and its checkpoint."""
        clock = {**self.clock, "end_s": time.time(), "end_cpu_s": time.process_time()}
        self.storage.replace(f"runs/{self.run_name}/clock.json", canonical_json(clock))
        return super().finish(learner, losses)


def bare(task: TrainingTask) -> None:
    torch.set_num_threads(task.config.num_threads)
    learner = task.build(torch.device("cpu"), 0, 1)
    for step in range(task.config.num_steps):
        learner.train_step(step)
    task.finish(learner, [])


def on_ray(task: TrainingTask) -> None:
    with own_ray_session():
        train(task, Silent())


@dataclass(frozen=True)
class Run:
    """What one run of one side took."""

    steps_per_s: float
    cpu_s_per_step: float
    start_up_s: float
    end_s: float


def measure(side: Callable[[Timed], None], task: Timed) -> Run:
    start_s = time.time()
    side(task)
    returned_s = time.time()
    clock = json.loads(task.storage.read(f"runs/{task.run_name}/clock.json"))
    steps = task.config.num_steps - WARM_UP
    return Run(
        steps / (clock["end_s"] - clock["start_s"]),
        (clock["end_cpu_s"] - clock["start_cpu_s"]) / steps,
        clock["first_step_s"] - start_s,
        returned_s - clock["end_s"],
    )


SIDES: dict[str, Callable[[Timed], None]] = {"bare": lambda task: in_fresh_process(bare, task), "Ray": on_ray}


def timed_task(study: Study, storage: Storage, model: str, name: str, steps: int | None) -> Timed:
    """The recipe's training of a model, shortened to whole checkpoint intervals after the warm-up (or `steps`)."""
    config: Any = study.annotator if model == "annotator" else study.generator
    every = math.ceil(config.num_steps / math.ceil(config.num_steps / config.checkpoint_every_steps))
    measured = steps or every * CHECKPOINTS[model]
    num_steps = WARM_UP + measured
    changes = {"num_steps": num_steps, "checkpoint_every_steps": math.ceil(num_steps / CHECKPOINTS[model])}
    task = AnnotatorTask if model == "annotator" else GeneratorTask
    config = config.model_copy(update=changes)
    return Timed(task(config, storage, name, study.data_folder, f"{model}s/{name}", "benchmark"))


def speed_row(study: Study, model: str, task: Timed, runs: dict[str, list[Run]]) -> list[str]:
    speeds = {side: [run.steps_per_s for run in runs[side]] for side in SIDES}
    best = max(speeds["Ray"]) / max(speeds["bare"])
    median = statistics.median(speeds["Ray"]) / statistics.median(speeds["bare"])
    cpu = [statistics.median(run.cpu_s_per_step for run in runs[side]) for side in SIDES]
    size_px = study.annotator.image_size_px if model == "annotator" else study.generator.unet.size_px
    return [
        model,
        f"{size_px} px, batch {task.config.batch_size}, {task.config.precision}",
        str(task.config.num_steps - WARM_UP),
        *(best_and_median(speeds[side]) for side in SIDES),
        f"{best:.3f} / {median:.3f}",
        "yes" if min(best, median) >= GOAL else "**no**",
        " / ".join(f"{seconds:.3f}" for seconds in cpu),
    ]


def whole_row(study: Study, model: str, runs: dict[str, list[Run]]) -> list[str]:
    num_steps = (study.annotator if model == "annotator" else study.generator).num_steps
    start_up = [statistics.median(run.start_up_s for run in runs[side]) for side in SIDES]
    end = [statistics.median(run.end_s for run in runs[side]) for side in SIDES]
    steps = [num_steps / statistics.median(run.steps_per_s for run in runs[side]) for side in SIDES]
    whole = [sum(parts) for parts in zip(start_up, steps, end, strict=True)]
    pairs = [f"{one:.1f} / {other:.1f}" for one, other in (start_up, end, whole)]
    return [model, str(num_steps), *pairs, f"{whole[0] / whole[1]:.3f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="measured steps of a run; default: whole checkpoint intervals")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings of the study")
    parser.add_argument("--theme", default="training", help="name of the result's file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        study, storage = recipe_study(RECIPE, root, asked.set), open_storage(root)
        prepare_data(study, storage)
        runs: dict[str, dict[str, list[Run]]] = {model: {side: [] for side in SIDES} for model in CHECKPOINTS}
        tasks: dict[str, Timed] = {}
        for number in range(asked.rounds):
            for model in CHECKPOINTS:
                for side in list(SIDES)[:: -1 if number % 2 else 1]:
                    tasks[model] = timed_task(study, storage, model, f"{model}-{side.lower()}-{number}", asked.steps)
                    runs[model][side].append(measure(SIDES[side], tasks[model]))
                    print(number, model, side, runs[model][side][-1], flush=True)
        ratio = "Ray : bare"
        heads = ["model", "images", "steps", "bare", "Ray", ratio, f">= {GOAL}", "CPU s a step, bare / Ray"]
        speeds = table(heads, [speed_row(study, model, tasks[model], runs[model]) for model in runs])
        heads = ["model", "steps", *(f"{what} s, bare / Ray" for what in ("start-up", "end", "whole")), ratio]
        wholes = table(heads, [whole_row(study, model, runs[model]) for model in runs])
        threads = study.generator.num_threads
        assert threads == study.annotator.num_threads
    options = [f"--rounds {asked.rounds}", *([f"--steps {asked.steps}"] if asked.steps else [])]
    command = " ".join([COMMAND, *options, *(f"--set '{text}'" for text in asked.set)])
    where = machine("torch", "ray", "diffusers", "timm")
    known = {"goal": GOAL, "recipe": RECIPE, "warm_up": WARM_UP, "rounds": asked.rounds, "threads": threads}
    keep(asked.theme, TEXT.format(command=command, machine=where, speeds=speeds, wholes=wholes, **known))


if __name__ == "__main__":
    main()

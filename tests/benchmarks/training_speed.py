"""Measure the steps/s of training on Ray Train, and of a bare PyTorch loop over the same learner.

    python tests/benchmarks/training_speed.py

Both models have the settings and the data of the recipe phantom-cpu. The two sides take turns of a few seconds on the
same cores (turns.py), so that a drift of the machine's speed affects both:
bare   a new process: `for step in range(num_steps): learner.train_step(step)`; at the same steps as on Ray it writes
       its state and a sample sheet, as a plain script would, but no losses, progress or TensorBoard files
Ray    `train` of synfundus.distributed.train in a new Ray session with one worker: it writes losses, progress and
       TensorBoard files; checkpoints and sample sheets at the recipe's interval
A side's speed is that of its steady state: from the start of step `WARM_UP` to the end of the last checkpoint.
Start-up and the writing of the model are listed separately.
Writes tests/benchmarks/results/training_cpu2_202611.md.
"""

import argparse
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from report_table import Silent, keep, machine, own_ray_session, prepare_data, recipe_study, table
from safetensors.torch import save_file
from timed_task import CLOCK, READY, WARM_UP, Timed
from turns import TURN_S, Side, ratio_interval, take_turns

from synfundus.distributed.task import TrainingTask
from synfundus.distributed.train import train
from synfundus.stages.training_tasks import AnnotatorTask, GeneratorTask
from synfundus.storage import Storage, open_storage
from synfundus.study import Study

COMMAND = "python tests/benchmarks/training_speed.py"
RECIPE = "phantom-cpu"
CHECKPOINTS = {"annotator": 4, "generator": 2}
"""Length of a run in checkpoint intervals of the recipe."""
GOAL = 0.95
TEXT = """# Speed of training on Ray

Command: `{command}`

{machine}
{threads} threads per side. The sides take turns of {turn_s:g} s on the same cores; the other one is stopped then.

Steps/s. Bare: `for step in range(num_steps): learner.train_step(step)` in a new process. Ray: the stage's own loop with
one worker, which writes losses, progress and TensorBoard files. Both write a sample sheet and their state at the
interval of the recipe {recipe}. Measured from step {warm_up} to the end of the last checkpoint; the ratio has its 95 %
interval over pairs of turns. CPU s per step: all threads of the process that trains. Goal: Ray >= {goal} x bare.

{speeds}

With start-up. Start-up s: from the call to the first step; on Ray it includes the start of the cluster, bare that of
Python. End s: calibration, metrics and writing of the model. Whole s: both, and the recipe's number of steps at this
speed.

{wholes}
"""


def bare(task: TrainingTask) -> None:
    """Train in a plain loop."""
    torch.set_num_threads(task.config.resources.num_threads)
    learner = task.build(torch.device("cpu"), 0, 1)
    for step in range(task.config.num_steps):
        learner.train_step(step)
        if (step + 1) % task.config.checkpoint_every_steps == 0 or step + 1 == task.config.num_steps:
            learner.sheet()
            with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
                save_file(learner.state(), file.name)
    task.finish(learner, [])


def on_ray(task: TrainingTask) -> None:
    """Train on Ray."""
    with own_ray_session():
        train(task, Silent())


SIDES: dict[str, Callable[[TrainingTask], None]] = {"bare": bare, "Ray": on_ray}


@dataclass(frozen=True)
class Run:
    """Speed and times of one side."""

    steps_per_s: float
    turns_per_s: list[float]
    """Steps/s of each whole turn."""
    cpu_s_per_step: float
    """CPU time of all threads of the process that trains."""
    start_up_s: float
    """Time from the call to the first step."""
    end_s: float
    """Time from the last checkpoint to the end."""


def side_of(name: str, task: Timed) -> Side:
    def exists(file: str) -> bool:
        return task.storage.exists(f"{task.folder}/{file}")

    return Side(SIDES[name], (task,), ready=lambda: exists(READY), done=lambda: exists(CLOCK))


def run_of(side: Side, task: Timed) -> Run:
    clock = json.loads(task.storage.read(f"{task.folder}/{CLOCK}"))
    steps_s = np.array(clock["steps_s"])
    num_steps = task.config.num_steps - WARM_UP
    turns = [span for span in side.ran[1:-1] if span[1] - span[0] > TURN_S / 2]
    return Run(
        num_steps / side.running_s(steps_s[WARM_UP], clock["end_s"]),
        [float(((steps_s >= start) & (steps_s < end)).sum() / (end - start)) for start, end in turns],
        (clock["end_cpu_s"] - clock["start_cpu_s"]) / num_steps,
        side.running_s(side.ran[0][0], steps_s[0]),
        side.running_s(clock["end_s"], side.ran[-1][1]),
    )


def timed_task(study: Study, storage: Storage, model: str, name: str, steps: int | None) -> Timed:
    """Return the recipe's training of a model, shortened to the warm-up and `steps`, or whole checkpoint intervals."""
    config: Any = study.annotator if model == "annotator" else study.generator
    every = math.ceil(config.num_steps / math.ceil(config.num_steps / config.checkpoint_every_steps))
    measured = steps or every * CHECKPOINTS[model]
    num_steps = WARM_UP + measured
    changes = {"num_steps": num_steps, "checkpoint_every_steps": math.ceil(num_steps / CHECKPOINTS[model])}
    task = AnnotatorTask if model == "annotator" else GeneratorTask
    config = config.model_copy(update=changes)
    return Timed(task(config, storage, name, study.data_folder, f"{model}s/{name}", "benchmark"))


def speed_row(study: Study, model: str, task: Timed, runs: dict[str, Run]) -> list[str]:
    bare, ray = runs["bare"], runs["Ray"]
    ratio = ray.steps_per_s / bare.steps_per_s
    low, high = ratio_interval(bare.turns_per_s, ray.turns_per_s)
    size_px = study.annotator.image_size_px if model == "annotator" else study.generator.unet.size_px
    return [
        model,
        f"{size_px} px, batch {task.config.batch_size}, {task.config.resources.precision}",
        str(task.config.num_steps - WARM_UP),
        f"{bare.steps_per_s:.2f}",
        f"{ray.steps_per_s:.2f}",
        f"{ratio:.3f} ({low:.3f} to {high:.3f})",
        "yes" if ratio >= GOAL else "**no**",
        f"{bare.cpu_s_per_step:.3f} / {ray.cpu_s_per_step:.3f}",
    ]


def whole_row(study: Study, model: str, runs: dict[str, Run]) -> list[str]:
    num_steps = (study.annotator if model == "annotator" else study.generator).num_steps
    start_up, end = ([getattr(run, what) for run in runs.values()] for what in ("start_up_s", "end_s"))
    steps = [num_steps / run.steps_per_s for run in runs.values()]
    whole = [sum(parts) for parts in zip(start_up, steps, end, strict=True)]
    pairs = [f"{one:.1f} / {other:.1f}" for one, other in (start_up, end, whole)]
    return [model, str(num_steps), *pairs, f"{whole[0] / whole[1]:.3f}"]


def measure(study: Study, storage: Storage, model: str, steps: int | None) -> tuple[Timed, dict[str, Run]]:
    tasks = {name: timed_task(study, storage, model, f"{model}-{name.lower()}", steps) for name in SIDES}
    sides = {name: side_of(name, task) for name, task in tasks.items()}
    take_turns(*sides.values())
    runs = {name: run_of(sides[name], tasks[name]) for name in SIDES}
    for name, run in runs.items():
        print(model, name, run, flush=True)
    return tasks["Ray"], runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, help="number of measured steps (default: whole checkpoint intervals)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting of the study"
    )
    parser.add_argument("--theme", default="training", help="name of the file of the result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        study, storage = recipe_study(RECIPE, root, options.set), open_storage(root)
        prepare_data(study, storage)
        measured = {model: measure(study, storage, model, options.steps) for model in CHECKPOINTS}
    ratio = "Ray : bare"
    heads = ["model", "images", "steps", "bare", "Ray", ratio, f">= {GOAL}", "CPU s per step, bare / Ray"]
    speeds = table(heads, [speed_row(study, model, task, runs) for model, (task, runs) in measured.items()])
    heads = ["model", "steps", *(f"{what} s, bare / Ray" for what in ("start-up", "end", "whole")), ratio]
    wholes = table(heads, [whole_row(study, model, runs) for model, (_, runs) in measured.items()])
    threads = study.generator.resources.num_threads
    assert threads == study.annotator.resources.num_threads
    steps = [f"--steps {options.steps}"] if options.steps else []
    command = " ".join([COMMAND, *steps, *(f"--set '{text}'" for text in options.set)])
    where = machine("torch", "ray", "diffusers", "timm")
    known = {"goal": GOAL, "recipe": RECIPE, "warm_up": WARM_UP, "turn_s": TURN_S, "threads": threads}
    keep(options.theme, TEXT.format(command=command, machine=where, speeds=speeds, wholes=wholes, **known))


if __name__ == "__main__":
    main()

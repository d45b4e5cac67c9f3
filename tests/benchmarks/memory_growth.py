"""Does memory grow with the number of images or of samples? Peak memory of every stage, for few and for many tiny ones.

    python tests/benchmarks/memory_growth.py

Each stage runs in a new process with a Ray session of its own, and all processes are watched: the highest peak of
resident memory (`VmHWM`: private pages, libraries, and pages of Ray's object store that were touched) of
driver     the process that calls the stage
worker     the largest one that Ray started for it
Images of 16 px; networks of a few thousand weights (the annotator: resnet10t), few steps of training, one of denoising.
The reader's cache of decoded pixels, of 512 MiB as it ships, is set to 1 MiB, so that 20,000 tiny images overflow it.
Writes tests/benchmarks/results/memory_cpu2_202611.md.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from report_table import SETTINGS, Silent, keep, machine, own_ray_session, table
from tiny_images import tiny_listing
from wrapped_task import SmallCache

from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diffusion.config import GeneratorConfig
from synfundus.distributed.tasks import AnnotatorTask, GeneratorTask
from synfundus.distributed.train import train
from synfundus.evaluation.config import EvaluationConfig
from synfundus.evaluation.run import METRICS, PUBLIC, EvaluationTask, run_evaluation
from synfundus.fundus import dataset
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.dataset import SPLITS, PreparedImages
from synfundus.samples.config import ReleaseConfig
from synfundus.samples.plan import SamplesConfig, make_plan
from synfundus.samples.publish import Evidence, publish
from synfundus.samples.sampler import SamplingTask, sample
from synfundus.samples.shards import read_samples
from synfundus.stages.fill import fill
from synfundus.stages.prepare import prepare
from synfundus.storage import Storage, open_storage

COMMAND = "python tests/benchmarks/memory_growth.py"
SIZE_PX = 16
CACHE_BYTES = 2**20
WATCH_PERIOD_S = 0.1
BATCH = 256
OPTIMISATION = {"num_steps": 20, "batch_size": 16, "learning_rate": 1e-3, "num_threads": 1}
ANNOTATOR = AnnotatorConfig.model_validate({"architecture": "resnet10t", "image_size_px": 32, **OPTIMISATION})
GENERATOR = GeneratorConfig.model_validate(
    {
        "unet": {"size_px": SIZE_PX, "channels": (8, 16), "norm_num_groups": 4},
        "sheet_num_columns": 2,
        "sheet_solver": {"name": "ddim", "num_steps": 2},
        **OPTIMISATION,
    }
)
SAMPLES = {
    "num_samples": 1,
    "solver": {"name": "ddim", "num_steps": 1, "guidance_scale": 1.0},
    "micro_batch": 64,
    "shard_rows": 256,
    "max_attempts": 1,
    "pool_size": 1,
}
TEXT = """# Memory over the number of images and samples

Command: `{command}`

{machine}

Peak resident memory in MiB of each stage, in new processes and a Ray session of its own; {repeats} run(s) of each,
the smallest peak of them counts. Images of {size_px} px, tiny networks; the reader's cache of decoded pixels is set
from 512 MiB to {cache_mib} MiB, so that the many overflow it. Driver: the process that calls the stage; worker: the
largest one of those that Ray started for it, pages of the object store that it touched included; all with
OMP_NUM_THREADS=1, as Ray sets it. `+ a million`: the growth, were it not noise, carried on to a million.

{rows}

`nothing` is a Ray session alone: by how much it differs is the noise. An image has {pixel_bytes} bytes of pixels.
"""


def run_prepare(storage: Storage, num_images: int, num_samples: int) -> None:
    config = PrepareConfig(size_px=SIZE_PX)
    prepare(storage, "data/tiny", [tiny_listing(num_images)], config, SETTINGS, "", Silent())


def run_annotator(storage: Storage, num_images: int, num_samples: int) -> None:
    task = AnnotatorTask(ANNOTATOR, storage, "annotator", "data/tiny", "annotators/tiny", "")
    train(SmallCache(task, CACHE_BYTES), Silent())


def run_fill(storage: Storage, num_images: int, num_samples: int) -> None:
    fill(storage, "data/tiny", "annotators/tiny", "data/filled", "", 1, Silent())


def run_generator(storage: Storage, num_images: int, num_samples: int) -> None:
    task = GeneratorTask(GENERATOR, storage, "generator", "data/filled", "generators/tiny", "")
    train(SmallCache(task, CACHE_BYTES), Silent())


def run_sample(storage: Storage, num_images: int, num_samples: int) -> None:
    config = SamplesConfig.model_validate({**SAMPLES, "num_samples": num_samples})
    training = PreparedImages(storage, "data/filled").batches("train", BATCH)
    plan = make_plan(config, training, generator="g", annotator="a", data="d")
    folders = (f"samples/of-{num_samples}", "generators/tiny", "annotators/tiny", "data/filled")
    sample(SamplingTask(storage, *folders, plan, use_gpu=False), Silent())


def run_read_images(storage: Storage, num_images: int, num_samples: int) -> None:
    images = PreparedImages(storage, "data/filled")
    assert sum(len(batch) for split in SPLITS for batch in images.batches(split, BATCH)) > num_images // 2


def run_read_samples(storage: Storage, num_images: int, num_samples: int) -> None:
    assert sum(table.num_rows for _, table in read_samples(storage, f"samples/of-{num_samples}")) > num_samples // 2


def run_evaluate(storage: Storage, num_images: int, num_samples: int) -> None:
    task = EvaluationTask(
        storage,
        data_folder="data/filled",
        annotator_folder="annotators/tiny",
        samples_folder=f"samples/of-{num_samples}",
        report_folder=f"reports/of-{num_samples}",
        config=EvaluationConfig(max_images=500),
        quantile=0.01,
        digest="",
        title="Tiny images",
        study={},
        curves={},
        provenance={},
        real_photographs=False,
    )
    run_evaluation(task)


def run_publish(storage: Storage, num_images: int, num_samples: int) -> None:
    report, annotator = (f"reports/of-{num_samples}", "annotators/tiny")
    evidence = Evidence(
        json.loads(storage.read(f"{report}/{METRICS}")),
        json.loads(storage.read(f"{annotator}/{METRICS}")),
        storage.read(f"{report}/{PUBLIC}").decode(),
    )
    release = ReleaseConfig(data_statement="Tiny images that a program drew.")
    publish(storage, f"samples/of-{num_samples}", f"releases/of-{num_samples}", release, evidence)


def run_nothing(storage: Storage, num_images: int, num_samples: int) -> None:
    """A Ray session and this module's libraries: what every stage pays."""


@dataclass(frozen=True)
class Stage:
    title: str
    run: Callable[[Storage, int, int], None]
    grows: str
    """`images` or `samples`: which of the two numbers is changed; the other one stays small."""
    writes: tuple[str, ...] = ()
    on_ray: bool = True


STAGES = (
    Stage("nothing", run_nothing, "images"),
    Stage("prepare", run_prepare, "images", ("data/tiny", "runs/staging")),
    Stage("train the annotator", run_annotator, "images", ("annotators/tiny", "runs/annotator")),
    Stage("fill", run_fill, "images", ("data/filled",)),
    Stage("train the generator", run_generator, "images", ("generators/tiny", "runs/generator")),
    Stage("plan and sample", run_sample, "images", ("samples/of-{num_samples}",)),
    Stage("plan and sample", run_sample, "samples", ("samples/of-{num_samples}",)),
    Stage("evaluate", run_evaluate, "images", ("reports/of-{num_samples}",), on_ray=False),
    Stage("evaluate", run_evaluate, "samples", ("reports/of-{num_samples}",), on_ray=False),
    Stage("publish", run_publish, "samples", ("releases/of-{num_samples}",), on_ray=False),
    Stage("read images", run_read_images, "images", on_ray=False),
    Stage("read samples", run_read_samples, "samples", on_ray=False),
)


def _run(stage: Stage, root: str, num_images: int, num_samples: int) -> None:
    dataset.CACHE_BYTES = CACHE_BYTES
    torch.set_num_threads(1)
    with own_ray_session() if stage.on_ray else contextlib.nullcontext():
        stage.run(open_storage(root), num_images, num_samples)


def _peak_mib(process: psutil.Process) -> float:
    """Its highest resident memory so far; 0 where it is gone."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(found[0].split()[1]) / 1024 if found else 0.0


def _role(process: psutil.Process, driver: int) -> str | None:
    if process.pid == driver:
        return "driver"
    try:
        return "worker" if process.cmdline()[0].startswith("ray::") else None
    except (psutil.Error, IndexError):
        return None


def peaks(stage: Stage, root: str, num_images: int, num_samples: int) -> dict[str, float]:
    """Peak of the driver and of the largest worker, in MiB."""
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=_run, args=(stage, root, num_images, num_samples))
    child.start()
    assert child.pid is not None
    driver = psutil.Process(child.pid)
    found: dict[str, float] = {}
    while child.is_alive():
        with contextlib.suppress(psutil.Error):
            for process in [driver, *driver.children(recursive=True)]:
                role = _role(process, child.pid)
                if role:
                    found[role] = max(found.get(role, 0.0), _peak_mib(process))
        time.sleep(WATCH_PERIOD_S)
    child.join()
    if child.exitcode:
        raise SystemExit(f"{stage.title} failed")
    return found


def _forget(root: str, stage: Stage, num_samples: int) -> None:
    """Remove what a stage wrote, so that it can be run again."""
    for folder in stage.writes:
        shutil.rmtree(Path(root) / folder.format(num_samples=num_samples), ignore_errors=True)


def measure(base: str, sizes: Sequence[int], repeats: int) -> dict[int, dict[int, dict[str, float]]]:
    """Stage number -> size -> process -> smallest peak of the repeats."""
    found: dict[int, dict[int, dict[str, float]]] = {}
    for number, stage in enumerate(STAGES):
        found[number] = {}
        for size in sizes:
            num_images = size if stage.grows == "images" else sizes[0]
            num_samples = size if stage.grows == "samples" else sizes[0]
            root = f"{base}/{num_images}"
            for _ in range(repeats):
                _forget(root, stage, num_samples)
                start_s = time.monotonic()
                seen = peaks(stage, root, num_images, num_samples)
                before = found[number].get(size, seen)
                found[number][size] = {role: min(value, before[role]) for role, value in seen.items()}
                line = {"stage": stage.title, "grows": stage.grows, "size": size, "s": time.monotonic() - start_s}
                print(json.dumps({**line, **seen}), flush=True)
    return found


def rows_of(found: dict[int, dict[int, dict[str, float]]], sizes: Sequence[int]) -> list[list[str]]:
    rows = []
    for number, by_size in found.items():
        few, many = by_size[sizes[0]], by_size[sizes[1]]
        for role in few:
            growth = many[role] - few[role]
            each = growth * 2**20 / (sizes[1] - sizes[0])
            rows.append(
                [
                    STAGES[number].title,
                    STAGES[number].grows,
                    role,
                    f"{few[role]:.0f}",
                    f"{many[role]:.0f}",
                    f"{growth:+.1f}",
                    f"{each:+.0f}",
                    f"{each * 1e6 / 2**20:+.0f}",
                ]
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs=2, default=[1000, 20_000], metavar=("FEW", "MANY"))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--theme", default="memory", help="name of the result's file")
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # for torch and for Arrow, each of whose threads has a heap of its own
    with tempfile.TemporaryDirectory() as base:
        found = measure(base, asked.sizes, asked.repeats)
    sizes = [f"{size:,}" for size in asked.sizes]
    heads = ["stage", "number of", "process", *sizes, "growth MiB", "bytes each", "+ a million, MiB"]
    text = TEXT.format(
        command=f"{COMMAND} --sizes {asked.sizes[0]} {asked.sizes[1]} --repeats {asked.repeats}",
        machine=machine("torch", "ray", "pyarrow", "numpy"),
        repeats=asked.repeats,
        size_px=SIZE_PX,
        cache_mib=CACHE_BYTES // 2**20,
        rows=table(heads, rows_of(found, asked.sizes)),
        pixel_bytes=3 * SIZE_PX**2,
    )
    keep(asked.theme, text)


if __name__ == "__main__":
    main()

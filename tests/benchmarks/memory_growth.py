"""Measure the peak memory of every stage, for few and for many tiny images and samples.

    python tests/benchmarks/memory_growth.py

Each stage runs in a new process with a Ray session of its own. The table has the peak of resident memory (`VmHWM`:
private pages, libraries, and the touched pages of Ray's object store) of two processes:
driver     the process that calls the stage
worker     the largest process that Ray started for the stage
Images have 16 px. The networks are tiny (the annotator is a resnet10t), training takes 20 steps and denoising one.
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
from report_table import ENVIRONMENT, Silent, keep, machine, own_ray_session, table
from tiny_images import tiny_listing

from synfundus.copies.config import CopyDetectorConfig
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.diffusion.config import GeneratorConfig
from synfundus.diffusion.manifest import GeneratorManifest
from synfundus.distributed.train import train
from synfundus.evaluation.config import EvaluationConfig
from synfundus.evaluation.run import EvaluationTask, run_evaluation
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.dataset import PreparedImages, read_labels
from synfundus.fundus.splits import SPLITS
from synfundus.resources import PoolResources
from synfundus.samples.config import SamplesConfig
from synfundus.samples.plan import make_plan
from synfundus.samples.publish import publish
from synfundus.samples.release_config import ReleaseConfig
from synfundus.samples.sampler import SamplingTask
from synfundus.samples.shards import read_samples
from synfundus.stages.copy_detector_pool import describe_and_close
from synfundus.stages.fill_pool import fill_on_pool
from synfundus.stages.prepare_passes import prepare
from synfundus.stages.publish import read_evidence, read_release_inputs
from synfundus.stages.sample_pool import sample_on_pool
from synfundus.stages.training_tasks import AnnotatorTask, CopyDetectorTask, GeneratorTask
from synfundus.storage import Storage, open_storage, read_manifest

COMMAND = "python tests/benchmarks/memory_growth.py"
SIZE_PX = 16
WATCH_PERIOD_S = 0.1
BATCH = 256
OPTIMISATION = {"num_steps": 20, "batch_size": 16, "learning_rate": 1e-3, "resources": {"num_threads": 1}}
ANNOTATOR = AnnotatorConfig.model_validate({"architecture": "resnet10t", "image_size_px": 32, **OPTIMISATION})
COPY_DETECTOR = CopyDetectorConfig.model_validate({"image_size_px": SIZE_PX, "width": 8, **OPTIMISATION})
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
    "resources": {"pool_size": 1},
}
TEXT = """# Memory over the number of images and samples

Command: `{command}`

{machine}

Peak resident memory in MiB of each stage, in new processes with a Ray session of its own; the smallest peak of
{repeats} run(s). Images of {size_px} px, tiny networks. Driver: the process that calls the stage. Worker: the largest
process that Ray started for the stage, with the pages of the object store that it touched. OMP_NUM_THREADS=1, as Ray
sets it. `+ a million`: the growth extrapolated to a million, noise included.

{rows}

`nothing` is a Ray session alone; its growth is the noise. An image has {pixel_bytes} bytes of pixels.
"""


def run_prepare(storage: Storage, num_images: int, num_samples: int) -> None:
    config = PrepareConfig(size_px=SIZE_PX)
    prepare(storage, "data/tiny", [tiny_listing(num_images)], config, ENVIRONMENT, "", Silent())


def run_annotator(storage: Storage, num_images: int, num_samples: int) -> None:
    train(AnnotatorTask(ANNOTATOR, storage, "annotator", "data/tiny", "annotators/tiny", ""), Silent())


def run_fill(storage: Storage, num_images: int, num_samples: int) -> None:
    fill_on_pool(storage, "data/tiny", "annotators/tiny", "data/filled", {}, PoolResources(pool_size=1), "", Silent())


def run_copy_detector(storage: Storage, num_images: int, num_samples: int) -> None:
    folders = ("data/tiny", "copy_detectors/tiny")
    train(CopyDetectorTask(COPY_DETECTOR, storage, "copy-detector", *folders, ""), Silent())
    describe_and_close(storage, COPY_DETECTOR, *folders, "", Silent())


def run_generator(storage: Storage, num_images: int, num_samples: int) -> None:
    folders = ("data/filled", "generators/tiny", "", "copy_detectors/tiny")
    train(GeneratorTask(GENERATOR, storage, "generator", *folders), Silent())


def run_sample(storage: Storage, num_images: int, num_samples: int) -> None:
    config = SamplesConfig.model_validate({**SAMPLES, "num_samples": num_samples})
    labels = read_labels(storage, "data/filled", "train")
    annotator = read_manifest(storage, "annotators/tiny", AnnotatorManifest).annotator_digest
    generator = read_manifest(storage, "generators/tiny", GeneratorManifest).generator_digest
    plan = make_plan(config, labels, generator_digest=generator, annotator_digest=annotator, data_digest="d")
    folders = (f"samples/of-{num_samples}", "generators/tiny", "annotators/tiny", "copy_detectors/tiny")
    sample_on_pool(SamplingTask(storage, *folders, plan), "", Silent())


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
        judge=None,
        copy_detector_folder="copy_detectors/tiny",
        generator_folder="generators/tiny",
        initial_weights=False,
        reference_folders=(),
        samples_folder=f"samples/of-{num_samples}",
        transfer_folder=None,
        report_folder=f"reports/of-{num_samples}",
        config=EvaluationConfig(max_images=500),
        digest="",
        title="Tiny images",
        study={},
        curves=(),
        provenance={},
        real_photographs=False,
    )
    run_evaluation(task)


def run_publish(storage: Storage, num_images: int, num_samples: int) -> None:
    samples, report, annotator = (f"samples/of-{num_samples}", f"reports/of-{num_samples}", "annotators/tiny")
    config = ReleaseConfig.model_validate(
        {
            "data_statement": "Tiny images that a program rendered.",
            "date_published": "2026-11-27",
            "privacy_override": "A measurement of memory; nothing is handed on.",
        }
    )
    inputs = read_release_inputs(storage, config, samples, report, annotator)
    evidence = read_evidence(storage, samples, report, annotator, "copy_detectors/tiny")
    publish(storage, samples, f"releases/of-{num_samples}", inputs, evidence, "")


def run_nothing(storage: Storage, num_images: int, num_samples: int) -> None:
    """Do nothing: the memory of a Ray session and of this module's libraries, which every stage needs."""


@dataclass(frozen=True)
class MeasuredStage:
    """One row of the table."""

    title: str
    run: Callable[[Storage, int, int], None]
    """Called with the numbers of images and of samples."""
    grows: str
    """The number that grows: `images` or `samples`; the other one stays small."""
    writes: tuple[str, ...] = ()
    """Folders that the stage writes."""
    on_ray: bool = True


STAGES = (
    MeasuredStage("nothing", run_nothing, "images"),
    MeasuredStage("prepare", run_prepare, "images", ("data/tiny", "runs/staging")),
    MeasuredStage("train the annotator", run_annotator, "images", ("annotators/tiny", "runs/annotator")),
    MeasuredStage("fill", run_fill, "images", ("data/filled",)),
    MeasuredStage(
        "train the copy detector", run_copy_detector, "images", ("copy_detectors/tiny", "runs/copy-detector")
    ),
    MeasuredStage("train the generator", run_generator, "images", ("generators/tiny", "runs/generator")),
    MeasuredStage("plan and sample", run_sample, "images", ("samples/of-{num_samples}",)),
    MeasuredStage("plan and sample", run_sample, "samples", ("samples/of-{num_samples}",)),
    MeasuredStage("evaluate", run_evaluate, "images", ("reports/of-{num_samples}",), on_ray=False),
    MeasuredStage("evaluate", run_evaluate, "samples", ("reports/of-{num_samples}",), on_ray=False),
    MeasuredStage("publish", run_publish, "samples", ("releases/of-{num_samples}",), on_ray=False),
    MeasuredStage("read images", run_read_images, "images", on_ray=False),
    MeasuredStage("read samples", run_read_samples, "samples", on_ray=False),
)


def _run(stage: MeasuredStage, root: str, num_images: int, num_samples: int) -> None:
    torch.set_num_threads(1)
    with own_ray_session() if stage.on_ray else contextlib.nullcontext():
        stage.run(open_storage(root), num_images, num_samples)


def _peak_mib(process: psutil.Process) -> float:
    """Return the peak resident memory of a process; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(found[0].split()[1]) / 1024 if found else 0.0


def _role(process: psutil.Process, driver: int) -> str | None:
    """Return `driver` or `worker`; None for Ray's own processes."""
    if process.pid == driver:
        return "driver"
    try:
        return "worker" if process.cmdline()[0].startswith("ray::") else None
    except (psutil.Error, IndexError):
        return None


def peaks(stage: MeasuredStage, root: str, num_images: int, num_samples: int) -> dict[str, float]:
    """Run a stage; return the peak memory of the driver and of the largest worker in MiB."""
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


def _remove_output(root: str, stage: MeasuredStage, num_samples: int) -> None:
    """Remove the output of a stage, so that it can run again."""
    for folder in stage.writes:
        shutil.rmtree(Path(root) / folder.format(num_samples=num_samples), ignore_errors=True)


def measure(base: str, sizes: Sequence[int], repeats: int) -> dict[int, dict[int, dict[str, float]]]:
    """Return number of the stage -> size -> process -> smallest peak of the repeats in MiB."""
    found: dict[int, dict[int, dict[str, float]]] = {}
    for number, stage in enumerate(STAGES):
        found[number] = {}
        for size in sizes:
            num_images = size if stage.grows == "images" else sizes[0]
            num_samples = size if stage.grows == "samples" else sizes[0]
            root = f"{base}/{num_images}"
            for _ in range(repeats):
                _remove_output(root, stage, num_samples)
                start_s = time.monotonic()
                found_now = peaks(stage, root, num_images, num_samples)
                before = found[number].get(size, found_now)
                found[number][size] = {role: min(value, before[role]) for role, value in found_now.items()}
                line = {"stage": stage.title, "grows": stage.grows, "size": size, "s": time.monotonic() - start_s}
                print(json.dumps({**line, **found_now}), flush=True)
    return found


def table_rows(found: dict[int, dict[int, dict[str, float]]], sizes: Sequence[int]) -> list[list[str]]:
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
    parser.add_argument("--theme", default="memory", help="name of the file of the result")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # each thread of torch and of Arrow has its own heap
    with tempfile.TemporaryDirectory() as base:
        found = measure(base, options.sizes, options.repeats)
    sizes = [f"{size:,}" for size in options.sizes]
    heads = ["stage", "number of", "process", *sizes, "growth MiB", "bytes each", "+ a million, MiB"]
    text = TEXT.format(
        command=f"{COMMAND} --sizes {options.sizes[0]} {options.sizes[1]} --repeats {options.repeats}",
        machine=machine("torch", "ray", "pyarrow", "numpy"),
        repeats=options.repeats,
        size_px=SIZE_PX,
        rows=table(heads, table_rows(found, options.sizes)),
        pixel_bytes=3 * SIZE_PX**2,
    )
    keep(options.theme, text)


if __name__ == "__main__":
    main()

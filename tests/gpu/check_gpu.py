"""Check on a GPU that results equal those of a CPU, and measure training, sampling, the copy check and memory.

    PYTHONPATH=platform:serve:tests python3 tests/gpu/check_gpu.py [--budget-s 300] [--out FOLDER]

It needs one GPU and the packages of the rooms that import neither Ray nor Kubernetes. A part that fails is reported and
the next one starts; the exit code is then 1. A part that would begin after the budget is left out, and the table says
so. It prints one table and writes it to FOLDER, by default tests/benchmarks/results.

Bounds of the equality: float32 samples within 1 of 255; bfloat16 samples on average within 0.5 and at most 4 of 255;
probabilities within 1e-4; the copy check finds the same training image at the same distance.
"""

import argparse
import asyncio
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from support.data_manifest import data_manifest
from support.datasets_of_phantoms import phantom_row
from support.models_of_phantoms import fill_here, train_copy_detector
from support.shards_of_rows import write_shards
from synfundus.copies.config import CopyDetectorConfig
from synfundus.copies.detector import load_copy_detector
from synfundus.copies.encoder import DESCRIPTOR_DIM
from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.training import AnnotatorLearner
from synfundus.diffusion.checkpoint import load_generator
from synfundus.diffusion.config import GeneratorConfig, SolverConfig
from synfundus.diffusion.engine import Engine, RowRequest
from synfundus.diffusion.noise import normal, sample_seed
from synfundus.diffusion.training import GeneratorLearner
from synfundus.diffusion.unet import build_unet
from synfundus.evaluation.config import EvaluationConfig
from synfundus.evaluation.run import EvaluationTask, run_evaluation
from synfundus.fundus.batches import ImageBatch
from synfundus.fundus.dataset import PreparedImages, read_labels
from synfundus.labels import encode_conditions
from synfundus.measures.nearest import nearest, reference_on
from synfundus.phantom.config import PhantomConfig
from synfundus.samples.attempts import sample_plan
from synfundus.samples.config import SamplesConfig
from synfundus.samples.plan import make_plan
from synfundus.samples.sampler import SamplingTask, ShardSampler
from synfundus.samples.verify import copy_reference
from synfundus.storage import Storage, open_storage, write_manifest
from synfundus.training.learner import Learner
from synfundus_serve.continuous import ContinuousEngine

GPU = torch.device("cuda")
PEAK_BF16 = 989.5e12
"""Dense bf16 multiply-adds, counted as two operations, per second of an H100 or H200 SXM (NVIDIA's data sheet)."""
NUM_IMAGES = {64: 640, 128: 480, 256: 320}
"""Phantoms rendered at each size."""
NUM_REFERENCES = 1_300_000
SOLVER = SolverConfig(name="dpmpp-2m", num_steps=25, guidance_scale=2.0)
UNETS: dict[int, dict[str, Any]] = {
    64: {"size_px": 64, "channels": [32, 64, 96, 128], "norm_num_groups": 2},
    128: {
        "size_px": 128,
        "channels": [64, 128, 192, 256],
        "layers_per_block": 2,
        "attention_levels": [3],
        "attention_head_dim": 64,
    },
    256: {
        "size_px": 256,
        "channels": [64, 128, 192, 256, 256],
        "layers_per_block": 2,
        "attention_levels": [4],
        "attention_head_dim": 64,
    },
}
"""U-Nets of the recipes real-64 and small-128, and the latter with a level more for 256 px."""
BATCH = {64: 64, 128: 64, 256: 32}


@dataclass
class Report:
    """Rows of the table, and the parts that failed."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add(self, what: str, value: str, bound: str = "") -> None:
        print(f"{what}: {value} {bound}", flush=True)
        self.rows.append((what, value, bound))

    def check(self, what: str, value: float, bound: float, unit: str = "") -> None:
        """Add a value that must not exceed its bound."""
        ok = value <= bound
        self.add(what, f"{value:.3g}{unit}", f"<= {bound:g}{unit}: {'yes' if ok else '**no**'}")
        if not ok:
            self.failed.append(what)


@contextmanager
def memory(report: Report, what: str) -> Iterator[None]:
    """Add the GPU's peak memory of the block."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    yield
    report.add(f"{what}: peak memory", f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")


def seconds(function: Callable[[], object]) -> float:
    """Return the time of a call, with all work that it starts on the GPU."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def render(storage: Storage, size_px: int) -> str:
    """Write a prepared dataset of phantoms, rendered on all cores; return its folder."""
    config = PhantomConfig(num_images=NUM_IMAGES[size_px], size_px=size_px, seed=7, null_fraction=0.2)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(partial(phantom_row, config), range(config.num_images), chunksize=4))
    folder = f"data/p{size_px}"
    write_manifest(storage, folder, write_shards(storage, folder, rows, 64), data_manifest(rows, size_px))
    return folder


def generator_config(size_px: int, **changes: object) -> GeneratorConfig:
    values = {"unet": UNETS[size_px], "num_steps": 1000, "batch_size": BATCH[size_px], "learning_rate": 3e-4}
    return GeneratorConfig.model_validate({**values, "resources": {"num_threads": 8, "num_gpus": 1}, **changes})


def annotator_config(size_px: int, **changes: object) -> AnnotatorConfig:
    values = {"architecture": "resnet18d", "image_size_px": size_px, "num_steps": 1000, "batch_size": 128}
    resources = {"num_threads": 8, "num_gpus": 1}
    return AnnotatorConfig.model_validate({**values, "learning_rate": 2e-3, "resources": resources, **changes})


def trained(learner: Learner, num_steps: int) -> Any:
    for step in range(num_steps):
        learner.train_step(step)
    return learner


def copy_detector_config(**changes: object) -> CopyDetectorConfig:
    resources = {"num_threads": 8, "num_gpus": 1}
    return CopyDetectorConfig.model_validate({"num_steps": 300, "batch_size": 128, "resources": resources, **changes})


def make_models(storage: Storage, folder: str) -> None:
    """Train all models briefly at 64 px and fill the dataset, so that later parts use real checkpoints."""
    train_copy_detector(storage, folder, "copy_detectors/p", copy_detector_config(), GPU)
    images = PreparedImages(storage, folder)
    annotator = trained(AnnotatorLearner(images, annotator_config(64, num_steps=150), GPU), 150)
    annotator.save(storage, "annotators/p", "annotator")
    annotator.close()
    generator = trained(GeneratorLearner(images, generator_config(64, num_steps=300, learning_rate=1e-3), GPU), 300)
    generator.save(storage, "generators/p", [], "generator")
    generator.close()
    fill_here(storage, folder, load_annotator(storage, "annotators/p", GPU), "data/filled")


def requests(count: int, solver: SolverConfig = SOLVER) -> list[RowRequest]:
    rows = [{"dr_grade": i % 5, "eye_side": i % 2, "is_fundus": 1} for i in range(count)]
    vectors = encode_conditions(rows)
    return [RowRequest(vector, sample_seed(1, i, 0), solver) for i, vector in enumerate(vectors)]


def check_equality(report: Report, storage: Storage) -> None:
    """Compare noise, samples, probabilities and copies with those of the CPU."""
    torch.set_num_threads(os.cpu_count() or 1)
    seed_B, position_B = torch.arange(8) + 5, torch.arange(8) * 3
    on_cpu = normal(seed_B, position_B, (3, 64, 64))
    report.check(
        "noise, GPU against CPU",
        float((normal(seed_B.to(GPU), position_B.to(GPU), (3, 64, 64)).cpu() - on_cpu).abs().max()),
        1e-6,
    )
    sides = {}
    for name, device, dtype in (
        ("cpu", "cpu", torch.float32),
        ("fp32", "cuda", torch.float32),
        ("bf16", "cuda", torch.bfloat16),
    ):
        generator = load_generator(storage, "generators/p", torch.device(device))
        engine = Engine(generator.unet, generator.schedule, generator.image_shape, device=device, dtype=dtype)
        sides[name] = engine.run(requests(16), 16).astype(np.float64)
    report.check(
        "samples, float32, GPU against CPU, largest", float(np.abs(sides["fp32"] - sides["cpu"]).max()), 1, " of 255"
    )
    report.check(
        "samples, bf16 against float32, mean", float(np.abs(sides["bf16"] - sides["fp32"]).mean()), 0.5, " of 255"
    )
    report.check(
        "samples, bf16 against float32, largest", float(np.abs(sides["bf16"] - sides["fp32"]).max()), 4, " of 255"
    )
    pixels = PreparedImages(storage, "data/p64").batch("test", range(32)).images_BHWC
    p = [load_annotator(storage, "annotators/p", device).predict(pixels).probability_BV for device in ("cpu", "cuda")]
    report.check("annotator's probabilities, GPU against CPU", float(np.nanmax(np.abs(p[0] - p[1]))), 1e-4)
    on_cpu_ND, on_gpu_ND = (
        load_copy_detector(storage, "copy_detectors/p", device).descriptors(pixels) for device in ("cpu", "cuda")
    )
    report.check("copy descriptors, GPU against CPU", float(np.abs(on_cpu_ND - on_gpu_ND).max()), 1e-3)


def check_serving(report: Report, storage: Storage) -> None:
    """Sample requests of several lengths together, as a serving replica does, and each alone."""
    generator = load_generator(storage, "generators/p", GPU)
    engine = partial(Engine, generator.unet, generator.schedule, generator.image_shape, device=GPU)
    solvers = [SOLVER, SolverConfig(name="ddim", num_steps=10), SolverConfig(name="ddpm", num_steps=40)]
    mixed = [requests(4, solver) for solver in solvers]

    async def together() -> list[np.ndarray[Any, Any]]:
        served = ContinuousEngine(engine(), 10_000, 4)
        return await asyncio.gather(*(served.sample(each) for each in mixed))

    alone = [engine().run(each, 4) for each in mixed]
    difference = max(
        float(np.abs(a.astype(int) - b.astype(int)).max()) for a, b in zip(asyncio.run(together()), alone, strict=True)
    )
    report.check("serving: rows of mixed requests against alone, float32", difference, 1, " of 255")


def seconds_per_step(learner: Learner, steps: range) -> float:
    """Return the mean time of these training steps."""
    return seconds(lambda: [learner.train_step(step) for step in steps]) / len(steps)


class Fixed:
    """Inputs of a training that are always the same, so that a step without reading can be measured."""

    def __init__(self, batch: ImageBatch) -> None:
        self._batch = batch

    def start(self, upcoming: Iterable[range]) -> None: ...

    def take(self, _: range) -> ImageBatch:
        return self._batch


def measure_training(report: Report, storage: Storage, size_px: int) -> None:
    """Measure the models' trainings of a size: steps/s, share of the bf16 peak, and the wait for inputs."""
    images = PreparedImages(storage, f"data/p{size_px}")
    learners: dict[str, Callable[[], Learner]] = {
        "generator": lambda: GeneratorLearner(images, generator_config(size_px), GPU),
        "annotator": lambda: AnnotatorLearner(images, annotator_config(size_px), GPU),
    }
    for name, build in learners.items():
        what = f"train {name} at {size_px} px, bf16"
        with memory(report, what):
            learner = trained(build(), 5)
            with FlopCounterMode(display=False) as counter:
                learner.train_step(5)
            steps = range(6, 46)
            time_s = seconds_per_step(learner, steps)
            inputs, learner.inputs = learner.inputs, Fixed(learner.inputs.take(range(learner.config.batch_size)))
            fixed_s = seconds_per_step(learner, steps)
            inputs.close()
        share = counter.get_total_flops() / time_s / PEAK_BF16
        wait = max(0.0, 1.0 - fixed_s / time_s)
        report.add(what, f"{1 / time_s:.1f} steps/s ({learner.config.batch_size / time_s:.0f} images/s)")
        report.add(f"{what}: share of the bf16 peak", f"{100 * share:.1f} %")
        report.add(f"{what}: wait for inputs", f"{100 * wait:.0f} % of a step")


def measure_sampling(report: Report, size_px: int, *, compiled: bool) -> None:
    """Measure images/s of one engine in bf16, with guidance."""
    config = generator_config(size_px)
    unet: Any = build_unet(config.unet, 0).to(GPU).to(memory_format=torch.channels_last).eval()
    what = f"sample at {size_px} px, bf16, {SOLVER.num_steps} steps, guided" + (", torch.compile" if compiled else "")
    with memory(report, what):
        network = torch.compile(unet, dynamic=False) if compiled else unet
        engine = Engine(network, config.schedule, (3, size_px, size_px), device=GPU, dtype=torch.bfloat16)
        rows = requests(BATCH[size_px])
        first_s = seconds(lambda: engine.run(rows, len(rows)))
        times = [seconds(lambda: engine.run(rows, len(rows))) for _ in range(3)]
    text = f"{len(rows) / statistics.median(times):.1f} images/s at batch {len(rows)}"
    report.add(what, f"{text}; first batch {first_s:.0f} s")


def measure_copies(report: Report) -> None:
    """Compare the copy check with the CPU's, and measure it at 1.3 million references."""
    rng = np.random.default_rng(0)
    reference_ND = rng.standard_normal((NUM_REFERENCES, DESCRIPTOR_DIM), np.float32)
    reference_ND /= np.linalg.norm(reference_ND, axis=1, keepdims=True)
    queries_MD = rng.standard_normal((2048, DESCRIPTOR_DIM), np.float32)
    queries_MD /= np.linalg.norm(queries_MD, axis=1, keepdims=True)
    with memory(report, f"copy check, {NUM_REFERENCES:,} references"):
        on_gpu = reference_on(reference_ND, np.arange(NUM_REFERENCES), GPU)
        nearest(queries_MD[:512], on_gpu)
        time_s = seconds(lambda: nearest(queries_MD, on_gpu)) / len(queries_MD)
    report.check(f"copy check, {NUM_REFERENCES:,} references", 1e3 * time_s, 5.0, " ms per sample")
    found, expected = (
        nearest(queries_MD[:64], on_gpu),
        nearest(queries_MD[:64], reference_on(reference_ND, np.arange(NUM_REFERENCES), "cpu")),
    )
    report.check("copy check, other training image than the CPU's", float((found.index != expected.index).mean()), 0)
    report.check("copy check, distance, GPU against CPU", float(np.abs(found.distance - expected.distance).max()), 1e-6)


def measure_descriptors(report: Report, storage: Storage) -> None:
    """Measure the descriptors of images that the copy detector gives."""
    pixels = np.concatenate([PreparedImages(storage, "data/p64").batch("train", range(256)).images_BHWC] * 4)
    detector = load_copy_detector(storage, "copy_detectors/p", GPU)
    detector.descriptors(pixels)
    time_s = seconds(lambda: detector.descriptors(pixels))
    report.add("copy descriptors at 64 px", f"{len(pixels) / time_s:.0f} images/s")


def measure_loop(report: Report, storage: Storage) -> None:
    """Sample a plan, check it and evaluate it on the GPU, as the workers of a pool do."""
    values = {"num_samples": 512, "conditions": "real", "micro_batch": 64, "shard_rows": 256}
    resources = {"num_gpus": 1, "num_threads": 8, "precision": "bf16"}
    config = SamplesConfig.model_validate({**values, "solver": SOLVER.model_dump(), "resources": resources})
    labels = read_labels(storage, "data/filled", "train")
    plan = make_plan(config, labels, generator_digest="g", annotator_digest="a", data_digest="d")
    task = SamplingTask(storage, "samples/p", "generators/p", "annotators/p", "copy_detectors/p", plan)
    reference = copy_reference(storage, "copy_detectors/p")
    sampler = ShardSampler(task, reference)
    silent = type("Silent", (), {"update": lambda *_: None})()
    sample_s = seconds(lambda: sample_plan(task, reference, lambda work: map(sampler, work), "samples", silent))
    report.add("stage sample at 64 px: denoise, annotate, encode, check, write", f"{512 / sample_s:.1f} images/s")
    evaluation = EvaluationTask(
        storage=storage,
        data_folder="data/filled",
        annotator_folder="annotators/p",
        judge=None,
        copy_detector_folder="copy_detectors/p",
        generator_folder="generators/p",
        initial_weights=False,
        reference_folders=(),
        samples_folder="samples/p",
        transfer_folder=None,
        report_folder="reports/p",
        config=EvaluationConfig.model_validate({"resources": {"num_gpus": 1, "num_threads": 8}}),
        digest="report",
        title="Check on a GPU",
        study={},
        curves=(),
        provenance={},
        real_photographs=False,
    )
    report.add("stage evaluate of 512 samples", f"{seconds(lambda: run_evaluation(evaluation)):.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget-s", type=float, default=300.0, help="no part begins after this many seconds")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "benchmarks" / "results")
    options = parser.parse_args()
    logging.getLogger("torch.utils._sympy").setLevel(logging.ERROR)  # thousands of lines while torch.compile works
    start = time.perf_counter()
    report = Report()
    with tempfile.TemporaryDirectory() as root:
        storage = open_storage(root)
        parts: list[tuple[str, Callable[[], object]]] = [
            ("render", lambda: [render(storage, size_px) for size_px in NUM_IMAGES]),
            ("train the models at 64 px and fill", lambda: make_models(storage, "data/p64")),
            ("equality", lambda: check_equality(report, storage)),
            ("serving", lambda: check_serving(report, storage)),
            ("copies", lambda: measure_copies(report)),
            ("descriptors", lambda: measure_descriptors(report, storage)),
            ("sample and evaluate", lambda: measure_loop(report, storage)),
            *((f"training {px}", partial(measure_training, report, storage, px)) for px in (128, 256)),
            *((f"sampling {px}", partial(measure_sampling, report, px, compiled=False)) for px in NUM_IMAGES),
            *((f"sampling {px} compiled", partial(measure_sampling, report, px, compiled=True)) for px in NUM_IMAGES),
        ]
        for name, part in parts:
            if time.perf_counter() - start > options.budget_s:
                report.add(name, "left out: the budget was used up")
                continue
            began = time.perf_counter()
            try:
                part()
            except Exception:  # the other parts are worth having
                traceback.print_exc()
                report.failed.append(name)
                report.add(name, "**failed**")
            print(f"-- {name}: {time.perf_counter() - began:.0f} s", flush=True)
            write(report, options.out, time.perf_counter() - start)  # now, because a part may be the last one to end
    print(table(report))
    return 1 if report.failed else 0


def table(report: Report) -> str:
    """Return the rows in Markdown."""
    lines = [f"| {what} | {value} | {bound} |" for what, value, bound in report.rows]
    return "\n".join(["| what | value | bound |", "| --- | --- | --- |", *lines])


def write(report: Report, folder: Path, total_s: float) -> None:
    """Write the table so far to `folder`."""
    device = torch.cuda.get_device_name()
    names = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "diffusers", "timm", "numpy"))
    text = f"""# Check on a GPU

Command: `PYTHONPATH=platform:serve:tests python3 tests/gpu/check_gpu.py`

{device}, {os.cpu_count()} cores; Python {platform.python_version()}, {names}. {total_s:.0f} s in all.
Share of the bf16 peak: operations of torch's counter, of {PEAK_BF16 / 1e12:g} TFLOP/s.

{table(report)}
"""
    folder.mkdir(parents=True, exist_ok=True)
    short = device.replace("NVIDIA ", "").split()[0].lower()
    (folder / f"gpu_{short}_{time.strftime('%Y%m')}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

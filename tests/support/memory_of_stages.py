"""Stages whose peak memory is measured. A module of its own, because new processes import it by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from support.data_manifest import data_manifest
from support.datasets_of_phantoms import png
from support.models_of_phantoms import ANNOTATOR, GENERATOR, fill_here
from support.shards_of_rows import write_shards
from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.diagnosis.training import AnnotatorLearner
from synfundus.diffusion.training import GeneratorLearner
from synfundus.fundus.dataset import PreparedImages, read_labels
from synfundus.fundus.splits import SPLITS
from synfundus.labels import LABEL_NAMES
from synfundus.samples.config import SamplesConfig
from synfundus.samples.plan import make_plan
from synfundus.samples.sampler import SamplingTask, ShardSampler
from synfundus.samples.shards import decode_shard
from synfundus.samples.verify import copy_reference
from synfundus.samples.work import divide
from synfundus.storage import Storage, open_storage, write_manifest

SIZE_PX = 32
DISTINCT = 70
SAMPLES = SamplesConfig.model_validate(
    {
        "num_samples": 1,
        "min_patients": 2,
        "solver": {"name": "ddim", "num_steps": 1, "guidance_scale": 1.0},
        "micro_batch": 64,
        "shard_rows": 256,
    }
)


def write_noise_images(storage: Storage, folder: str, num_images: int) -> None:
    """Write a dataset of discs of noise. Each of `DISTINCT` images occurs many times, always in the same split.

    Every ten images have one pattern of splits, and `DISTINCT` is a multiple of ten.
    """
    rng = np.random.default_rng(0)
    line = np.linspace(-1, 1, SIZE_PX)
    inside_HW1 = (line[:, None] ** 2 + line**2 <= 1)[:, :, None]
    images = [
        png(np.where(inside_HW1, rng.integers(30, 255, (SIZE_PX, SIZE_PX, 3)), 0).astype(np.uint8))
        for _ in range(DISTINCT)
    ]
    rows = []
    for i in range(num_images):
        row: dict[str, object] = {"image_id": f"{i:016d}", "image": {"bytes": images[i % DISTINCT], "path": None}}
        row |= {"patient": f"patient-{i // 2}", "split": SPLITS[(0, 0, 0, 2, 3)[i // 2 % 5]]}
        for name in LABEL_NAMES:
            value = int(rng.integers(0, 2)) if name in ("eye_side", "is_amd") else None
            row |= {name: value, f"source_{name}": "unknown" if value is None else "expert", f"filled_{name}": None}
        rows.append(row)
    write_manifest(storage, folder, write_shards(storage, folder, rows, 256), data_manifest(rows, SIZE_PX))


def _read(storage: Storage, folder: str, number: int) -> None:
    """Read all images."""
    images = PreparedImages(storage, folder)
    assert sum(len(batch) for split in SPLITS for batch in images.batches(split, 64)) == number


def _train(storage: Storage, folder: str, number: int) -> None:
    """Read batches from all over the images, as an epoch does; train on a few of them."""
    images = PreparedImages(storage, folder)
    annotator = AnnotatorLearner(images, ANNOTATOR, torch.device("cpu"))
    generator = GeneratorLearner(images, GENERATOR, torch.device("cpu"))
    for step in range(4):
        annotator.train_step(step)
        generator.train_step(step)
    num_images = images.num_images("train")
    for start in range(0, num_images, 256):
        generator._inputs(range(start, min(start + 64, num_images)))


def _fill(storage: Storage, folder: str, number: int) -> None:
    """Fill the labels of all images."""
    fill_here(storage, folder, load_annotator(storage, "annotators/p"), f"data/filled-{number}")


def _sample(storage: Storage, folder: str, number: int) -> None:
    """Sample as one worker of the pool does, and read the shards as an evaluation does."""
    config = SAMPLES.model_copy(update={"num_samples": number})
    labels = read_labels(storage, "data/few", "train")
    plan = make_plan(config, labels, generator_digest="g", annotator_digest="a", data_digest="d")
    task = SamplingTask(storage, f"samples/{number}", "generators/p", "annotators/p", "copy_detectors/p", plan)
    work = divide(0, range(number), config.shard_rows)
    reference = copy_reference(storage, "copy_detectors/p")
    sampler = ShardSampler(task, reference)
    for item in work:
        sampler(item)
    assert sum(decode_shard(storage.read(item.name(task.folder))).num_rows for item in work) == number


STAGES: dict[str, Callable[[Storage, str, int], None]] = {
    "read": _read,
    "train": _train,
    "fill": _fill,
    "sample": _sample,
}


def peak_mib(stage: str, root: str, folder: str, number: int) -> float:
    """Run a stage and return the peak resident memory of this process in MiB. The process does nothing else."""
    torch.set_num_threads(1)
    pa.set_cpu_count(1)  # each of Arrow's threads has its own heap, whose size varies by 15 MiB from run to run
    STAGES[stage](open_storage(root), folder, number)
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

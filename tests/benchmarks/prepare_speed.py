"""Images/s a core of `prepare`, beside a plain Pillow loop over the same files.

    OMP_NUM_THREADS=1 python tests/benchmarks/prepare_speed.py FOLDER...

Each folder has `images/`. Three ways, one after the other in each round, the best of the rounds counts:
Pillow    decode in full, crop to the known field of view, pad, resize, encode PNG; no checks, no duplicates
one task  the first pass of `prepare` in this process: checks, field of view, codes for duplicates, PNG, table
prepare   the whole job on Ray Data with one worker: both passes, duplicates, contact sheet, manifest
The photographs are listed as often as makes the job worth timing; repeats are exact duplicates, dropped after pass 1.
Memory: by how much one task's peak lies above a fresh process with all its libraries.
Writes tests/benchmarks/results/prepare_cpu2_202611.md.
"""

import argparse
import io
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.queues import Queue
from pathlib import Path

import PIL
import pyarrow
import ray
import scipy
from PIL import Image, features

from synfundus.distributed.session import quiet_ray_data
from synfundus.environment import Environment
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.preprocess import Prepared, prepare_image
from synfundus.fundus.sources import SourceListing, SourceRecord
from synfundus.fundus.sources.base import ImageFile
from synfundus.fundus.staging import stage_records
from synfundus.labels import LABEL_NAMES
from synfundus.stages.prepare import prepare
from synfundus.stages.record import hardware
from synfundus.storage import open_storage

RESULT = Path(__file__).parent / "results" / "prepare_cpu2_202611.md"
HEADER = """# Speed of `prepare`

Command: `OMP_NUM_THREADS=1 python tests/benchmarks/prepare_speed.py FOLDER...`

{cpu}, {cores} cores; one worker, one thread, best of {rounds} rounds, both sides in each.
{versions}.

Images/s a core. Task: pass 1 in one process; job: all of `prepare` on Ray Data; the last column: MiB that a task adds
to a fresh process. The Pillow loop decodes in full, crops to a field of view found beforehand, resizes and encodes PNG;
it checks nothing and keeps nothing. A JPEG far larger than the result is decoded at reduced size by `prepare`, which is
why it is the faster one there. Of the small ones, most time goes to the search for copies and to the field of view.

| photographs | original px | images | px | Pillow loop | task | job | task : loop | job : loop | MiB |
|---|---|---|---|---|---|---|---|---|---|
"""
SIZES_PX = (64, 256)
NUM_LISTED = {"fundus_fullres": 96, "fundus_real": 838}
ROUNDS = 3


class Silent:
    def update(self, done: int, note: str = "") -> None: ...


def records(folder: Path) -> list[SourceRecord]:
    files = sorted((folder / "images").iterdir())
    wanted = NUM_LISTED.get(folder.name, len(files))
    labels = dict.fromkeys(LABEL_NAMES)
    return [
        SourceRecord(
            f"{i // len(files):03d}/{files[i % len(files)].name}", ImageFile(str(files[i % len(files)])), labels
        )
        for i in range(wanted)
    ]


def pillow_loop(listed: Sequence[SourceRecord], fields_px: Sequence[int], size_px: int) -> None:
    for record, field_px in zip(listed, fields_px, strict=True):
        with Image.open(io.BytesIO(record.load())) as file:
            image = file.convert("RGB")
            left, top = (image.width - field_px) // 2, (image.height - field_px) // 2
            square = image.crop((left, top, left + field_px, top + field_px))
            square.resize((size_px, size_px), Image.Resampling.LANCZOS).save(io.BytesIO(), "PNG", compress_level=4)


def field_of(record: SourceRecord) -> int:
    result = prepare_image(record.load(), 64)
    assert isinstance(result, Prepared)
    return result.field_px


def run_prepare(listed: list[SourceRecord], config: PrepareConfig) -> None:
    listing = SourceListing(list(listed), [], [], has_patients=False)
    settings = Environment(patient_key="the key of a benchmark", real_data=None)
    with tempfile.TemporaryDirectory() as root:
        prepare(open_storage(root), "data/benchmark", [listing], config, settings, "", Silent())


def seconds(action: Callable[[], None]) -> float:
    start_s = time.perf_counter()
    action()
    return time.perf_counter() - start_s


def measure(folder: Path, size_px: int) -> str:
    """One row of the table."""
    listed = records(folder)
    config = PrepareConfig(size_px=size_px, shard_rows=48)
    fields = [field_of(record) for record in listed]
    ways: list[Callable[[], None]] = [
        lambda: pillow_loop(listed, fields, size_px),
        lambda: stage_all(listed, config),
        lambda: run_prepare(listed, config),
    ]
    best = [min(times) for times in zip(*([seconds(way) for way in ways] for _ in range(ROUNDS)), strict=True)]
    pillow, task, job = (len(listed) / time_s for time_s in best)
    with Image.open(io.BytesIO(listed[0].load())) as image:
        original = f"{image.width} x {image.height}"
    return (
        f"| {folder.name} | {original} | {len(listed)} | {size_px} | {pillow:.1f} | {task:.1f} | {job:.1f} "
        f"| {task / pillow:.2f} | {job / pillow:.2f} | {growth_mib(listed, config)} |"
    )


def stage_all(listed: Sequence[SourceRecord], config: PrepareConfig) -> None:
    for start in range(0, len(listed), config.shard_rows):
        stage_records(listed[start : start + config.shard_rows], config)


def _memory_mib(what: str) -> int:
    """`VmRSS` now or `VmHWM`, the peak (getrusage would tell that of the parent, if it is larger)."""
    return int(Path("/proc/self/status").read_text().split(f"{what}:")[1].split()[0]) // 1024


def _grow(listed: Sequence[SourceRecord], config: PrepareConfig, answer: "Queue[int]") -> None:
    before = _memory_mib("VmRSS")
    stage_records(listed, config)
    answer.put(_memory_mib("VmHWM") - before)


def growth_mib(listed: Sequence[SourceRecord], config: PrepareConfig) -> int:
    """By how much one task's peak lies above a fresh process with all its libraries."""
    context = multiprocessing.get_context("spawn")
    answer: Queue[int] = context.Queue()
    process = context.Process(target=_grow, args=(listed[: config.shard_rows], config, answer))
    process.start()
    growth = answer.get()
    process.join()
    return growth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    folders: list[Path] = parser.parse_args().folders
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=300 * 2**20, log_to_driver=False)
    quiet_ray_data()
    run_prepare(records(folders[0])[:4], PrepareConfig(size_px=64))  # starts the worker
    rows = [measure(folder, size_px) for folder in folders for size_px in SIZES_PX]
    machine = hardware()
    pillow = f"Pillow {PIL.__version__} (libjpeg-turbo {features.version_feature('libjpeg_turbo')})"
    versions = f"Python {platform.python_version()}, {pillow}, Ray {ray.__version__}, pyarrow {pyarrow.__version__}"
    text = HEADER.format(
        cpu=machine["cpu"], cores=os.cpu_count(), rounds=ROUNDS, versions=f"{versions}, scipy {scipy.__version__}"
    )
    text += "\n".join(rows) + "\n"
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()

"""Measure the images/s per core of `prepare`, and of a plain Pillow loop over the same files.

    OMP_NUM_THREADS=1 python tests/benchmarks/prepare_speed.py FOLDER...

Each folder has `images/`. Each round runs three sides, one after the other; the best round counts:
Pillow    decode in full, crop to the known field of view, pad, resize, encode PNG; no checks, no search for copies
one task  the first pass of `prepare` in this process: checks, field of view, codes of copies, PNG, table
prepare   the whole stage on Ray Data with one worker: both passes, copies, contact sheet, manifest
Photographs are listed several times if they are few; the repeats are exact duplicates, rejected after the first pass.
Memory: the peak of one task above that of a new process with all libraries.
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
from synfundus.stages.prepare_passes import prepare
from synfundus.stages.record import hardware
from synfundus.storage import open_storage

RESULT = Path(__file__).parent / "results" / "prepare_cpu2_202611.md"
HEADER = """# Speed of `prepare`

Command: `OMP_NUM_THREADS=1 python tests/benchmarks/prepare_speed.py FOLDER...`

{cpu}, {cores} cores; one worker, one thread, best of {rounds} rounds, all sides in each.
{versions}.

Images/s per core. Task: the first pass in one process. Stage: all of `prepare` on Ray Data. MiB: memory that a task
adds to a new process. The Pillow loop decodes in full, crops to a field of view found beforehand, resizes and encodes
PNG; it checks nothing and stores nothing. `prepare` is faster on a JPEG far larger than the result, because it decodes
it at reduced size. On small photographs the search for copies and for the field of view takes most of the time.

| photographs | original px | images | px | Pillow loop | task | stage | task : loop | stage : loop | MiB |
|---|---|---|---|---|---|---|---|---|---|
"""
SIZES_PX = (64, 256)
NUM_LISTED = {"fundus_fullres": 96, "fundus_real": 838}
ROUNDS = 3


class Silent:
    """Progress that shows nothing."""

    def update(self, done: int, note: str = "") -> None: ...


def records(folder: Path) -> list[SourceRecord]:
    """Return `NUM_LISTED` records of the folder's photographs, repeated if they are fewer."""
    files = sorted((folder / "images").iterdir())
    num_listed = NUM_LISTED.get(folder.name, len(files))
    labels = dict.fromkeys(LABEL_NAMES)
    return [
        SourceRecord(
            f"{i // len(files):03d}/{files[i % len(files)].name}", ImageFile(str(files[i % len(files)])), labels
        )
        for i in range(num_listed)
    ]


def pillow_loop(listed: Sequence[SourceRecord], fields_px: Sequence[int], size_px: int) -> None:
    """Decode, crop, resize and encode each photograph."""
    for record, field_px in zip(listed, fields_px, strict=True):
        with Image.open(io.BytesIO(record.load())) as file:
            image = file.convert("RGB")
            left, top = (image.width - field_px) // 2, (image.height - field_px) // 2
            square = image.crop((left, top, left + field_px, top + field_px))
            square.resize((size_px, size_px), Image.Resampling.LANCZOS).save(io.BytesIO(), "PNG", compress_level=4)


def field_of(record: SourceRecord) -> int:
    """Return the diameter of a photograph's field of view in pixels."""
    result = prepare_image(record.load(), 64)
    assert isinstance(result, Prepared)
    return result.field_px


def run_prepare(listed: list[SourceRecord], config: PrepareConfig) -> None:
    """Run the whole stage."""
    listing = SourceListing(list(listed), [], [], has_patients=False)
    environment = Environment(patient_key="the key of a benchmark", real_data=None)
    with tempfile.TemporaryDirectory() as root:
        prepare(open_storage(root), "data/benchmark", [listing], config, environment, "", Silent())


def seconds(action: Callable[[], None]) -> float:
    start_s = time.perf_counter()
    action()
    return time.perf_counter() - start_s


def measure(folder: Path, size_px: int) -> str:
    """Return one row of the table."""
    listed = records(folder)
    config = PrepareConfig(size_px=size_px, shard_rows=48)
    fields = [field_of(record) for record in listed]
    sides: list[Callable[[], None]] = [
        lambda: pillow_loop(listed, fields, size_px),
        lambda: stage_all(listed, config),
        lambda: run_prepare(listed, config),
    ]
    best = [min(times) for times in zip(*([seconds(side) for side in sides] for _ in range(ROUNDS)), strict=True)]
    pillow, task, stage = (len(listed) / time_s for time_s in best)
    with Image.open(io.BytesIO(listed[0].load())) as image:
        original = f"{image.width} x {image.height}"
    return (
        f"| {folder.name} | {original} | {len(listed)} | {size_px} | {pillow:.1f} | {task:.1f} | {stage:.1f} "
        f"| {task / pillow:.2f} | {stage / pillow:.2f} | {growth_mib(listed, config)} |"
    )


def stage_all(listed: Sequence[SourceRecord], config: PrepareConfig) -> None:
    """Run the first pass over all photographs in this process."""
    for start in range(0, len(listed), config.shard_rows):
        stage_records(listed[start : start + config.shard_rows], config)


def _memory_mib(field: str) -> int:
    """Return `VmRSS` or the peak, `VmHWM`. (getrusage may give the parent's peak.)"""
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) // 1024


def _grow(listed: Sequence[SourceRecord], config: PrepareConfig, result: "Queue[int]") -> None:
    before = _memory_mib("VmRSS")
    stage_records(listed, config)
    result.put(_memory_mib("VmHWM") - before)


def growth_mib(listed: Sequence[SourceRecord], config: PrepareConfig) -> int:
    """Return the peak memory of one task above that of a new process with all libraries."""
    context = multiprocessing.get_context("spawn")
    result: Queue[int] = context.Queue()
    process = context.Process(target=_grow, args=(listed[: config.shard_rows], config, result))
    process.start()
    growth = result.get()
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
    pillow = f"Pillow {PIL.__version__} (libjpeg-turbo {features.version_feature('libjpeg_turbo')})"
    versions = f"Python {platform.python_version()}, {pillow}, Ray {ray.__version__}, pyarrow {pyarrow.__version__}"
    text = HEADER.format(
        cpu=hardware().cpu, cores=os.cpu_count(), rounds=ROUNDS, versions=f"{versions}, scipy {scipy.__version__}"
    )
    text += "\n".join(rows) + "\n"
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()

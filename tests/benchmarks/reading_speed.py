"""Measure the images/s that one core reads for a training, and those of the bare decoder.

    python tests/benchmarks/reading_speed.py

The process runs on one core. Its two sides take turns of a few batches, so that a drift of the machine's speed affects
both:
bare    `decode_pixels` on encoded images that are in memory, one after the other, in one thread
reader  what a learner does for each micro-batch: `ReadAhead` over `PreparedImages.batch`, which looks up the order and
        the labels, reads each image out of its shard on the disk and decodes it
Images are phantoms. Writes tests/benchmarks/results/reading_cpu2_202611.md.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from report_table import keep, machine, table
from turns import ratio_interval

from support.data_manifest import data_manifest
from support.datasets_of_phantoms import png
from support.shards_of_rows import write_shards
from synfundus.fundus.batches import ImageBatch
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.shard import decode_pixels
from synfundus.labels import LABEL_NAMES
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_record
from synfundus.storage import open_storage, write_manifest
from synfundus.training.learner import image_indices
from synfundus.training.read_ahead import NUM_AHEAD, NUM_THREADS, ReadAhead

COMMAND = "PYTHONPATH=tests python tests/benchmarks/reading_speed.py"
BATCHES = {64: 128, 256: 64, 512: 32}
"""Images of a micro-batch, by the side of an image in pixels."""
DISTINCT, NUM_IMAGES = 48, 1536
TURN_PIXELS = 2**25
"""Pixels that a side decodes in a turn: 64 batches at 64 px, four at 512 px."""
GOAL = 0.9
TEXT = """# Speed of reading

Command: `{command}`

{machine}

Images/s of one core. Bare: `decode_pixels` in one thread, encoded images in memory. Reader: what a learner does for a
micro-batch, with {threads} threads on the same core: order, labels, one read of the shard per image, decoding. Sides
take turns; the ratio has its 95 % interval over {turns} pairs of turns. CPU: ratio of the images per second of CPU
time. Goal: reader >= {goal} x bare.

{rows}
"""


@dataclass
class Side:
    """Speeds of the turns of one side."""

    read: Callable[[int], None]
    """Reads the micro-batches of the turn of this number."""
    per_s: list[float] = field(default_factory=list)
    """Images/s of each turn."""
    per_cpu_s: list[float] = field(default_factory=list)

    def take_turn(self, number: int, num_images: int) -> None:
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        self.read(number)
        self.per_s.append(num_images / (time.perf_counter() - start_s))
        self.per_cpu_s.append(num_images / (time.process_time() - start_cpu_s))


def write_phantoms(root: str, size_px: int) -> tuple[PreparedImages, list[bytes]]:
    """Write training images, in which `DISTINCT` phantoms occur many times; return their reader and the PNGs."""
    storage, config = open_storage(root), PhantomConfig(num_images=DISTINCT, size_px=size_px, seed=1)
    encoded = [png(phantom_record(config, index).image_HWC) for index in range(DISTINCT)]
    rows = []
    for i in range(NUM_IMAGES):
        row: dict[str, object] = {"image_id": f"{i:016d}", "image": {"bytes": encoded[i % DISTINCT], "path": None}}
        row |= {"patient": f"patient-{i}", "split": "train"} | {f"source_{name}": "unknown" for name in LABEL_NAMES}
        rows.append(row)
    folder = f"data/{size_px}"
    objects = write_shards(storage, folder, rows, 256)
    write_manifest(storage, folder, objects, data_manifest(rows, size_px))
    return PreparedImages(storage, folder), encoded


def measure(images: PreparedImages, encoded: list[bytes], num_turns: int) -> tuple[Side, Side]:
    """Return both sides after their turns; the first turn of each warms up and is not counted."""
    batch = BATCHES[images.size_px]
    batches = max(1, TURN_PIXELS // (batch * images.size_px**2))

    def bare(number: int) -> None:
        for i in range(batches * batch):
            decode_pixels(encoded[(number + i) % DISTINCT])

    def read(positions: range) -> ImageBatch:
        return images.batch("train", image_indices(0, positions, NUM_IMAGES))

    reader = ReadAhead(read)

    def ahead(number: int) -> None:
        first = number * batches
        positions = [range(b * batch, (b + 1) * batch) for b in range(first, first + batches)]
        for b, wanted in enumerate(positions):
            reader.start(positions[b : b + 1 + NUM_AHEAD])
            reader.take(wanted)

    sides = Side(bare), Side(ahead)
    for number in range(num_turns + 1):
        for side in sides:
            side.take_turn(number, batches * batch)
    reader.close()
    for side in sides:
        del side.per_s[0], side.per_cpu_s[0]
    return sides


def row(size_px: int, encoded: list[bytes], bare: Side, reader: Side) -> list[str]:
    ratio = sum(reader.per_s) / sum(bare.per_s)
    low, high = ratio_interval(bare.per_s, reader.per_s)
    return [
        f"{size_px} px",
        str(BATCHES[size_px]),
        f"{np.mean([len(data) for data in encoded]) / 1024:.0f}",
        f"{np.mean(bare.per_s):.0f}",
        f"{np.mean(reader.per_s):.0f}",
        f"{ratio:.3f} ({low:.3f} to {high:.3f})",
        "yes" if ratio >= GOAL else "**no**",
        f"{sum(reader.per_cpu_s) / sum(bare.per_cpu_s):.3f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--theme", default="reading", help="name of the file of the result")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as root:
        datasets = {size_px: write_phantoms(root, size_px) for size_px in BATCHES}
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        for size_px, (images, encoded) in datasets.items():
            rows.append(row(size_px, encoded, *measure(images, encoded, options.turns)))
            print(rows[-1], flush=True)
    heads = ["images", "micro-batch", "PNG KiB", "bare", "reader", "reader : bare", f">= {GOAL}", "CPU"]
    text = TEXT.format(
        command=f"{COMMAND} --turns {options.turns}",
        machine=machine("numpy", "pillow"),
        threads=NUM_THREADS,
        turns=options.turns,
        goal=GOAL,
        rows=table(heads, rows),
    )
    keep(options.theme, text)


if __name__ == "__main__":
    main()

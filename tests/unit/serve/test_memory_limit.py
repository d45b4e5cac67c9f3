"""Threads that share a limit of memory."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from synfundus.distributed.session import WORKERS_MALLOC
from synfundus.fundus.held_bytes import FIXED_BYTES
from synfundus_serve.memory_limit import MemoryLimit


def test_threads_never_hold_more_than_the_limit_and_all_are_served() -> None:
    limit, lock, held, peak = MemoryLimit(10), threading.Lock(), 0, 0

    def work(num_bytes: int) -> int:
        nonlocal held, peak
        with limit.hold(num_bytes):
            with lock:
                held += num_bytes
                peak = max(peak, held)
            threading.Event().wait(0.001)
            with lock:
                held -= num_bytes
        return num_bytes

    with ThreadPoolExecutor(6) as pool:
        sizes = [10, 1, 3, 6, 4, 10, 2, 2, 5] * 10
        assert list(pool.map(work, sizes)) == sizes
    assert peak <= 10


def test_a_small_one_waits_behind_a_large_one() -> None:
    limit, order = MemoryLimit(10), list[str]()

    def work(name: str, num_bytes: int) -> None:
        with limit.hold(num_bytes):
            order.append(name)

    with ThreadPoolExecutor(2) as pool:
        with limit.hold(5):
            large = pool.submit(work, "large", 10)
            while not limit._turn.locked():  # until it waits for memory
                threading.Event().wait(0.001)
            small = pool.submit(work, "small", 1)
        large.result()
        small.result()
    assert order == ["large", "small"]


def test_memory_is_free_again_after_an_error() -> None:
    limit = MemoryLimit(10)
    for _ in range(3):
        try:
            with limit.hold(10):
                raise ValueError
        except ValueError:
            pass
    with limit.hold(10):
        pass


PREPARE_FOUR = """
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from synfundus.fundus.decoding import open_original
from synfundus.fundus.preprocess import Prepared, prepare_image
from synfundus_serve.memory_limit import MemoryLimit

def kib(field):
    return int(Path("/proc/self/status").read_text().split(field)[1].split()[0])

data = Path(sys.argv[1]).read_bytes()
limit = open_original(data, 80).held_bytes
prepare = partial(prepare_image, size_px=64, is_fundus=False, hold=MemoryLimit(limit).hold)
Path("/proc/self/clear_refs").write_text("5")
before = kib("VmRSS:")
with ThreadPoolExecutor(2) as pool:
    assert all(isinstance(one, Prepared) for one in pool.map(prepare, [data] * 4))
print((kib("VmHWM:") - before) * 1024, limit)
"""


def test_two_decoders_never_take_more_memory_than_the_limit(tmp_path: Path) -> None:
    """Measure with the malloc settings of Ray's workers; without them threads keep the memory that they have freed."""
    file = tmp_path / "original.webp"
    Image.radial_gradient("L").resize((2200, 2200)).convert("RGB").save(file, method=0)
    environment = os.environ | WORKERS_MALLOC
    done = subprocess.run(
        [sys.executable, "-c", PREPARE_FOUR, str(file)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    peak, limit = map(int, done.stdout.split())
    assert limit > 8 * FIXED_BYTES, "large enough to tell one photograph from two"
    assert peak <= limit + 2 * FIXED_BYTES  # what each thread keeps

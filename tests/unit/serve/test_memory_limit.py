"""Threads that share a limit of memory."""

import threading
from concurrent.futures import ThreadPoolExecutor

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

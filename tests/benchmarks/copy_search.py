"""Measure the search for the nearest of 1.3 million training photographs, and compare it with a product per sample.

    python tests/benchmarks/copy_search.py

Both sides search the same random unit vectors, as they are and mirrored, with the same threads, in turns:
blocks   `synfundus.measures.nearest.nearest`: blocks of both, with one product for a reference and its mirror image
single   two matrix-vector products per sample (the reference and its mirror image), which NumPy computes
Both must find the same references. Writes tests/benchmarks/results/copy_search_cpu2_202611.md.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from report_table import keep, machine, table

from synfundus.copies.encoder import DESCRIPTOR_DIM
from synfundus.labels import FloatArray
from synfundus.measures.nearest import nearest, reference_on

COMMAND = "python tests/benchmarks/copy_search.py"
NUM_REFERENCES, NUM_QUERIES, NUM_SINGLE, TURNS = 1_300_000, 512, 8, 5
GOAL_MS = 5.0
TEXT = """# Search for the nearest training photograph

Command: `{command}`

{machine}
{threads} threads per side, {turns} turns, medians with the range. {references:,} references of {dim} numbers; the goal
is {goal:g} ms per sample. Both sides found the same references.

{rows}
"""


def unit_vectors(count: int, dim: int, seed: int) -> FloatArray:
    vectors_ND = np.random.default_rng(seed).standard_normal((count, dim), np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return vectors_ND


def single(queries_MD: FloatArray, reference_ND: FloatArray) -> NDArray[np.int64]:
    """Return the index of the nearest reference of each query, one query after the other."""
    half = reference_ND.shape[1] // 2
    found = []
    for query_D in queries_MD:
        mirrored_D = np.concatenate([query_D[:half], -query_D[half:]])
        found.append(np.argmax(np.maximum(reference_ND @ query_D, reference_ND @ mirrored_D)))
    return np.array(found, np.int64)


def timed(function: Callable[[], NDArray[np.int64]], num_queries: int) -> tuple[float, NDArray[np.int64]]:
    """Return the milliseconds per query, and the result."""
    start = time.perf_counter()
    found = function()
    return 1e3 * (time.perf_counter() - start) / num_queries, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, default=NUM_REFERENCES)
    options = parser.parse_args()
    torch.set_num_threads(2)
    reference_ND = unit_vectors(options.references, DESCRIPTOR_DIM, 0)
    queries_MD = unit_vectors(NUM_QUERIES, DESCRIPTOR_DIM, 1)
    tensor_ND = reference_on(reference_ND, np.arange(options.references), "cpu")
    sides = {
        "blocks": (lambda: nearest(queries_MD, tensor_ND).index, NUM_QUERIES),
        "single": (lambda: single(queries_MD[:NUM_SINGLE], reference_ND), NUM_SINGLE),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    found = {}
    for _ in range(TURNS):
        for name, (function, num_queries) in sides.items():
            ms, found[name] = timed(function, num_queries)
            times[name].append(ms)
            print(name, f"{ms:.2f} ms", flush=True)
    assert np.array_equal(found["blocks"][:NUM_SINGLE], found["single"])
    median = {name: statistics.median(values) for name, values in times.items()}
    rows = [
        [name, f"{median[name]:.2f} ({min(values):.2f} to {max(values):.2f})", f"{median['single'] / median[name]:.1f}"]
        for name, values in times.items()
    ]
    text = TEXT.format(
        command=COMMAND,
        machine=machine("torch", "numpy"),
        threads=torch.get_num_threads(),
        turns=TURNS,
        references=options.references,
        dim=DESCRIPTOR_DIM,
        goal=GOAL_MS,
        rows=table(["side", "ms per sample", "times as fast as single"], rows),
    )
    keep("copy_search", text)


if __name__ == "__main__":
    main()

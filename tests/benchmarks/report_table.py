"""Helpers that benchmarks share: the study of a recipe, a Ray session, new processes, tables and their header."""

import multiprocessing
import os
import platform
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from synfundus.distributed.session import ray_session
from synfundus.environment import Environment
from synfundus.fundus.sources import list_source
from synfundus.stages.prepare_passes import prepare
from synfundus.stages.record import hardware
from synfundus.storage import Storage
from synfundus.study import Study, resolve

RESULTS = Path(__file__).parent / "results"
ENVIRONMENT = Environment(patient_key="the key of a benchmark", real_data=None)


class Silent:
    """Progress that shows nothing."""

    def update(self, done: int, note: str = "") -> None: ...


def recipe_study(recipe: str, root: str, overrides: Sequence[str] = ()) -> Study:
    """Return the study of a recipe with these overrides."""
    return resolve(f"{{recipe: {recipe}, name: benchmark, root: {root}}}", "benchmark", Path(), overrides)


@contextmanager
def own_ray_session(num_workers: int = 1) -> Iterator[None]:
    """Start the Ray session of the command line, and stop it at the end."""
    os.environ["RAY_AUTH_MODE"] = "disabled"
    with ray_session(num_workers):
        yield


def prepare_data(study: Study, storage: Storage) -> None:
    """Prepare the study's sources in a Ray session of their own."""
    listings = [list_source(source) for source in study.data.sources]
    with own_ray_session():
        prepare(storage, study.data_folder, listings, study.data.prepare, ENVIRONMENT, "", Silent())


def in_fresh_processes(function: Callable[..., Any], arguments: Sequence[Sequence[Any]]) -> list[Any]:
    """Call `function` with each of these arguments at the same time, each in a new Python process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(arguments), mp_context=context, max_tasks_per_child=1) as pool:
        return [future.result() for future in [pool.submit(function, *each) for each in arguments]]


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function` in a new Python process."""
    return in_fresh_processes(function, [arguments])[0]


def best_and_median(values: Sequence[float], digits: int = 2) -> str:
    """Return `best / median` of some speeds."""
    return f"{max(values):.{digits}f} / {statistics.median(values):.{digits}f}"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine(*packages: str) -> str:
    """Return CPU and versions in one line."""
    names = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return f"{hardware().cpu}, {os.cpu_count()} cores; Python {platform.python_version()}, {names}."


def keep(theme: str, text: str) -> None:
    """Print a result and write it to `RESULTS`."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{theme}_cpu2_202611.md").write_text(text.rstrip() + "\n")
    print(text)

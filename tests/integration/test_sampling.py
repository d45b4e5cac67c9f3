"""Sampling on a pool of real Ray actors: after a kill, in a second run, with replacements; readers of the shards."""

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import datasets
import duckdb
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pytest

from support.datasets_of_phantoms import phantom_dataset
from support.models_of_phantoms import train_tiny_models
from synfundus.copies.detector import load_copy_detector
from synfundus.fundus.dataset import read_labels
from synfundus.fundus.shard import decode_pixels
from synfundus.measures.nearest import nearest
from synfundus.samples.config import SamplesConfig
from synfundus.samples.manifest import SamplesManifest
from synfundus.samples.plan import make_plan
from synfundus.samples.sampler import SamplingTask
from synfundus.samples.shards import read_samples
from synfundus.samples.verification import Verification
from synfundus.samples.verify import CopyReference, copy_reference
from synfundus.stages import sample_pool
from synfundus.stages.sample_pool import sample_on_pool
from synfundus.storage import FileEntry, Storage, open_storage, read_manifest

SAMPLES = {
    "num_samples": 96,
    "seed": 3,
    "min_patients": 3,
    "solver": {"name": "ddim", "num_steps": 8, "guidance_scale": 2.0},
    "micro_batch": 4,
    "shard_rows": 8,
    "max_attempts": 3,
}


class Watched:
    """Progress that sets an event at the first shard."""

    def __init__(self) -> None:
        self.first_shard = threading.Event()

    def update(self, done: int, note: str = "") -> None:
        if done > 0:
            self.first_shard.set()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """A root with phantoms and all models."""
    storage = open_storage(str(tmp_path_factory.mktemp("models")))
    phantom_dataset(storage, "data/p", 200, 32)
    train_tiny_models(storage, "data/p", "p")
    return storage


def _task(storage: Storage, folder: str, pool_size: int = 2) -> SamplingTask:
    config = SamplesConfig.model_validate({**SAMPLES, "resources": {"pool_size": pool_size}})
    labels = read_labels(storage, "data/p", "train")
    plan = make_plan(config, labels, generator_digest="g", annotator_digest="a", data_digest="d")
    return SamplingTask(storage, folder, "generators/p", "annotators/p", "copy_detectors/p", plan)


@pytest.fixture(scope="module")
def undisturbed(models: Storage, ray_session: None) -> SamplingTask:
    """Samples that one actor made; the tests use pools of two."""
    task = _task(models, "samples/undisturbed", pool_size=1)
    sample_on_pool(task, "", Watched())
    return task


def _images(table: pa.Table) -> list[dict[str, bytes]]:
    cells: list[dict[str, bytes]] = table.column("image").to_pylist()
    return cells


def _first_shards(task: SamplingTask) -> dict[str, FileEntry]:
    """Return size and SHA-256 of every shard of attempt 0, by its name."""
    files = read_manifest(task.storage, task.folder, SamplesManifest).files
    return {name: entry for name, entry in files.items() if name.startswith("shards/")}


def _actors() -> Iterator[int]:
    """Yield the process ids of the actors of this process's Ray session, and of no other session."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "ShardSampler" in " ".join(process.cmdline()):
                yield process.pid


def test_every_sample_exists_once_with_its_requested_condition(undisturbed: SamplingTask) -> None:
    rows = pd.concat([table.to_pandas() for _, table in read_samples(undisturbed.storage, undisturbed.folder)])
    assert Counter(rows["sample_id"]) == Counter(range(96))
    conditions = undisturbed.plan.conditions(range(96))
    for row in rows.to_dict("records"):
        requested = row["condition_eye_side"]
        assert (None if pd.isna(requested) else requested) == conditions[row["sample_id"]]["eye_side"]
    assert rows["seed"].nunique() == 96
    assert rows["seed"].max() < 2**53


def test_a_killed_actor_changes_nothing(models: Storage, undisturbed: SamplingTask) -> None:
    task = _task(models, "samples/killed")
    watched, killed, earlier = Watched(), list[int](), set(_actors())  # an actor of an earlier pool would prove nothing

    def kill_one() -> None:
        watched.first_shard.wait()
        victim = next(pid for pid in _actors() if pid not in earlier)
        killed.append(victim)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    sample_on_pool(task, "", watched)
    killer.join()
    assert killed, "no actor was killed, so this test proved nothing"
    manifests = [read_manifest(run.storage, run.folder, SamplesManifest) for run in (task, undisturbed)]
    assert manifests[0] == manifests[1]


def test_a_second_run_writes_nothing(undisturbed: SamplingTask) -> None:
    folder = Path(undisturbed.storage.uri(undisturbed.folder))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    sample_on_pool(undisturbed, "", Watched())
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_too_near_samples_are_replaced_by_the_next_attempt(
    models: Storage, undisturbed: SamplingTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A threshold at the samples' own median rejects about half; each is sampled again with another seed."""

    def strict(storage: Storage, folder: str) -> CopyReference:
        reference = copy_reference(storage, folder)
        encoded = [cell["bytes"] for _, table in read_samples(models, undisturbed.folder) for cell in _images(table)]
        detector = load_copy_detector(storage, folder)
        descriptors = detector.descriptors(np.stack([decode_pixels(data) for data in encoded]))
        median = float(np.median(nearest(descriptors, reference.training.on("cpu")).ratio))
        return replace(reference, calibration=reference.calibration.model_copy(update={"threshold": median}))

    monkeypatch.setattr(sample_pool, "copy_reference", strict)
    task = _task(models, "samples/strict", pool_size=1)
    summary = sample_on_pool(task, "", Watched()).summary
    assert _first_shards(task) == _first_shards(undisturbed)
    name = "samples/strict/verification.json"
    verification = Verification.from_json(models.read(name), name)
    rejected = {(item.sample_id, item.attempt) for item in verification.rejected}
    assert 30 < sum(attempt == 0 for _, attempt in rejected) < 66
    assert summary.num_unresolved == len(verification.unresolved)
    for item in verification.accepted:
        assert all((item.sample_id, earlier) in rejected for earlier in range(item.attempt))
        assert (item.sample_id, item.attempt) not in rejected
    rows = pd.concat([table.to_pandas() for _, table in read_samples(models, task.folder)])
    assert Counter(rows["sample_id"]) == Counter(set(range(96)) - set(verification.unresolved))


def test_shards_load_with_datasets_pandas_and_duckdb(undisturbed: SamplingTask, tmp_path: Path) -> None:
    shards = f"{undisturbed.storage.uri(undisturbed.folder)}/shards/*.parquet"
    loaded = datasets.load_dataset("parquet", data_files=shards, split="train", cache_dir=str(tmp_path))
    assert loaded.num_rows == 96
    assert loaded[0]["image"].size == (32, 32)
    assert loaded[0]["image"].text["Synthetic"] == "yes"
    frame = pd.read_parquet(Path(shards).parent)
    assert len(frame) == 96
    counted = duckdb.sql(f"select count(*) as n, count(distinct seed) as seeds from '{shards}'")
    assert counted is not None
    assert counted.fetchall() == [(96, 96)]

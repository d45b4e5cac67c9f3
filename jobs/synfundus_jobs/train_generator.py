"""Job `train-generator`: train the conditional diffusion model on experts' and filled labels."""

import json
import sys

from synfundus.distributed.tasks import GeneratorTask
from synfundus.distributed.training import train
from synfundus.progress import show_progress
from synfundus.runs import start_run
from synfundus.storage import Storage, read_manifest
from synfundus.study import Study, digest_of
from synfundus_jobs.job import Job, Rows


def _run_name(study: Study) -> str:
    return f"{study.name}-generator"


def describe(study: Study, storage: Storage) -> Rows:
    config = study.generator
    return [
        ("read", f"{study.filled_folder}, training part"),
        ("train", f"{config.num_steps} steps of {config.batch_size} images"),
        ("workers", f"{config.num_workers} x {config.num_threads} threads, {config.precision}"),
        ("write", f"{study.generator_folder} below {storage.root}"),
    ]


def run(study: Study, storage: Storage) -> Rows:
    settings = study.generator.model_dump(mode="json")
    digest = digest_of({"config": settings, "data": digest_of(read_manifest(storage, study.filled_folder))})
    if start_run(storage, _run_name(study), study.generator_folder, digest, {"generator": settings}):
        task = GeneratorTask(
            study.generator, storage, _run_name(study), study.filled_folder, study.generator_folder, digest
        )
        with show_progress("train-generator", study.generator.num_steps, "steps") as progress:
            train(task, progress)
    losses = json.loads(storage.read(f"runs/{_run_name(study)}/losses.json"))
    return [
        ("steps", str(study.generator.num_steps)),
        ("loss", f"{losses[0]['loss']:.4f} at step {losses[0]['step']:.0f}, {losses[-1]['loss']:.4f} at the end"),
        ("sheets", storage.uri(f"runs/{_run_name(study)}/sheets")),
    ]


JOB = Job("train-generator", __doc__.split(": ", 1)[1], describe, run)
main = JOB.main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

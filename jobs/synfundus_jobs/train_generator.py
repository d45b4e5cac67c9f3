"""Job `train-generator`: train the conditional diffusion model on experts' and filled labels."""

import json
import sys

from synfundus.digests import digest_of
from synfundus.distributed.tasks import GeneratorTask
from synfundus.distributed.train import train
from synfundus.errors import WrongInputError
from synfundus.progress import show_progress
from synfundus.stages.record import start_run
from synfundus.storage import Storage, read_manifest
from synfundus.study import Study
from synfundus_jobs.job import Job, Rows, require_even_batch, require_gpu


def _run_name(study: Study) -> str:
    return f"{study.name}-generator"


def check(study: Study) -> None:
    study.files_of("generator")
    require_even_batch("generator", study.generator)
    made, wanted = study.data.prepare.size_px, study.generator.unet.size_px
    if made != wanted:
        raise WrongInputError(f"generator.unet.size_px: is {wanted}, data.prepare.size_px is {made}; make them equal")
    require_gpu("generator", use_gpu=study.generator.use_gpu)


def describe(study: Study, storage: Storage) -> Rows:
    config = study.generator
    return [
        ("read", f"{study.filled_folder}, training part"),
        ("train", f"{config.num_steps} steps of {config.batch_size} images"),
        ("workers", f"{config.num_workers} x {config.num_threads} threads, {config.precision}"),
        ("write", f"{study.generator_folder} below {storage.root}"),
    ]


def run(study: Study, storage: Storage) -> Rows:
    settings = study.public["generator"]
    inputs = {"data": digest_of(read_manifest(storage, study.filled_folder)), **study.files_of("generator")}
    digest = digest_of({"config": settings, **inputs})
    record = {"generator": settings, "inputs": inputs}
    if start_run(storage, _run_name(study), study.generator_folder, digest, record):
        task = GeneratorTask(
            study.generator, storage, _run_name(study), study.filled_folder, study.generator_folder, digest
        )
        with show_progress("train-generator", study.generator.num_steps, "steps") as progress:
            train(task, progress)
    rows: Rows = [("steps", str(study.generator.num_steps))]
    losses_file = f"runs/{_run_name(study)}/losses.json"
    if storage.exists(losses_file):  # runs/ may have been cleared since
        first, *_, last = [*json.loads(storage.read(losses_file))] * 2
        rows.append(("loss", f"{first['loss']:.4f} at step {first['step']:.0f}, {last['loss']:.4f} at the end"))
        rows.append(("sheets", storage.uri(f"runs/{_run_name(study)}/sheets")))
    return rows


JOB = Job("train-generator", __doc__.split(": ", 1)[1], describe, run, lambda study: study.generator_folder, check)
main = JOB.main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Job `train-annotator`: train, calibrate and measure the annotator, or take an external one in its place."""

import sys

from synfundus.diagnosis.external import adopt_external
from synfundus.digests import digest_of
from synfundus.distributed.tasks import AnnotatorTask
from synfundus.distributed.train import train
from synfundus.fundus.dataset import PreparedImages
from synfundus.progress import show_progress
from synfundus.stages.record import start_run
from synfundus.storage import Storage, read_manifest
from synfundus.study import Study
from synfundus_jobs.job import Job, Rows, require_even_batch, require_gpu
from synfundus_jobs.summaries import annotator_rows


def _run_name(study: Study) -> str:
    return f"{study.name}-annotator"


def check(study: Study) -> None:
    if study.external_annotator is not None:
        study.files_of("external_annotator")
        return
    study.files_of("annotator")
    require_even_batch("annotator", study.annotator)
    require_gpu("annotator", use_gpu=study.annotator.use_gpu)


def describe(study: Study, storage: Storage) -> Rows:
    if study.external_annotator is not None:
        return [("adopt", study.external_annotator.predictions or str(study.external_annotator.weights))]
    config = study.annotator
    return [
        ("read", f"{study.data_folder}, training part"),
        (
            "train",
            f"{config.architecture} at {config.image_size_px} px, {config.num_steps} steps of {config.batch_size}",
        ),
        ("workers", f"{config.num_workers} x {config.num_threads} threads, {config.precision}"),
        ("write", f"{study.annotator_folder} below {storage.root}"),
    ]


def run(study: Study, storage: Storage) -> Rows:
    section = "annotator" if study.external_annotator is None else "external_annotator"
    settings = study.public[section]
    inputs = {"data": digest_of(read_manifest(storage, study.data_folder)), **study.files_of(section)}
    digest = digest_of({"config": settings, **inputs})
    record = {section: settings, "inputs": inputs}
    if start_run(storage, _run_name(study), study.annotator_folder, digest, record):
        if study.external_annotator is not None:
            images = PreparedImages(storage, study.data_folder)
            adopt_external(storage, study.annotator_folder, study.external_annotator, images)
        else:
            task = AnnotatorTask(
                study.annotator, storage, _run_name(study), study.data_folder, study.annotator_folder, digest
            )
            with show_progress("train-annotator", study.annotator.num_steps, "steps") as progress:
                train(task, progress)
    return annotator_rows(study, storage)


JOB = Job("train-annotator", __doc__.split(": ", 1)[1], describe, run, lambda study: study.annotator_folder, check)
main = JOB.main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Job `sample`: lay out the plan, draw and annotate it over the pool, check every sample, replace what is rejected."""

import sys

from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.diffusion.checkpoint import load_generator
from synfundus.digests import digest_of
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import LABEL_BY_NAME, LABEL_NAMES
from synfundus.progress import show_progress
from synfundus.samples.plan import Plan, label_counts, make_plan
from synfundus.samples.sampler import SamplingTask, sample
from synfundus.stages.record import start_run
from synfundus.storage import Storage, read_manifest
from synfundus.study import Study
from synfundus_jobs.job import Job, Rows, require_gpu

BATCH = 256
PNG_BYTES_PER_PIXEL = 2.0
"""Of a synthetic fundus photograph; an estimate for `--dry-run` only."""


def build_plan(study: Study, storage: Storage) -> Plan:
    """The study's plan, from its models and filled data."""
    images = PreparedImages(storage, study.filled_folder)
    annotator = load_annotator(storage, study.annotator_folder)
    annotator.require_new_images()
    return make_plan(
        study.samples,
        images.batches("train", BATCH),
        num_without_patient=images.manifest["images_counted_as_patient"],
        generator=load_generator(storage, study.generator_folder).digest,
        annotator=annotator.digest,
        # What the images are, not their manifest: that knows the key of the patients' hashes.
        data=digest_of([images.manifest["images_digest"], images.manifest["parent"]["digest"], annotator.digest]),
    )


def require_new_images(study: Study) -> None:
    """Raises WrongInputError where the study's annotator cannot judge images that it was not made for."""
    if study.external_annotator is not None:
        try:
            study.external_annotator.require_new_images()
        except WrongInputError as error:
            raise WrongInputError(f"external_annotator.{error}") from error


def check(study: Study) -> None:
    require_new_images(study)
    require_gpu("samples", use_gpu=study.samples.use_gpu)
    steps, all_steps = study.samples.solver.num_steps, study.generator.schedule.num_train_timesteps
    if steps > all_steps:
        raise WrongInputError(
            f"samples.solver.num_steps: {steps} is more than the {all_steps} of"
            " generator.schedule.num_train_timesteps; take fewer"
        )
    fractions = study.data.prepare.split_fractions
    keeps = study.data.prepared is not None or any(getattr(s, "keep_splits", False) for s in study.data.sources)
    if fractions.validation + fractions.test == 0 and not keeps:
        raise WrongInputError(
            "data.prepare.split_fractions: without held-out photographs nothing says which samples are too near to a"
            " training image; give validation and test a share"
        )


def describe(study: Study, storage: Storage) -> Rows:
    plan, config = build_plan(study, storage), study.samples
    size_px = PreparedImages(storage, study.filled_folder).size_px
    num_bytes = config.num_samples * size_px**2 * PNG_BYTES_PER_PIXEL
    rows = [
        ("draw", f"{config.num_samples} samples in {plan.num_shards} shards, {len(plan.combinations)} combinations"),
        ("solver", f"{config.solver.name}, {config.solver.num_steps} steps, guidance {config.solver.guidance_scale:g}"),
        ("write", f"{study.samples_folder} below {storage.root}, about {num_bytes / 2**20:.0f} MiB"),
        *((f"note {i}", note) for i, note in enumerate(plan.notes, 1)),
    ]
    table = label_counts(plan)
    for name in LABEL_NAMES:
        values = ", ".join(f"{value}: {count}" for value, count in table[name].items())
        rows.append((LABEL_BY_NAME[name].title, values))
    return rows


def run(study: Study, storage: Storage) -> Rows:
    plan = build_plan(study, storage)
    record = {
        "samples": plan.to_dict()["settings"],
        "inputs": {"generator": plan.generator, "annotator": plan.annotator, "data": plan.data},
    }
    start_run(storage, f"{study.name}-sample", study.samples_folder, plan.digest, record)
    task = SamplingTask(
        storage,
        study.samples_folder,
        study.generator_folder,
        study.annotator_folder,
        study.filled_folder,
        plan,
        study.samples.use_gpu,
    )
    with show_progress("sample", study.samples.num_samples, "samples") as progress:
        summary = sample(task, progress)
    manifest = read_manifest(storage, study.samples_folder)
    rejected = ", ".join(f"{n} {reason}" for reason, n in summary["rejected"].items()) or "none"
    return [
        (
            "samples",
            f"{summary['num_samples']} in {len(manifest['files'])} files, {len(plan.combinations)} combinations",
        ),
        ("rejected", f"{rejected} (replaced; still without an accepted attempt: {summary['unresolved']})"),
        *((f"note {i}", note) for i, note in enumerate(plan.notes, 1)),
    ]


JOB = Job("sample", __doc__.split(": ", 1)[1], describe, run, lambda study: study.samples_folder, check)
main = JOB.main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

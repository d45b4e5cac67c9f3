"""Stage `sample`: sample the plan over a pool of Ray workers, check every sample, and replace rejected ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from synfundus.copies.manifest import CopyDetectorManifest
from synfundus.diagnosis.config import NO_NEW_IMAGES
from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.diffusion.manifest import GeneratorManifest
from synfundus.digests import digest_of
from synfundus.errors import WrongInputError
from synfundus.fundus.manifest import DataManifest
from synfundus.labels import LABEL_BY_NAME
from synfundus.progress import show_progress
from synfundus.samples.manifest import SamplesManifest
from synfundus.samples.plan import Plan, make_plan
from synfundus.stages.record import Basis
from synfundus.stages.requirements import require_gpu
from synfundus.stages.stage import Rows, Stage
from synfundus.storage import Storage, read_manifest
from synfundus.study import Study

PNG_BYTES_PER_PIXEL = 2.0
"""Size of a synthetic fundus photograph; an estimate for `--dry-run` only."""


@dataclass(frozen=True)
class SampleSummary:
    """Counts of a finished sampling."""

    manifest: SamplesManifest

    def rows(self) -> Rows:
        summary = self.manifest.summary
        rejected = ", ".join(f"{count} {reason}" for reason, count in sorted(summary.rejected.items())) or "none"
        return [
            ("samples", f"{summary.num_samples} in {len(self.manifest.files)} files"),
            ("combinations", f"{summary.num_combinations} of labels"),
            ("rejected", f"{rejected} (sampled again; without an accepted attempt: {summary.num_unresolved})"),
            *_note_rows(summary.notes),
        ]


class SampleStage(Stage[None]):
    """Sampling of the study's plan."""

    name = "sample"
    help = "Plan the samples, sample and annotate them over a pool of workers, and replace rejected ones."

    def inputs(self, study: Study) -> tuple[str, ...]:
        return study.filled_folder, study.annotator_folder, study.copy_detector_folder, study.generator_folder

    def output(self, study: Study) -> str:
        return study.samples_folder

    def basis(self, study: Study, storage: Storage) -> Basis:
        return {
            "samples": study.public["samples"],
            "operating_points": study.public["operating_points"],
            "inputs": {**_read_inputs(study, storage).digests, "copy_detector": _copy_detector_digest(study, storage)},
        }

    def check(self, study: Study, storage: Storage) -> None:  # noqa: ARG002  everything is in the study
        require_new_images(study)
        require_gpu("samples.resources", study.samples.resources)
        steps, all_steps = study.samples.solver.num_steps, study.generator.schedule.num_train_timesteps
        if steps > all_steps:
            raise WrongInputError(
                f"samples.solver.num_steps: {steps} is more than the {all_steps} of"
                " generator.schedule.num_train_timesteps; set fewer steps"
            )

    def describe(self, study: Study, storage: Storage, found: None) -> Rows:  # noqa: ARG002  nothing was found
        plan, config = lay_out(study, storage), study.samples
        size_px = read_manifest(storage, study.filled_folder, DataManifest).size_px
        num_bytes = config.num_samples * size_px**2 * PNG_BYTES_PER_PIXEL
        steps = f"{config.solver.num_steps} steps ({config.solver.spacing})"
        solver = f"{config.solver.name}, {steps}, guidance {config.solver.guidance_scale:g}"
        counts = {
            LABEL_BY_NAME[name].title: ", ".join(f"{value}: {count}" for value, count in values.items())
            for name, values in plan.label_counts().items()
        }
        return [
            ("samples", f"{config.num_samples} in {plan.num_shards} shards"),
            ("combinations", f"{len(plan.combinations)} of labels"),
            ("solver", solver),
            ("write", f"{study.samples_folder} below {storage.root}, about {num_bytes / 2**20:.0f} MiB"),
            *_note_rows(plan.notes),
            *counts.items(),
        ]

    def run(self, study: Study, storage: Storage, digest: str, found: None) -> None:  # noqa: ARG002  nothing was found
        from synfundus.samples.sampler import SamplingTask
        from synfundus.stages.sample_pool import sample_on_pool

        task = SamplingTask(
            storage=storage,
            folder=study.samples_folder,
            generator_folder=study.generator_folder,
            annotator_folder=study.annotator_folder,
            copy_detector_folder=study.copy_detector_folder,
            plan=lay_out(study, storage),
            origin=read_manifest(storage, study.generator_folder, GeneratorManifest).origin,
        )
        with show_progress("sample", study.samples.num_samples, "samples") as progress:
            sample_on_pool(task, digest, progress)

    def summary(self, study: Study, storage: Storage) -> SampleSummary:
        return SampleSummary(read_manifest(storage, study.samples_folder, SamplesManifest))

    def num_workers(self, study: Study) -> int:
        return study.samples.resources.pool_size


def require_new_images(study: Study) -> None:
    """Refuse an external annotator that cannot annotate new images.

    Raises:
        WrongInputError: the annotator is a table of predictions.
    """
    if study.external_annotator is not None:
        try:
            study.external_annotator.require_new_images()
        except WrongInputError as error:
            raise WrongInputError(f"external_annotator.{error}") from error


@dataclass(frozen=True)
class _Inputs:
    """Digests of everything that the plan depends on, from the manifests of the inputs."""

    generator: str
    annotator: str
    data: str
    num_without_patient: int
    """Training images of unknown patients."""

    @property
    def digests(self) -> dict[str, str]:
        return {"generator": self.generator, "annotator": self.annotator, "data": self.data}


def _copy_detector_digest(study: Study, storage: Storage) -> str:
    return read_manifest(storage, study.copy_detector_folder, CopyDetectorManifest).detector_digest


def _read_inputs(study: Study, storage: Storage) -> _Inputs:
    data = read_manifest(storage, study.filled_folder, DataManifest)
    annotator = read_manifest(storage, study.annotator_folder, AnnotatorManifest)
    generator = read_manifest(storage, study.generator_folder, GeneratorManifest)
    if not annotator.sees_images:
        raise WrongInputError(f"{study.annotator_folder}: {NO_NEW_IMAGES}")
    return _Inputs(
        generator=generator.generator_digest,
        annotator=annotator.annotator_digest,
        # Not the digest of the manifest, because that depends on the key of the patient hashes.
        data=digest_of([data.images_digest, data.parent.digest if data.parent else None, annotator.annotator_digest]),
        num_without_patient=data.images_counted_as_patient,
    )


def lay_out(study: Study, storage: Storage) -> Plan:
    """Return the study's plan. Reads manifests and label columns only, no image and no weights.

    Raises:
        WrongInputError: an input is not complete, or the annotator is a table of predictions.
    """
    from synfundus.fundus.dataset import read_labels

    inputs, external = _read_inputs(study, storage), study.external_annotator
    return make_plan(
        study.samples,
        read_labels(storage, study.filled_folder, "train"),
        generator_digest=inputs.generator,
        annotator_digest=inputs.annotator,
        data_digest=inputs.data,
        operating_points=study.operating_points,
        usual_rule="matched-prevalence" if external is None or external.recalibrate else "most-probable",
        num_without_patient=inputs.num_without_patient,
    )


def _note_rows(notes: Sequence[str]) -> Rows:
    return [(f"note {number}", note) for number, note in enumerate(notes, 1)]

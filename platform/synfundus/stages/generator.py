"""Stage `train-generator`: train the conditional diffusion model on experts' and filled labels."""

from dataclasses import dataclass

from synfundus.copies.manifest import CopyDetectorManifest
from synfundus.diffusion.metrics import GeneratorMetrics, read_generator_metrics
from synfundus.errors import WrongInputError
from synfundus.fundus.manifest import DataManifest
from synfundus.progress import show_progress
from synfundus.stages.record import Basis
from synfundus.stages.requirements import require_gpu
from synfundus.stages.stage import Rows, Stage
from synfundus.storage import Storage, manifest_digest, read_manifest
from synfundus.study import Study


@dataclass(frozen=True)
class GeneratorSummary:
    """Steps and losses of the training, and the place of its sample sheets."""

    num_steps: int
    metrics: GeneratorMetrics
    sheets: str | None
    """URI of the sample sheets; None if `runs/` was emptied since."""

    def rows(self) -> Rows:
        """Return the summary as lines for the user's screen."""
        first, last = self.metrics.losses[0], self.metrics.losses[-1]
        rows = [
            ("steps", str(self.num_steps)),
            ("loss", f"{first.loss:.4f} at step {first.step}, {last.loss:.4f} at the end"),
        ]
        if self.metrics.held_out_losses:
            held_out = self.metrics.held_out_losses
            best = min(held_out, key=lambda point: point.loss)
            where = f"{held_out[-1].num_images} validation images; lowest {best.loss:.4f} at step {best.step}"
            rows.append(("held-out loss", f"{held_out[-1].loss:.4f} at the end on {where}"))
        if self.metrics.memorisation:
            ratios = self.metrics.memorisation[-1].ratios
            text = f"{min(ratios):.3f} of {len(ratios)} samples at the end"
            rows.append(("smallest distance ratio to training", text))
        return [*rows, ("sheets", self.sheets)] if self.sheets is not None else rows


class TrainGeneratorStage(Stage[None]):
    """Train the generator."""

    name = "train-generator"
    help = "Train the conditional diffusion model on experts' and filled labels."

    def inputs(self, study: Study) -> tuple[str, ...]:
        return study.filled_folder, study.copy_detector_folder

    def output(self, study: Study) -> str:
        return study.generator_folder

    def basis(self, study: Study, storage: Storage) -> Basis:
        data = manifest_digest(read_manifest(storage, study.filled_folder, DataManifest))
        detector = read_manifest(storage, study.copy_detector_folder, CopyDetectorManifest).detector_digest
        inputs: Basis = {"data": data, "copy_detector": detector, **study.files_of("generator")}
        return {"generator": study.public["generator"], "inputs": inputs}

    def check(self, study: Study, storage: Storage) -> None:  # noqa: ARG002  settings and files of this machine only
        study.files_of("generator")
        study.generator.require_even_batch(study.generator.resources.num_workers, "generator.batch_size")
        prepared, expected = study.data.prepare.size_px, study.generator.unet.size_px
        if prepared != expected:
            raise WrongInputError(
                f"generator.unet.size_px: is {expected}, data.prepare.size_px is {prepared}; make them equal"
            )
        require_gpu("generator.resources", study.generator.resources)

    def describe(self, study: Study, storage: Storage, found: None) -> Rows:  # noqa: ARG002  nothing to look up
        config, resources = study.generator, study.generator.resources
        return [
            ("read", f"{study.filled_folder}, split train; {study.copy_detector_folder}"),
            ("train", f"{config.num_steps} steps of {config.batch_size} images"),
            ("workers", f"{resources.num_workers} x {resources.num_threads} threads, {resources.precision}"),
            ("write", f"{study.generator_folder} below {storage.root}"),
        ]

    def run(self, study: Study, storage: Storage, digest: str, found: None) -> None:  # noqa: ARG002  nothing found
        from synfundus.distributed.train import train
        from synfundus.stages.training_tasks import GeneratorTask

        task = GeneratorTask(
            study.generator,
            storage,
            self.run_name(study),
            study.filled_folder,
            study.generator_folder,
            digest,
            study.copy_detector_folder,
        )
        with show_progress(self.name, study.generator.num_steps, "steps") as progress:
            train(task, progress)

    def summary(self, study: Study, storage: Storage) -> GeneratorSummary:
        sheets = f"runs/{self.run_name(study)}/sheets"
        uri = storage.uri(sheets) if next(iter(storage.names(sheets)), None) is not None else None
        metrics = read_generator_metrics(storage, study.generator_folder)
        return GeneratorSummary(study.generator.num_steps, metrics, uri)

    def num_workers(self, study: Study) -> int:
        return study.generator.resources.num_workers

"""Stage `train-copy-detector`: train the encoder that finds altered copies of training photographs."""

from dataclasses import dataclass

from synfundus.copies.gate import read_gate
from synfundus.copies.manifest import CopyCalibration
from synfundus.errors import WrongInputError
from synfundus.fundus.manifest import DataManifest
from synfundus.fundus.sources import keeps_splits
from synfundus.measures.copies import CopyDetectorMetrics
from synfundus.measures.wording import format_measure, format_number
from synfundus.progress import show_progress
from synfundus.stages.record import Basis
from synfundus.stages.requirements import require_gpu
from synfundus.stages.stage import Rows, Stage
from synfundus.storage import Storage, manifest_digest, read_manifest
from synfundus.study import Study


@dataclass(frozen=True)
class CopyDetectorSummary:
    """Share of altered copies that are found, and of photographs of other people that are rejected."""

    calibration: CopyCalibration
    metrics: CopyDetectorMetrics

    def rows(self) -> Rows:
        """Return the summary as lines for the user's screen."""
        calibration, metrics = self.calibration, self.metrics
        threshold = (
            f"distance ratio {format_number(calibration.threshold)}; {100 * calibration.expected_rate:.2g} % of"
            " photographs of other people are expected below it; from"
            f" {calibration.num_held_out} validation photographs"
        )
        return [
            ("threshold", threshold),
            *((f"found, {kind}", format_measure(found)) for kind, found in metrics.found.items()),
            (
                "rejected test photographs",
                f"{format_measure(metrics.false_rejections)}; n = {metrics.false_rejections.n}",
            ),
        ]


class TrainCopyDetectorStage(Stage[None]):
    """Train, calibrate and measure the copy detector, and describe every photograph by it."""

    name = "train-copy-detector"
    help = "Train the encoder that finds copied photographs."

    def inputs(self, study: Study) -> tuple[str, ...]:
        return (study.data_folder,)

    def output(self, study: Study) -> str:
        return study.copy_detector_folder

    def basis(self, study: Study, storage: Storage) -> Basis:
        data = manifest_digest(read_manifest(storage, study.data_folder, DataManifest))
        return {"copy_detector": study.public["copy_detector"], "inputs": {"data": data}}

    def check(self, study: Study, storage: Storage) -> None:  # noqa: ARG002  settings and files of this machine only
        study.copy_detector.require_even_batch(study.copy_detector.resources.num_workers, "copy_detector.batch_size")
        require_gpu("copy_detector.resources", study.copy_detector.resources)
        has_splits = study.data.prepared is not None or any(map(keeps_splits, study.data.sources))
        if study.data.prepare.split_fractions.validation == 0 and not has_splits:
            raise WrongInputError(
                "data.prepare.split_fractions.validation: is 0, so there are no photographs of other people, and no"
                " image counts as too near; give validation a share"
            )

    def describe(self, study: Study, storage: Storage, found: None) -> Rows:  # noqa: ARG002  nothing to look up
        config, resources = study.copy_detector, study.copy_detector.resources
        return [
            ("read", f"{study.data_folder}, all splits"),
            (
                "train",
                f"an encoder at {config.image_size_px} px, {config.num_steps} steps of {config.batch_size} images",
            ),
            ("workers", f"{resources.num_workers} x {resources.num_threads} threads, {resources.precision}"),
            ("write", f"{study.copy_detector_folder} below {storage.root}"),
        ]

    def run(self, study: Study, storage: Storage, digest: str, found: None) -> None:  # noqa: ARG002  nothing found
        from synfundus.distributed.train import train
        from synfundus.stages.copy_detector_pool import describe_and_close
        from synfundus.stages.training_tasks import CopyDetectorTask

        folders = (study.data_folder, study.copy_detector_folder)
        task = CopyDetectorTask(study.copy_detector, storage, self.run_name(study), *folders, digest)
        with show_progress(self.name, study.copy_detector.num_steps, "steps") as progress:
            train(task, progress)
            describe_and_close(storage, study.copy_detector, *folders, digest, progress)

    def summary(self, study: Study, storage: Storage) -> CopyDetectorSummary:
        gate = read_gate(storage, study.copy_detector_folder)
        return CopyDetectorSummary(gate.calibration, gate.metrics)

    def num_workers(self, study: Study) -> int:
        return study.copy_detector.resources.num_workers

"""Stage `train-annotator`: train, calibrate and measure the annotator, or adopt an external one."""

from dataclasses import dataclass

from synfundus.diagnosis.config import ExternalConfig
from synfundus.diagnosis.metrics import AnnotatorMetrics
from synfundus.fundus.manifest import DataManifest
from synfundus.labels import HEAD_NAMES, HEADS, LABEL_NAMES
from synfundus.measures.wording import format_measure
from synfundus.progress import show_progress
from synfundus.stages.record import Basis
from synfundus.stages.requirements import require_gpu
from synfundus.stages.stage import Rows, Stage
from synfundus.storage import Storage, manifest_digest, read_manifest
from synfundus.study import Study

MAX_SHOWN_TENSORS = 4


@dataclass(frozen=True)
class AnnotatorSummary:
    """Usable labels with their AUC on the test split, and unusable ones."""

    metrics: AnnotatorMetrics

    def rows(self) -> Rows:
        """Return the summary as lines for the user's screen."""
        metrics, test = self.metrics, self.metrics.splits["test"]
        measures = {name: test.heads[name].auc for name in HEAD_NAMES if name in LABEL_NAMES}
        words = {name: format_measure(auc) for name, auc in measures.items()}
        words = {"dr_grade": f"kappa {format_measure(test.quadratic_kappa)}", **words}
        usable = [f"{name} {text}" for name, text in words.items() if name not in metrics.unusable]
        return [
            *self._initial_weights(),
            ("AUC on test", ", ".join(usable) or "not measurable"),
            ("operating points", self._operating_points()),
            *((f"{name} stays unknown", reason) for name, reason in metrics.unmet.items()),
            ("unusable", ", ".join(metrics.unusable) or "none"),
        ]

    def _operating_points(self) -> str:
        """Return the rules in use, each with its labels."""
        labels: dict[str, list[str]] = {}
        for name in LABEL_NAMES:
            head = HEAD_NAMES[HEADS[name].start]
            if head in self.metrics.operating_points:
                labels.setdefault(self.metrics.operating_points[head].words, []).append(name)
        return "; ".join(f"{words}: {', '.join(names)}" for words, names in labels.items()) or "none"

    def _initial_weights(self) -> Rows:
        fresh = self.metrics.fresh_tensors
        if fresh is None:
            return []
        names = ", ".join(fresh[:MAX_SHOWN_TENSORS]) + (", …" if len(fresh) > MAX_SHOWN_TENSORS else "")
        return [("init_from", f"all tensors used except {len(fresh)}: {names}" if fresh else "all tensors used")]


class TrainAnnotatorStage(Stage[None]):
    """Train the annotator on experts' labels, or calibrate and measure an external one in its place."""

    name = "train-annotator"
    help = "Train, calibrate and measure the annotator, or adopt an external one."

    def inputs(self, study: Study) -> tuple[str, ...]:
        return (study.data_folder,)

    def output(self, study: Study) -> str:
        return study.annotator_folder

    def basis(self, study: Study, storage: Storage) -> Basis:
        section = _section(study)
        data = manifest_digest(read_manifest(storage, study.data_folder, DataManifest))
        return {section: study.public[section], "inputs": {"data": data, **study.files_of(section)}}

    def check(self, study: Study, storage: Storage) -> None:  # noqa: ARG002  settings and files of this machine only
        study.files_of(_section(study))
        if study.external_annotator is None:
            study.annotator.require_even_batch(study.annotator.resources.num_workers, "annotator.batch_size")
            require_gpu("annotator.resources", study.annotator.resources)

    def describe(self, study: Study, storage: Storage, found: None) -> Rows:  # noqa: ARG002  nothing to look up
        external, config = study.external_annotator, study.annotator
        write = ("write", f"{study.annotator_folder} below {storage.root}")
        if external is not None:
            return [("adopt", external.predictions or str(external.weights)), write]
        resources, size = config.resources, config.image_size_px
        return [
            ("read", f"{study.data_folder}, split train"),
            ("train", f"{config.architecture} at {size} px, {config.num_steps} steps of {config.batch_size} images"),
            ("workers", f"{resources.num_workers} x {resources.num_threads} threads, {resources.precision}"),
            write,
        ]

    def run(self, study: Study, storage: Storage, digest: str, found: None) -> None:  # noqa: ARG002  nothing found
        if study.external_annotator is not None:
            _adopt(study, study.external_annotator, storage, digest)
            return
        from synfundus.distributed.train import train
        from synfundus.stages.training_tasks import AnnotatorTask

        task = AnnotatorTask(
            study.annotator, storage, self.run_name(study), study.data_folder, study.annotator_folder, digest
        )
        with show_progress(self.name, study.annotator.num_steps, "steps") as progress:
            train(task, progress)

    def summary(self, study: Study, storage: Storage) -> AnnotatorSummary:
        from synfundus.diagnosis.decisions import read_annotator_metrics

        return AnnotatorSummary(read_annotator_metrics(storage, study.annotator_folder, study.operating_points))

    def num_workers(self, study: Study) -> int:
        return study.annotator.resources.num_workers if study.external_annotator is None else 0


def _section(study: Study) -> str:
    """Return the section of the study that describes its annotator."""
    return "annotator" if study.external_annotator is None else "external_annotator"


def _adopt(study: Study, config: ExternalConfig, storage: Storage, digest: str) -> None:
    from synfundus.diagnosis.external import adopt_external
    from synfundus.fundus.dataset import PreparedImages

    adopt_external(storage, study.annotator_folder, config, PreparedImages(storage, study.data_folder), digest)

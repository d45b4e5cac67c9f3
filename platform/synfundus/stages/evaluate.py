"""Stage `evaluate`: measure the samples against real photographs and write the report, private and public."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import JsonValue

from synfundus.copies.manifest import CopyDetectorManifest
from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.diffusion.manifest import GeneratorManifest
from synfundus.diffusion.metrics import read_generator_metrics
from synfundus.digests import digest_of
from synfundus.errors import WrongInputError
from synfundus.evaluation.inception_weights import read_inception_weights
from synfundus.evaluation.judge_config import judge_config
from synfundus.evaluation.manifest import PRIVATE, read_metrics
from synfundus.evaluation.spaces import feature_spaces
from synfundus.fundus.manifest import DataManifest
from synfundus.fundus.splits import NO_JUDGE
from synfundus.labels import NUM_LABELS
from synfundus.measures.judge_metrics import Sensitivity
from synfundus.measures.metrics import EvaluationMetrics, Fidelity, MeasuredPrivacy
from synfundus.measures.transfer_metrics import ComputedTransfer
from synfundus.measures.transfer_text import contrast_title
from synfundus.measures.wording import describe_judge, format_measure
from synfundus.resources import PoolResources
from synfundus.samples.manifest import SamplesManifest
from synfundus.stages.annotator import TrainAnnotatorStage
from synfundus.stages.generator import TrainGeneratorStage
from synfundus.stages.record import Basis, KeyNames, git_revision, versions
from synfundus.stages.requirements import require_gpu
from synfundus.stages.stage import Rows, Stage
from synfundus.storage import Manifest, Storage, is_complete, manifest_digest, read_manifest
from synfundus.study import Study
from synfundus.training.metadata import LOSSES_FILE, LossCurve
from synfundus.transfer.manifest import TransferManifest

if TYPE_CHECKING:  # imports torch, which takes seconds
    from synfundus.evaluation.judge import JudgeTask
    from synfundus.evaluation.run import EvaluationTask


@dataclass(frozen=True)
class EvaluateSummary:
    """Main results of a report."""

    metrics: EvaluationMetrics
    report: str
    """URI of the private edition."""

    def rows(self) -> Rows:
        consistency, privacy = self.metrics.consistency, self.metrics.privacy
        side, followed = consistency.labels["eye_side"], consistency.followed
        rows = [
            ("judge", describe_judge(self.metrics.judge)),
            (
                "side agreement",
                f"{format_measure(side.agreement)}; shuffled requests: {format_measure(side.agreement_permuted)}",
            ),
            ("labels that follow", f"{len(followed)} of {NUM_LABELS}: {', '.join(followed) or 'none'}"),
        ]
        if consistency.not_measurable:
            rows.append(("not measurable", ", ".join(consistency.not_measurable)))
        rows += _sensitivity_rows(self.metrics.sensitivity)
        rows += _distance_rows(self.metrics.fidelity)
        if (top := self.metrics.spectrum.top) is not None:
            ratio = format_measure(top.ratio)
            rows.append(("fine detail", f"{ratio} of the power of held-out photographs in the top octave, {top.title}"))
        if isinstance(privacy, MeasuredPrivacy):
            rows.append(("too near to training", f"{privacy.num_near} of {privacy.num_sampled} samples rejected"))
        rows.append(("privacy gate", "; ".join(self.metrics.verdict.reasons) or "passed"))
        if isinstance(self.metrics.transfer, ComputedTransfer):
            rows += _transfer_rows(self.metrics.transfer)
        return [*rows, ("report", f"{self.report} (private)")]


def _sensitivity_rows(sensitivity: Sensitivity) -> Rows:
    """Return how much less sensitive the judge is to subtle and to widespread changes on samples."""
    return [
        (group.title.lower(), f"sensitivity on samples minus held-out photographs {format_measure(group.difference)}")
        for group in sensitivity.groups.values()
        if group.difference.measurable
    ]


def _distance_rows(fidelity: Fidelity) -> Rows:
    """Return the KID of all images in each computed space, and the Fréchet distance where there is one."""
    rows = []
    for space in fidelity.computed_spaces:
        overall, limit = space.strata["overall"], space.extrapolation
        samples, held_out = (format_measure(m.kid) for m in (overall.synthetic, overall.held_out))
        text = f"{samples}; held-out photographs {held_out}; n = {overall.n}"
        rows.append((f"KID, {space.title.lower()}", text))
        if limit.points:
            text = f"{format_measure(limit.synthetic)}; held-out photographs {format_measure(limit.held_out)}"
            rows.append((f"Fréchet distance, {space.title.lower()}", f"{text}; extrapolated to unlimited n"))
    return rows


def _transfer_rows(transfer: ComputedTransfer) -> Rows:
    """Return the verdicts on each planned question, of its primary endpoint."""
    return [
        (
            contrast_title(transfer, key),
            f"mean AUC: {family.num_better} better, {family.num_worse} worse of {family.num_measured} after correction",
        )
        for key, family in transfer.families_of("primary").items()
    ]


class EvaluateStage(Stage[None]):
    """Evaluation of the study's samples."""

    name = "evaluate"
    help = "Measure the samples against real photographs and write the report, private and public."
    names_of_basis: ClassVar[KeyNames] = {"title": "release.title", "files": "evaluation", "judge": "annotator"}

    def inputs(self, study: Study) -> tuple[str, ...]:
        folders = (
            study.data_folder,
            study.filled_folder,
            study.annotator_folder,
            study.copy_detector_folder,
            study.generator_folder,
            study.samples_folder,
            *_reference_folders(study),
        )
        return folders if study.transfer is None else (*folders, study.transfer_folder)

    def output(self, study: Study) -> str:
        return study.report_folder

    def basis(self, study: Study, storage: Storage) -> Basis:
        manifests: dict[str, Manifest] = {
            study.filled_folder: read_manifest(storage, study.filled_folder, DataManifest),
            study.annotator_folder: read_manifest(storage, study.annotator_folder, AnnotatorManifest),
            study.copy_detector_folder: read_manifest(storage, study.copy_detector_folder, CopyDetectorManifest),
            study.generator_folder: read_manifest(storage, study.generator_folder, GeneratorManifest),
            study.samples_folder: read_manifest(storage, study.samples_folder, SamplesManifest),
            **{folder: read_manifest(storage, folder, GeneratorManifest) for folder in _reference_folders(study)},
        }
        if study.transfer is not None:
            manifests[study.transfer_folder] = read_manifest(storage, study.transfer_folder, TransferManifest)
        return {
            "inputs": {folder: manifest_digest(manifest) for folder, manifest in manifests.items()},
            "evaluation": _settings_that_matter(study),
            "files": {**study.files_of("evaluation")},
            "judge": _judge_basis(study, storage),
            "title": study.release.title,
        }

    def check(self, study: Study, storage: Storage) -> None:
        require_gpu("evaluation.resources", study.evaluation.resources)
        study.files_of("evaluation")
        require_independent_references(study, storage)
        if study.evaluation.inception_weights is not None:
            read_inception_weights(study.evaluation.inception_weights)
        if study.evaluation.encoders:
            from synfundus.evaluation.encoders import build_encoder

            for encoder in study.evaluation.encoders.values():
                build_encoder(encoder)

    def describe(self, study: Study, storage: Storage, found: None) -> Rows:  # noqa: ARG002  nothing was found
        read_manifest(storage, study.samples_folder, SamplesManifest)
        annotator = read_manifest(storage, study.annotator_folder, AnnotatorManifest)
        data = read_manifest(storage, study.data_folder, DataManifest)
        spaces = feature_spaces(
            study.evaluation, has_judge=data.num_images.judge > 0, annotator_sees_images=annotator.sees_images
        )
        return [
            ("read", f"{study.samples_folder}, {study.filled_folder}"),
            ("judge", _describe_judge(study, storage, data)),
            ("compare", f"features of at most {study.evaluation.max_images} images of each set"),
            *((f"{name} features", space.skipped or "computed") for name, space in spaces.items()),
            ("write", f"{study.report_folder} below {storage.root}"),
        ]

    def run(self, study: Study, storage: Storage, digest: str, found: None) -> None:  # noqa: ARG002  nothing was found
        import ray

        from synfundus.distributed.map import run_on_pool
        from synfundus.evaluation.run import run_evaluation

        require_independent_references(study, storage)  # `check` may have come before the generator was trained
        config = study.evaluation
        weights = config.inception_weights
        shared = None if weights is None else ray.put(read_inception_weights(weights))
        resources = PoolResources(pool_size=1, **config.resources.model_dump())
        task = make_task(study, storage, digest)
        for _ in run_on_pool(run_evaluation, (shared,), [task], resources):
            pass

    def summary(self, study: Study, storage: Storage) -> EvaluateSummary:
        report = storage.uri(f"{study.report_folder}/{PRIVATE}")
        return EvaluateSummary(read_metrics(storage, study.report_folder), report)


def make_task(study: Study, storage: Storage, digest: str) -> "EvaluationTask":
    """Return the study's evaluation, with the texts of its report."""
    from synfundus.evaluation.figures.training import LossCurves
    from synfundus.evaluation.run import EvaluationTask

    held_out = read_generator_metrics(storage, study.generator_folder).held_out_losses
    generator = read_manifest(storage, study.generator_folder, GeneratorManifest)
    return EvaluationTask(
        storage=storage,
        data_folder=study.filled_folder,
        annotator_folder=study.annotator_folder,
        judge=_judge_task(study, storage),
        copy_detector_folder=study.copy_detector_folder,
        generator_folder=study.generator_folder,
        initial_weights=study.generator.init_from is not None,
        reference_folders=_reference_folders(study),
        samples_folder=study.samples_folder,
        transfer_folder=None if study.transfer is None else study.transfer_folder,
        report_folder=study.report_folder,
        config=study.evaluation,
        digest=digest,
        title=study.release.title,
        study=study.shown,
        curves=(
            LossCurves("Annotator", _loss_curve(storage, TrainAnnotatorStage().run_name(study))),
            LossCurves(
                "Generator",
                _loss_curve(storage, TrainGeneratorStage().run_name(study)),
                [(point.step, point.loss) for point in held_out],
            ),
        ),
        provenance={
            "study": digest_of(study.public),
            "generator": generator.generator_digest,
            "git": git_revision(),
            **versions(),
        },
        real_photographs=study.has_real_photographs,
    )


def _judge_basis(study: Study, storage: Storage) -> JsonValue:
    """Return everything that the judge depends on; null if the dataset has no split for one."""
    data = read_manifest(storage, study.data_folder, DataManifest)
    if not data.num_images.judge:
        return None
    return {
        "annotator": study.public["annotator"],
        "data": manifest_digest(data),
        "files": {**study.files_of("annotator")},
    }


def _judge_task(study: Study, storage: Storage) -> "JudgeTask | None":
    from synfundus.evaluation.judge import JudgeTask

    basis = _judge_basis(study, storage)
    if basis is None:
        return None
    return JudgeTask(study.data_folder, study.judge_folder, judge_config(study.annotator), digest_of(basis))


def _describe_judge(study: Study, storage: Storage, data: DataManifest) -> str:
    if not data.num_images.judge:
        return f"{NO_JUDGE}; the annotator judges"
    if is_complete(storage, study.judge_folder):
        return f"{study.judge_folder} is complete"
    config, patients = judge_config(study.annotator), data.num_patients.judge
    return (
        f"train {config.architecture}, {config.num_steps} steps of {config.batch_size} images, on"
        f" {data.num_images.judge} images of {patients} patients, into {study.judge_folder}"
    )


def _reference_folders(study: Study) -> tuple[str, ...]:
    """Return the folders of the generators that calibrate the attack on the generator's weights."""
    return tuple(f"generators/{name}" for name in study.evaluation.reference_generators)


def require_independent_references(study: Study, storage: Storage) -> None:
    """Refuse reference generators with which the attack on the generator's weights would have no power.

    Inputs of the stage that are not complete yet are not compared.

    Raises:
        WrongInputError: a reference is not complete, is the study's generator, or was trained on the study's images.
    """
    for folder in _reference_folders(study):
        place = f"evaluation.reference_generators: {folder}"
        if folder == study.generator_folder:
            raise WrongInputError(f"{place} is the generator of this study; name another one")
        if not is_complete(storage, folder):
            raise WrongInputError(
                f"{place} is not complete below {storage.root}; train that generator first, or name another one"
            )
        reference = read_manifest(storage, folder, GeneratorManifest)
        if reference.images_digest is None:
            raise WrongInputError(f"{place} does not record its training images; train it again, or name another one")
        if is_complete(storage, study.generator_folder):
            generator = read_manifest(storage, study.generator_folder, GeneratorManifest)
            if reference.generator_digest == generator.generator_digest:
                raise WrongInputError(f"{place} holds the generator of this study; name another one")
        if is_complete(storage, study.filled_folder):
            data = read_manifest(storage, study.filled_folder, DataManifest)
            if reference.images_digest == data.images_digest:
                raise WrongInputError(
                    f"{place} was trained on the photographs of {study.filled_folder}, so the attack on the weights"
                    " would have no power; name a generator that was trained on other photographs"
                )


def _settings_that_matter(study: Study) -> JsonValue:
    """Return the settings of the evaluation without its resources, and without the folders of its files."""
    return study.public["evaluation"]


def _loss_curve(storage: Storage, run: str) -> list[tuple[int, float]]:
    """Return the (step, loss) points of a training; none if its run is not below the root."""
    name = f"runs/{run}/{LOSSES_FILE}"
    if not storage.exists(name):
        return []
    return [(point.step, point.loss) for point in LossCurve.from_json(storage.read(name), name).steps]

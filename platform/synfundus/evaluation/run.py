"""Run the protocol on the folders of a study and write `reports/<name>/`.

metrics.json     `EvaluationMetrics`, see docs/evaluation.md
index.html       the private edition: may show real photographs
public.html      the edition that `publish` puts into a release
privacy.html     the verdict of the privacy gate on one page, which `publish` puts into a release, too
figures/*.svg    the figures by themselves
manifest.json    written last
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import JsonValue

from synfundus.copies.descriptors import read_descriptors
from synfundus.copies.detector import CopyDetector, load_copy_detector
from synfundus.copies.gate import read_gate
from synfundus.copies.manifest import CopyDetectorManifest
from synfundus.diagnosis.annotator import Annotator
from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.diagnosis.decisions import read_annotator_metrics, read_held_out
from synfundus.diffusion.manifest import GeneratorManifest
from synfundus.diffusion.metrics import read_generator_metrics
from synfundus.errors import WrongInputError
from synfundus.evaluation.config import EvaluationConfig
from synfundus.evaluation.diversity_section import diversity_extractors
from synfundus.evaluation.encoders import build_encoder
from synfundus.evaluation.examples import Examples, Pixels
from synfundus.evaluation.figures.training import LossCurves
from synfundus.evaluation.finding_detector import FindingDetector, no_detector, train_finding_detector
from synfundus.evaluation.grading import Grader, Graders
from synfundus.evaluation.image_sets import ComparedSets, Samples, read_accepted_samples, read_photographs
from synfundus.evaluation.inception import build_inception
from synfundus.evaluation.instruments import Instruments
from synfundus.evaluation.judge import JudgeTask, require_judge
from synfundus.evaluation.manifest import PRIVACY_PAGE, PRIVATE, PUBLIC, ReportManifest
from synfundus.evaluation.privacy_audit import GeneratorEvidence
from synfundus.evaluation.privacy_page import render_privacy_page
from synfundus.evaluation.protocol import closest_rows, evaluate
from synfundus.evaluation.report import ReportContent, render_report
from synfundus.evaluation.spaces import Extractor, Extractors, feature_spaces
from synfundus.evaluation.weights_attack import Choice, attack_weights
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.manifest import DataManifest
from synfundus.fundus.shard import decode_pixels
from synfundus.fundus.splits import HELD_OUT_SPLITS, NO_JUDGE
from synfundus.labels import LABEL_NAMES, FloatArray
from synfundus.measures.judge_metrics import IndependentJudge, TeacherAsJudge
from synfundus.measures.metrics import EvaluationMetrics
from synfundus.measures.nearest import Nearest
from synfundus.measures.transfer_metrics import SkippedTransfer, Transfer
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_labels, phantom_record
from synfundus.samples.manifest import SamplesManifest
from synfundus.samples.plan import Plan, read_plan
from synfundus.samples.shards import read_shard
from synfundus.storage import METRICS, Storage, manifest_digest, read_manifest, write_manifest
from synfundus.transfer.measuring import measure_transfer

NO_GRID = "the study has no section transfer"
PHANTOM_SEED = 20231130
"""Seed reserved for the landmark, so that its phantoms never coincide with a study's."""
PHANTOM_BATCH = 64


@dataclass(frozen=True)
class EvaluationTask:
    """Folders and settings of one evaluation, and the texts of its report."""

    storage: Storage
    data_folder: str
    """The filled dataset."""
    annotator_folder: str
    copy_detector_folder: str
    judge: JudgeTask | None
    """Training of the judge; None if the dataset has no split for one."""
    generator_folder: str
    initial_weights: bool
    """True if the training of the generator started from other weights (`generator.init_from`)."""
    reference_folders: tuple[str, ...]
    """Folders of the generators that calibrate the attack on the generator's weights."""
    samples_folder: str
    transfer_folder: str | None
    """Results of the stage `transfer`; None if the study has none."""
    report_folder: str
    config: EvaluationConfig
    digest: str
    """Digest of everything that the report depends on."""
    title: str
    study: Mapping[str, JsonValue]
    """Settings of the study, resolved, for the report."""
    curves: Sequence[LossCurves]
    """Losses of each training."""
    provenance: Mapping[str, JsonValue]
    """Versions and digests, for the report."""
    real_photographs: bool
    """False if the study's photographs are phantoms, so phantoms cannot be a landmark."""


def run_evaluation(task: EvaluationTask, inception_weights: bytes | None = None) -> None:
    """Evaluate the samples and write the report.

    Args:
        inception_weights: content of the verified file of weights; None if the study names none.

    Raises:
        WrongInputError: an earlier stage has not finished, no sample was accepted, or the weights are wrong.
    """
    torch.set_num_threads(task.config.resources.num_threads)
    manifest = _report_manifest(task)
    images = PreparedImages(task.storage, task.data_folder)
    plan = read_plan(task.storage, task.samples_folder, _samples_manifest(task))
    models = _load_models(task, plan, images.size_px, inception_weights)
    real, synthetic = Examples(), Examples()
    sets = _read_sets(task, images, models, real, synthetic)
    metrics, near = evaluate(
        sets,
        _instruments(task, images, plan, models, sets),
        transfer=_transfer(task),
        generator=_generator_evidence(task, images),
    )
    pairs = _closest_pairs(task, images, sets.samples, near) if near is not None else ()
    _write(task, manifest, _content(task, metrics, plan, models.annotator, real, synthetic, pairs))


def _report_manifest(task: EvaluationTask) -> ReportManifest:
    """Return the manifest of the report, without its files."""
    generator = read_manifest(task.storage, task.generator_folder, GeneratorManifest)
    detector = read_manifest(task.storage, task.copy_detector_folder, CopyDetectorManifest)
    return ReportManifest(
        digest=task.digest,
        samples_manifest_sha256=manifest_digest(_samples_manifest(task)),
        generator_digest=generator.generator_digest,
        copy_detector_digest=detector.detector_digest,
    )


def _samples_manifest(task: EvaluationTask) -> SamplesManifest:
    return read_manifest(task.storage, task.samples_folder, SamplesManifest)


@dataclass(frozen=True)
class _Models:
    """The models that measure images."""

    annotator: Annotator
    judge: Annotator | None
    extractors: Extractors
    """Extractors of the feature spaces."""
    detector: FindingDetector | str
    """Detector of findings in a study of phantoms, or the reason why there is none."""
    copy_detector: CopyDetector


def _load_models(task: EvaluationTask, plan: Plan, size_px: int, inception_weights: bytes | None) -> _Models:
    """Return the models; judge and detector are trained here if they are not complete."""
    storage, device = task.storage, task.config.resources.device
    annotator = load_annotator(storage, task.annotator_folder, device)
    judge = None if task.judge is None else _load_judge(storage, task.judge, plan, device)
    return _Models(
        annotator=annotator,
        judge=judge,
        extractors=_extractors(judge, annotator, task.config, inception_weights),
        detector=_finding_detector(task, size_px),
        copy_detector=load_copy_detector(storage, task.copy_detector_folder, device),
    )


def _read_sets(
    task: EvaluationTask, images: PreparedImages, models: _Models, real: Examples, synthetic: Examples
) -> ComparedSets:
    """Read the sets of images that are compared; `real` and `synthetic` collect examples for the report."""
    storage, choice = task.storage, (task.config.max_images, task.config.seed)
    descriptors = read_descriptors(storage, task.copy_detector_folder)
    spaces = models.extractors
    # The anatomy and the findings of training photographs are not compared.
    compared = {**spaces, **diversity_extractors(models.detector)}
    reference = read_photographs(images, ("train",), descriptors, spaces, *choice, real)
    held_out = read_photographs(images, HELD_OUT_SPLITS, descriptors, compared, *choice)
    samples = read_accepted_samples(
        storage, task.samples_folder, models.copy_detector, compared, *choice, synthetic, models.judge
    )
    if not len(samples.sample_ids):
        raise WrongInputError(
            f"{task.samples_folder}: no sample was accepted, so there is nothing to evaluate;"
            " the summary of the stage `sample` gives the reasons"
        )
    return ComparedSets(reference, held_out, samples, images.size_px)


def _instruments(
    task: EvaluationTask, images: PreparedImages, plan: Plan, models: _Models, sets: ComparedSets
) -> Instruments:
    """Return everything that the protocol measures with; phantoms are a landmark for real photographs only."""
    annotator, judge = models.annotator, models.judge
    num_phantoms = len(sets.held_out.chosen)
    return Instruments(
        config=task.config,
        spaces=feature_spaces(
            task.config, has_judge=judge is not None, annotator_sees_images=annotator.scorer.sees_images
        ),
        graders=_graders(task, images, plan, annotator, judge, len(sets.samples.chosen)),
        gate=read_gate(task.storage, task.copy_detector_folder),
        detector=models.detector,
        phantoms=_phantom_features(models.extractors, num_phantoms, sets.size_px) if task.real_photographs else None,
        min_patients=plan.config.min_patients,
    )


def _transfer(task: EvaluationTask) -> Transfer:
    """Compare the models of the study's grid."""
    if task.transfer_folder is None:
        return SkippedTransfer(reason=NO_GRID)
    return measure_transfer(task.storage, task.transfer_folder)


def _load_judge(storage: Storage, task: JudgeTask, plan: Plan, device: str) -> Annotator:
    """Return the judge, trained if it is not complete, with the operating points of the samples."""
    require_judge(storage, task, device)
    return load_annotator(storage, task.folder, device, plan.operating_points)


def _graders(
    task: EvaluationTask, images: PreparedImages, plan: Plan, annotator: Annotator, judge: Annotator | None, n: int
) -> Graders:
    """Return annotator and judge with their predictions of held-out photographs; `n` samples are judged."""
    storage = task.storage
    by_annotator = Grader(annotator.calibration.unusable, read_held_out(storage, task.annotator_folder))
    if judge is None or task.judge is None:
        return Graders(by_annotator, None, TeacherAsJudge(reason=NO_JUDGE))
    metrics = read_annotator_metrics(storage, task.judge.folder, plan.operating_points)
    test = metrics.splits["test"]
    scores = {name: test.heads[name].auc for name in LABEL_NAMES[1:]}
    facts = IndependentJudge(
        digest=judge.digest,
        architecture=task.judge.config.architecture,
        num_images=images.manifest.num_images.judge,
        num_patients=images.manifest.num_patients.judge,
        num_samples=n,
        unusable=judge.calibration.unusable,
        test_scores={"dr_grade": test.quadratic_kappa, **scores},
    )
    by_judge = Grader(judge.calibration.unusable, read_held_out(storage, task.judge.folder))
    return Graders(by_annotator, by_judge, facts)


def _generator_evidence(task: EvaluationTask, images: PreparedImages) -> GeneratorEvidence:
    """Return the memorisation that the training recorded, and attack the weights."""
    choice, device = Choice(task.config.attack_max_images, task.config.seed), task.config.resources.device
    return GeneratorEvidence(
        memorisation=read_generator_metrics(task.storage, task.generator_folder).memorisation,
        attack=attack_weights(task.storage, task.generator_folder, task.reference_folders, images, choice, device),
        initial_weights=task.initial_weights,
    )


def _extractors(
    judge: Annotator | None,
    annotator: Annotator,
    config: EvaluationConfig,
    inception_weights: bytes | None,
) -> Extractors:
    """Return the extractor of each space that is computed."""
    device = config.resources.device
    extractors: dict[str, Extractor] = {}
    if judge is not None:
        extractors["judge"] = judge.features
    if annotator.scorer.sees_images:
        extractors["annotator"] = annotator.features
    for name, encoder in config.encoders.items():
        extractors[name] = build_encoder(encoder, device).features
    if inception_weights is not None:
        extractors["inception"] = build_inception(inception_weights, device).features
    return extractors


def _content(
    task: EvaluationTask,
    metrics: EvaluationMetrics,
    plan: Plan,
    annotator: Annotator,
    real: Examples,
    synthetic: Examples,
    pairs: Sequence[tuple[Pixels, Pixels, float]],
) -> ReportContent:
    return ReportContent(
        title=task.title,
        study=task.study,
        metrics=metrics,
        annotator_metrics=read_annotator_metrics(task.storage, task.annotator_folder, plan.operating_points),
        real_photographs=task.real_photographs,
        origin=read_manifest(task.storage, task.data_folder, DataManifest).origin,
        curves=task.curves,
        synthetic=synthetic.by_finding(),
        real=real.by_finding(),
        closest_pairs=pairs,
        provenance={**task.provenance, "annotator": annotator.digest},
    )


def _finding_detector(task: EvaluationTask, size_px: int) -> FindingDetector | str:
    """Return a trained detector of findings, or the reason why there is none."""
    num_accepted = _samples_manifest(task).summary.num_accepted
    reason = no_detector(min(num_accepted, task.config.max_images), real_photographs=task.real_photographs)
    return reason or train_finding_detector(size_px, task.config.resources.device)


def _write(task: EvaluationTask, manifest: ReportManifest, content: ReportContent) -> None:
    files = {
        METRICS: content.metrics.to_json(),
        PRIVATE: render_report(content, "private").encode(),
        PUBLIC: render_report(content, "public").encode(),
        PRIVACY_PAGE: render_privacy_page(
            content.title, content.metrics, content.origin, real_photographs=content.real_photographs
        ).encode(),
        **{f"figures/{name}.svg": svg for name, svg in content.figures.files().items()},
    }
    written = [task.storage.write_once(f"{task.report_folder}/{name}", data) for name, data in files.items()]
    write_manifest(task.storage, task.report_folder, written, manifest)


def _phantom_features(extractors: Extractors, num_images: int, size_px: int) -> dict[str, FloatArray]:
    """Return the features of `num_images` phantoms that show a fundus."""
    config = PhantomConfig(num_images=2 * num_images + 100, size_px=max(32, size_px), seed=PHANTOM_SEED)
    fundus = [i for i in range(config.num_images) if phantom_labels(config, i)[0]["is_fundus"] == 1][:num_images]
    batches: dict[str, list[FloatArray]] = {space: [] for space in extractors}
    for start in range(0, len(fundus), PHANTOM_BATCH):
        images_BHWC = np.stack([phantom_record(config, i).image_HWC for i in fundus[start : start + PHANTOM_BATCH]])
        for space, extract in extractors.items():
            batches[space].append(extract(images_BHWC))
    return {space: np.concatenate(features) for space, features in batches.items()}


def _closest_pairs(
    task: EvaluationTask, images: PreparedImages, samples: Samples, near: Nearest
) -> list[tuple[Pixels, Pixels, float]]:
    """Return (sample, nearest training photograph turned the same way, distance ratio), smallest first."""
    rows = closest_rows(near)
    indices, place = np.unique(near.index[rows], return_inverse=True)
    found = [pixels for batch in images.batches_of("train", indices) for pixels in batch.images_BHWC]
    photographs = [found[i] for i in place]
    pixels = _sample_pixels(task, samples, rows)
    return [
        (pixels[row], photograph[:, ::-1] if near.mirrored[row] else photograph, float(near.ratio[row]))
        for row, photograph in zip(rows, photographs, strict=True)
    ]


def _sample_pixels(task: EvaluationTask, samples: Samples, rows: Sequence[int]) -> dict[int, Pixels]:
    """Return the pixels of these chosen samples, read from their files, by row."""
    pixels: dict[int, Pixels] = {}
    for file in sorted({samples.files[row] for row in rows}):
        table = read_shard(task.storage, task.samples_folder, file)
        place = {sample_id: n for n, sample_id in enumerate(table.column("sample_id").to_pylist())}
        for row in rows:
            if samples.files[row] == file:
                sample_id = int(samples.sample_ids[samples.chosen[row]])
                pixels[row] = decode_pixels(table.column("image")[place[sample_id]]["bytes"].as_py())
    return pixels

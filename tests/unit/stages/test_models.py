"""Stages `train-annotator`, `fill` and `train-generator`: refused settings, digests and summaries."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from support.data_manifest import data_manifest
from support.datasets_of_phantoms import phantom_dataset
from support.metrics_example import example_metrics
from support.models_of_phantoms import GENERATOR
from support.operating_points import no_predictions
from support.report_example import report_manifest
from support.samples_example import FOLDER, phantom_samples
from synfundus.copies.manifest import CopyDetectorManifest
from synfundus.diagnosis.assessment import assess
from synfundus.diagnosis.checkpoint import save_predictions
from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.diagnosis.metrics import AnnotatorMetrics, HeadMetrics, SplitMetrics
from synfundus.diagnosis.operating_points import OperatingPoint
from synfundus.diffusion.config import ScheduleConfig
from synfundus.diffusion.manifest import GeneratorManifest
from synfundus.diffusion.metrics import GeneratorMetrics
from synfundus.digests import digest_of
from synfundus.errors import StorageError, WrongInputError
from synfundus.evaluation.manifest import PRIVACY_PAGE, PUBLIC
from synfundus.fundus.manifest import DataManifest, LabelSources
from synfundus.labels import HEAD_NAMES, LABEL_NAMES
from synfundus.measures.measure import Measure
from synfundus.samples.manifest import SamplesManifest
from synfundus.stages.annotator import AnnotatorSummary, TrainAnnotatorStage
from synfundus.stages.evaluate import EvaluateStage
from synfundus.stages.fill import FillStage
from synfundus.stages.generator import TrainGeneratorStage
from synfundus.stages.publish import PublishStage, read_evidence
from synfundus.stages.record import require_same_digest, start_record
from synfundus.stages.training_tasks import GeneratorTask
from synfundus.storage import METRICS, LocalStorage, Storage, open_storage, read_manifest, write_manifest
from synfundus.study import Study, resolve
from synfundus.training.metadata import HeldOutLoss, StepMetrics
from synfundus.transfer.manifest import TransferManifest

REPORT = "reports/demo"
SOURCES = {name: LabelSources(filled={"eye_side": 7, "is_gc": 3}.get(name, 0)) for name in LABEL_NAMES}
CHANCE = "AUC 0.50 on validation, interval 0.40 to 0.60: chance"


def study(storage: Storage, *overrides: str) -> Study:
    return resolve(f"recipe: phantom-cpu\nname: p\nroot: {storage.root}\n", "p.yaml", Path("/studies"), overrides)


def _head(auc: Measure) -> HeadMetrics:
    none = Measure.not_measurable("test", 0)
    return HeadMetrics(
        num_images=9,
        num_patients=9,
        num_positive=4,
        auc=auc,
        average_precision=none,
        sensitivity=none,
        specificity=none,
        ppv=none,
        f1=none,
        ece=none,
    )


@pytest.fixture
def metrics() -> AnnotatorMetrics:
    """Metrics in which DR, side and glaucoma are usable."""
    auc, kappa = Measure.measured(0.91, 0.85, 0.96, 50), Measure.measured(0.7, 0.6, 0.8, 50)
    split = SplitMetrics(heads={name: _head(auc) for name in HEAD_NAMES}, quadratic_kappa=kappa)
    unusable = {name: CHANCE for name in HEAD_NAMES[4:] if name not in ("eye_side", "is_gc")}
    points = {
        name: OperatingPoint(rule="youden" if name == "is_gc" else "matched-prevalence", prevalence=0.2, threshold=0.5)
        for name in HEAD_NAMES
        if name not in unusable
    }
    return AnnotatorMetrics(
        unusable=unusable, unusable_heads=unusable, operating_points=points, unmet={}, splits={"test": split}
    )


@pytest.fixture
def finished(storage: Storage) -> Storage:
    """A root with the manifests and metrics of study `p`: dataset, annotator, copy detector and generator."""
    write_manifest(storage, "data/p", [], data_manifest([], 32))
    write_manifest(storage, "data/p-filled", [], data_manifest([], 32).model_copy(update={"sources": SOURCES}))
    write_manifest(storage, "copy_detectors/p", [], CopyDetectorManifest(digest="", data="data/p"))
    splits = {"validation": no_predictions(), "test": no_predictions()}
    assessment = assess(splits, None)
    save_predictions(storage, "annotators/p", {}, assessment, AnnotatorManifest(digest="", data="data/p"))
    losses = [StepMetrics(step=step, loss=1 / step, gradient_norm=1.0, learning_rate=1.0) for step in (1, 2, 4)]
    held_out = [HeldOutLoss(step=step, loss=loss, num_images=40) for step, loss in ((2, 0.3), (4, 0.4))]
    metrics = GeneratorMetrics(num_parameters=9, losses=tuple(losses), held_out_losses=tuple(held_out))
    data = metrics.to_json()
    manifest = GeneratorManifest(digest="", size_px=32, schedule=ScheduleConfig())
    write_manifest(storage, "generators/p", [storage.write_once("generators/p/metrics.json", data)], manifest)
    return storage


def test_the_annotators_summary_lists_usable_labels_with_their_auc_and_unusable_ones(metrics: AnnotatorMetrics) -> None:
    assert "init_from" not in dict(AnnotatorSummary(metrics).rows())
    metrics = metrics.model_copy(update={"fresh_tensors": ("fc.weight", "fc.bias")})
    rows = dict(AnnotatorSummary(metrics).rows())
    expected = "dr_grade kappa 0.700 (0.600 to 0.800), eye_side 0.910 (0.850 to 0.960), is_gc 0.910 (0.850 to 0.960)"
    assert rows["AUC on test"] == expected
    assert rows["operating points"] == "matched prevalence: dr_grade, eye_side; Youden: is_gc"
    assert rows["unusable"] == ", ".join(metrics.unusable)
    assert rows["init_from"] == "all tensors used except 2: fc.weight, fc.bias"


def test_summaries_are_read_from_what_the_stages_wrote(finished: Storage) -> None:
    assert dict(TrainAnnotatorStage().summary(study(finished), finished).rows())["unusable"].startswith("dr_grade, eye")
    assert FillStage().summary(study(finished), finished).rows() == [("filled", "eye_side 7, is_gc 3")]
    rows = dict(TrainGeneratorStage().summary(study(finished, "generator.num_steps=4"), finished).rows())
    assert rows == {
        "steps": "4",
        "loss": "1.0000 at step 1, 0.2500 at the end",
        "held-out loss": "0.4000 at the end on 40 validation images; lowest 0.3000 at step 2",
    }
    finished.replace("runs/p-generator/sheets/step-0000004.png", b"")
    rows = dict(TrainGeneratorStage().summary(study(finished), finished).rows())
    assert rows["sheets"] == finished.uri("runs/p-generator/sheets")


def test_a_release_refuses_an_annotator_other_than_that_of_its_samples(finished: Storage) -> None:
    """Thresholds would be chosen anew from the other one's predictions."""
    phantom_samples(finished)
    with pytest.raises(WrongInputError, match=f"annotators/p: not the annotator that annotated {FOLDER}; restore"):
        read_evidence(finished, FOLDER, REPORT, "annotators/p", "copy_detectors/p")


@pytest.fixture
def sampled(finished: Storage) -> SamplesManifest:
    """The manifest of samples on the root `finished`, annotated by its annotator."""
    annotator = read_manifest(finished, "annotators/p", AnnotatorManifest).annotator_digest
    return phantom_samples(finished, annotator_digest=annotator)


def write_report(storage: Storage, evaluated: SamplesManifest, **changes: str) -> None:
    """Write a report of the samples `evaluated`, with other digests in its manifest if `changes` has some."""
    contents = {METRICS: example_metrics().to_json(), PUBLIC: b"public", PRIVACY_PAGE: b"privacy"}
    written = [storage.write_once(f"{REPORT}/{name}", data) for name, data in contents.items()]
    detector = read_manifest(storage, "copy_detectors/p", CopyDetectorManifest).detector_digest
    manifest = report_manifest(evaluated, detector).model_copy(update=changes)
    write_manifest(storage, REPORT, written, manifest)


def refusal(storage: Storage) -> str:
    """Return why `publish` refuses the report."""
    with pytest.raises(WrongInputError) as caught:
        read_evidence(storage, FOLDER, REPORT, "annotators/p", "copy_detectors/p")
    return str(caught.value)


def test_a_release_shows_the_report_of_its_samples(finished: Storage, sampled: SamplesManifest) -> None:
    write_report(finished, sampled)
    evidence = read_evidence(finished, FOLDER, REPORT, "annotators/p", "copy_detectors/p")
    assert (evidence.metrics, evidence.report_html) == (example_metrics(), "public")


def test_samples_made_anew_after_the_evaluation_are_not_released(finished: Storage, sampled: SamplesManifest) -> None:
    """The old report may have passed the privacy gate; nobody evaluated the new samples."""
    write_report(finished, sampled.model_copy(update={"plan_digest": "of the samples before"}))
    assert refusal(finished) == (
        f"{REPORT}: evaluated other samples than those of {FOLDER}; delete {REPORT} below {finished.root} and run"
        " `evaluate` again"
    )


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("generator_digest", f"another generator than the one that made {FOLDER}; restore that one, then delete"),
        ("copy_detector_digest", "another copy detector than copy_detectors/p; delete"),
    ],
)
def test_a_report_of_another_model_is_refused(
    finished: Storage, sampled: SamplesManifest, key: str, message: str
) -> None:
    write_report(finished, sampled, **{key: "other"})
    assert refusal(finished) == (
        f"{REPORT}: evaluated {message} {REPORT} below {finished.root} and run `evaluate` again"
    )


def test_a_report_that_does_not_name_what_it_evaluated_is_refused(finished: Storage, sampled: SamplesManifest) -> None:
    """Version 1 had no such keys."""
    old = {"version": 1, "kind": "report", "digest": "digest", "files": {}}
    finished.write_once(f"{REPORT}/manifest.json", json.dumps(old).encode())
    with pytest.raises(StorageError, match=rf"{REPORT}/manifest\.json has version 1, .* or delete {REPORT} and run"):
        read_evidence(finished, FOLDER, REPORT, "annotators/p", "copy_detectors/p")


def test_the_plan_of_a_release_refuses_samples_that_nobody_evaluated(
    finished: Storage, sampled: SamplesManifest
) -> None:
    write_report(finished, sampled.model_copy(update={"plan_digest": "of the samples before"}))
    demo = study(finished, "name=demo")
    write_manifest(finished, demo.copy_detector_folder, [], CopyDetectorManifest(digest="", data="data/p"))
    with pytest.raises(WrongInputError, match=f"{REPORT}: evaluated other samples than those of {FOLDER}"):
        PublishStage().describe(demo, finished, None)


def test_a_report_of_before_the_transfer_is_refused_by_its_folder_and_made_anew_once_that_is_deleted(
    finished: Storage, sampled: SamplesManifest
) -> None:
    """docs/transfer.md says what to do."""
    write_manifest(finished, "samples/p", [], sampled)
    stage, own = EvaluateStage(), study(finished)
    basis = stage.basis(own, finished)
    start_record(finished, stage.run_name(own), "reports/p", basis)
    write_manifest(finished, "reports/p", [], report_manifest(sampled).model_copy(update={"digest": digest_of(basis)}))
    write_manifest(finished, "transfers/p", [], TransferManifest(digest=""))
    with_grid = study(finished, "transfer.architectures=[resnet10t]")
    changed = stage.basis(with_grid, finished)
    with pytest.raises(WrongInputError) as caught:
        require_same_digest(finished, stage.run_name(own), "reports/p", changed)
    message = (
        f"reports/p below {finished.root} was made with other settings or inputs (inputs.transfers/p was None, is "
    )
    assert str(caught.value).startswith(message)
    assert isinstance(finished, LocalStorage)
    shutil.rmtree(finished.path("reports/p"))
    start_record(finished, stage.run_name(own), "reports/p", changed)


def test_an_annotator_depends_on_its_settings_and_its_dataset(finished: Storage) -> None:
    stage = TrainAnnotatorStage()
    digests = [
        digest_of(stage.basis(study(finished, *overrides), finished))
        for overrides in ((), ("annotator.num_steps=7",), ("annotator.resources.num_threads=7",))
    ]
    assert len(set(digests)) == 3
    assert digests[0] == digest_of(stage.basis(study(finished, "generator.num_steps=7"), finished))
    with pytest.raises(WrongInputError, match="data/other is not complete"):
        stage.basis(study(finished, "name=other"), finished)


def test_a_changed_operating_point_needs_samples_and_no_training(finished: Storage) -> None:
    """Only the rule of `is_fundus` reaches the filled dataset, which filling asks for; none reaches a training."""
    usual, other = study(finished), study(finished, "operating_points.is_gc={rule: youden}")
    fundus = study(finished, "operating_points.is_fundus={rule: youden}")
    for stage in (TrainAnnotatorStage(), FillStage(), TrainGeneratorStage()):
        assert digest_of(stage.basis(usual, finished)) == digest_of(stage.basis(other, finished))
    assert digest_of(FillStage().basis(usual, finished)) != digest_of(FillStage().basis(fundus, finished))


def test_a_filled_dataset_does_not_depend_on_the_size_of_the_pool(finished: Storage) -> None:
    one, eight = (
        digest_of(FillStage().basis(study(finished, f"fill.resources.pool_size={size}"), finished)) for size in (1, 8)
    )
    assert one == eight


def test_images_and_generator_must_have_the_same_size(storage: Storage) -> None:
    wrong = study(storage, "generator.unet.size_px=128")
    with pytest.raises(WrongInputError, match=r"generator\.unet\.size_px: is 128, data\.prepare\.size_px is \d+"):
        TrainGeneratorStage().check(wrong, storage)


def test_a_generator_records_which_images_it_was_trained_on(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "root"))
    phantom_dataset(storage, "data/p", 40, 32)
    task = GeneratorTask(GENERATOR, storage, "run", "data/p", "generators/p", "digest")
    task.finish(task.build(torch.device("cpu"), 0, 1), ())
    recorded = read_manifest(storage, "generators/p", GeneratorManifest).images_digest
    assert recorded == read_manifest(storage, "data/p", DataManifest).images_digest

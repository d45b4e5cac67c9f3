"""The whole evaluation in one process: a dataset with a split for the judge, tiny models, samples of phantoms."""

from dataclasses import replace

import pytest

from support.datasets_of_phantoms import phantom_dataset
from support.models_of_phantoms import ANNOTATOR, train_tiny_models
from support.samples_example import FOLDER, NUM_SAMPLES, phantom_samples
from support.transfer_example import GRID, example_results, write_grid
from synfundus.copies.manifest import CopyDetectorManifest
from synfundus.diffusion.manifest import GeneratorManifest
from synfundus.digests import sha256_hex
from synfundus.evaluation.config import EvaluationConfig
from synfundus.evaluation.judge import JudgeTask
from synfundus.evaluation.manifest import PRIVACY_PAGE, PUBLIC, ReportManifest, read_metrics
from synfundus.evaluation.privacy_gate import privacy_verdict
from synfundus.evaluation.run import NO_GRID, EvaluationTask, run_evaluation
from synfundus.fundus.splits import NO_JUDGE
from synfundus.labels import LABEL_NAMES
from synfundus.measures.editions import is_public
from synfundus.measures.judge_metrics import IndependentJudge, TeacherAsJudge
from synfundus.measures.metrics import SkippedSpace
from synfundus.measures.transfer_metrics import ComputedTransfer, SkippedTransfer
from synfundus.storage import Storage, is_complete, open_storage, read_manifest
from synfundus.transfer.measuring import measure_transfer

NUM_ACCEPTED = NUM_SAMPLES - 1
JUDGE = JudgeTask("data/p", "judges/p", ANNOTATOR.model_copy(update={"num_steps": 4}), "digest of the judge")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Return a root with everything that an evaluation reads."""
    storage = open_storage(str(tmp_path_factory.mktemp("root")))
    phantom_dataset(storage, "data/p", 80, 32, splits=("train", "judge", "validation", "test"))
    train_tiny_models(storage, "data/p", "p")
    phantom_samples(storage)
    return storage


@pytest.fixture(scope="module")
def reported(storage: Storage) -> Storage:
    """Return the root with the report `reports/one`, of an evaluation without a judge and without a grid."""
    run_evaluation(task(storage, None, "reports/one"))
    return storage


def task(storage: Storage, judge: JudgeTask | None, report: str, grid: str | None = None) -> EvaluationTask:
    return EvaluationTask(
        storage=storage,
        data_folder="data/p",
        annotator_folder="annotators/p",
        copy_detector_folder="copy_detectors/p",
        judge=judge,
        generator_folder="generators/p",
        initial_weights=False,
        reference_folders=(),
        samples_folder=FOLDER,
        transfer_folder=grid,
        report_folder=report,
        config=EvaluationConfig(),
        digest="digest",
        title="Study of tests",
        study={},
        curves=(),
        provenance={},
        real_photographs=False,
    )


def test_an_evaluation_trains_the_judge_and_reports_what_it_saw(storage: Storage) -> None:
    run_evaluation(task(storage, JUDGE, "reports/judged"))
    assert is_complete(storage, "judges/p")
    metrics = read_metrics(storage, "reports/judged")
    assert isinstance(metrics.judge, IndependentJudge)
    assert (metrics.judge.num_images, metrics.judge.num_patients) == (20, 10)
    assert metrics.judge.num_samples == NUM_ACCEPTED
    titles = [space.title for space in metrics.fidelity.ordered_spaces]
    assert titles == ["Judge features", "Annotator features", "Inception features"]
    assert not isinstance(metrics.fidelity.spaces["judge"], SkippedSpace)
    assert set(metrics.judge.test_scores) == set(metrics.consistency.labels) == set(LABEL_NAMES)
    assert metrics.annotator_consistency is not None
    assert set(metrics.judge.unusable) == {
        name
        for name, entry in metrics.consistency.labels.items()
        if entry.requested.reason == "the grader cannot predict this label"
    }
    assert "An independent judge (resnet10t)" in storage.read(f"reports/judged/{PUBLIC}").decode()


def test_a_report_names_what_it_evaluated(reported: Storage) -> None:
    """So `publish` can refuse samples or models that were made anew after the evaluation."""
    report = read_manifest(reported, "reports/one", ReportManifest)
    assert report.samples_manifest_sha256 == sha256_hex(reported.read(f"{FOLDER}/manifest.json"))
    assert report.generator_digest == read_manifest(reported, "generators/p", GeneratorManifest).generator_digest
    detector = read_manifest(reported, "copy_detectors/p", CopyDetectorManifest)
    assert report.copy_detector_digest == detector.detector_digest


def test_an_evaluation_without_a_judge_and_a_grid_says_so(reported: Storage) -> None:
    metrics = read_metrics(reported, "reports/one")
    assert metrics.judge == TeacherAsJudge(reason=NO_JUDGE)
    assert metrics.annotator_consistency is None
    space = metrics.fidelity.spaces["judge"]
    assert isinstance(space, SkippedSpace)
    assert space.reason == NO_JUDGE
    assert f"Judge features: {NO_JUDGE}" in metrics.notes
    assert "Judge and teacher are one" in reported.read(f"reports/one/{PUBLIC}").decode()
    assert metrics.transfer == SkippedTransfer(reason=NO_GRID)
    assert f"Worth for training: {NO_GRID}" in metrics.notes


def test_an_evaluation_compares_the_models_of_the_studys_grid(storage: Storage) -> None:
    write_grid(storage, example_results(("resnet10t",), (0, 1), ("real", "pretrained")))
    run_evaluation(task(storage, None, "reports/grid", GRID))
    transfer = read_metrics(storage, "reports/grid").transfer
    assert isinstance(transfer, ComputedTransfer)
    assert transfer == measure_transfer(storage, GRID)
    page = storage.read("reports/grid/index.html").decode()
    assert "Does pre-training on samples help?" in page
    assert storage.exists("reports/grid/figures/transfer-forest-0.svg")


def test_an_evaluation_attacks_images_and_weights_and_writes_the_verdict_on_a_page_of_its_own(storage: Storage) -> None:
    run_evaluation(replace(task(storage, None, "reports/audited"), initial_weights=True))
    metrics = read_metrics(storage, "reports/audited")
    assert metrics.audit.initial_weights
    weights, images = metrics.audit.attack_on_weights, metrics.audit.attack_on_images
    assert (weights.num_members, weights.num_non_members, weights.num_references) == (20, 40, 0)
    assert (images.num_members, images.num_non_members) == (20, 40)
    assert weights.auc.measurable
    assert images.auc.measurable
    assert metrics.verdict == privacy_verdict(metrics.privacy, metrics.audit)
    page = storage.read(f"reports/audited/{PRIVACY_PAGE}").decode()
    assert is_public(page)
    assert "The images may" in page

"""The stage `evaluate` reads manifests and metrics only, unless it runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.data_manifest import data_manifest
from support.judge_example import judged
from support.metrics_example import example_metrics
from support.report_example import report_manifest
from support.transfer_example import example_transfer
from synfundus.diffusion.config import ScheduleConfig
from synfundus.diffusion.manifest import SCHEDULER_CONFIG, UNET_CONFIG, UNET_WEIGHTS, GeneratorManifest
from synfundus.diffusion.metrics import GeneratorMetrics
from synfundus.digests import digest_of
from synfundus.errors import WrongInputError
from synfundus.evaluation.config import EvaluationConfig
from synfundus.evaluation.inception_weights import PUBLISHED_SHA256
from synfundus.evaluation.judge_config import judge_config
from synfundus.evaluation.manifest import read_metrics
from synfundus.fundus.manifest import SplitCounts
from synfundus.measures.fixed_rate import negatives_needed
from synfundus.measures.metrics import ProtocolSettings
from synfundus.stages.evaluate import EvaluateStage, _judge_task, _settings_that_matter, make_task
from synfundus.storage import METRICS, Storage, open_storage, write_manifest
from synfundus.study import Study, resolve

STAGE = EvaluateStage()
REPORT = "reports/tests"


def study(*overrides: str) -> Study:
    text = "recipe: phantom-cpu\nname: tests\nroot: root\ndata: {sources: [{layout: phantom, num_images: 9}]}\n"
    return resolve(
        text + "release: {date_published: 2026-11-27, data_statement: Phantoms.}\n",
        "tests.yaml",
        Path("/studies"),
        overrides,
    )


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Return a root with a complete report."""
    storage = open_storage(str(tmp_path))
    written = storage.write_once(f"{REPORT}/{METRICS}", example_metrics().to_json())
    write_manifest(storage, REPORT, [written], report_manifest())
    return storage


def test_summary_names_the_main_results_and_the_private_report(storage: Storage) -> None:
    rows = dict(STAGE.summary(study(), storage).rows())
    assert rows["side agreement"].endswith("; shuffled requests: 0.450 (0.400 to 0.500)")
    assert rows["not measurable"] == "is_em, is_htr"
    assert rows["too near to training"] == "3 of 803 samples rejected"
    names = list(rows)
    assert (
        rows["KID, annotator features"]
        == "0.021 (0.019 to 0.023); held-out photographs 0.0004 (0.00036 to 0.00044); n = 800"
    )
    assert names.index("KID, annotator features") < names.index("Fréchet distance, annotator features")
    assert rows["Fréchet distance, annotator features"].endswith("extrapolated to unlimited n")
    assert rows["fine detail"] == (
        "0.680 (0.630 to 0.730) of the power of held-out photographs in the top octave, 16 to 32 cycles per image side"
    )
    assert rows["report"].endswith("reports/tests/index.html (private)")
    assert rows["judge"].startswith("Judge and teacher are one, because fewer than 750 training patients have")
    expected = "sensitivity on samples minus held-out photographs -0.200 (-0.340 to -0.060)"
    assert (rows["subtle changes"], rows["widespread changes"]) == (expected, expected)


def test_summary_names_an_independent_judge(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    written = storage.write_once(f"{REPORT}/{METRICS}", judged(example_metrics()).to_json())
    write_manifest(storage, REPORT, [written], report_manifest())
    assert dict(STAGE.summary(study(), storage).rows())["judge"] == (
        "An independent judge (resnet10t) graded 800 samples. It was trained on 412 photographs of 206 patients, whom"
        " neither annotator nor generator was trained on."
    )


def with_data(storage: Storage, num_judge: int) -> None:
    """Write an empty dataset whose manifest counts the images of a judge."""
    sizes = SplitCounts(train=1600, judge=num_judge, validation=300, test=300)
    manifest = data_manifest([], 32).model_copy(update={"num_images": sizes, "num_patients": sizes})
    write_manifest(storage, "data/tests", [], manifest)


def test_a_dataset_with_a_split_for_it_has_a_judge_of_the_annotators_settings(storage: Storage) -> None:
    with_data(storage, 400)
    one, other = study(), study("annotator.num_steps=40")
    task, changed = _judge_task(one, storage), _judge_task(other, storage)
    assert task is not None
    assert changed is not None
    assert (task.data_folder, task.folder, task.config) == (
        "data/tests",
        "judges/tests",
        judge_config(one.annotator),
    )
    assert task.digest != changed.digest
    pool = study("evaluation.resources.num_threads=2", "fill.resources.pool_size=7", "serving.generation.num_threads=2")
    assert _judge_task(pool, storage) == task


def test_a_dataset_without_a_split_for_it_has_no_judge(storage: Storage) -> None:
    with_data(storage, 0)
    assert _judge_task(study(), storage) is None


def test_an_encoder_enters_the_digest_by_its_content_and_not_by_its_folder(tmp_path: Path) -> None:
    settings = []
    for folder, content in (("a", b"weights"), ("b", b"weights"), ("c", b"others")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "w.pth").write_bytes(content)
        encoder = f"{{architecture: test_vit, weights: {tmp_path / folder / 'w.pth'}}}"
        made = study(f"evaluation.encoders={{vit: {encoder}}}")
        settings.append(digest_of([_settings_that_matter(made), dict(made.files_of("evaluation"))]))
        assert str(tmp_path) not in str(made.shown)
    assert settings[0] == settings[1] != settings[2]
    with pytest.raises(WrongInputError, match=r"evaluation\.encoders\.vit\.weights: cannot read .*/none"):
        STAGE.check(study("evaluation.encoders={vit: {architecture: test_vit, weights: /none}}"), open_storage("/r"))


def test_metrics_of_a_report_are_read_through_its_manifest(storage: Storage) -> None:
    assert read_metrics(storage, REPORT) == example_metrics()


def test_metrics_store_every_setting_that_their_numbers_depend_on() -> None:
    stored = set(ProtocolSettings.model_fields)
    assert stored == set(EvaluationConfig.model_fields) - {"inception_weights", "encoders", "resources"}


def test_resources_of_the_evaluation_change_no_setting_of_its_digest() -> None:
    one, other = study(), study("evaluation.resources.num_threads=4", "evaluation.resources.num_gpus=0.5")
    assert other.evaluation.resources.num_gpus == 0.5
    assert digest_of(_settings_that_matter(one)) == digest_of(_settings_that_matter(other))
    assert digest_of(_settings_that_matter(one)) != digest_of(_settings_that_matter(study("evaluation.seed=3")))


def test_a_grid_is_an_input_of_the_report_only_if_the_study_has_one() -> None:
    with_grid = study("transfer.architectures=[resnet10t]")
    assert set(STAGE.inputs(with_grid)) - set(STAGE.inputs(study())) == {"transfers/tests"}


def test_the_summary_gives_the_verdict_on_each_planned_question(tmp_path: Path) -> None:
    storage, transfer = open_storage(str(tmp_path)), example_transfer()
    metrics = example_metrics().model_copy(update={"transfer": transfer})
    written = storage.write_once(f"{REPORT}/{METRICS}", metrics.to_json())
    write_manifest(storage, REPORT, [written], report_manifest())
    rows = dict(STAGE.summary(study(), storage).rows())
    family = transfer.families_of("primary")["pretrained-against-real"]
    assert rows["Pre-trained on samples \N{MINUS SIGN} Photographs, from scratch"] == (
        f"mean AUC: {family.num_better} better, {family.num_worse} worse of {family.num_measured} after correction"
    )


def test_wrong_inception_weights_are_refused_before_any_work(tmp_path: Path, storage: Storage) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"other weights")
    with pytest.raises(WrongInputError, match=f"weights.pth has SHA-256 .*, expected {PUBLISHED_SHA256[:16]}"):
        STAGE.check(study(f"evaluation.inception_weights={weights}"), storage)


def test_a_reference_generator_that_is_missing_is_refused_before_any_work(storage: Storage) -> None:
    with pytest.raises(WrongInputError, match=r"evaluation\.reference_generators: generators/twin is not complete"):
        STAGE.check(study("evaluation.reference_generators=[twin]"), storage)


def with_generator(storage: Storage, name: str, weights: bytes, images_digest: str | None) -> None:
    """Write a generator of these weights, which nothing can load."""
    metrics = GeneratorMetrics(num_parameters=1, losses=()).to_json()
    files = {UNET_CONFIG: b"{}", UNET_WEIGHTS: weights, SCHEDULER_CONFIG: b"{}", METRICS: metrics}
    written = [storage.write_once(f"generators/{name}/{file}", data) for file, data in files.items()]
    manifest = GeneratorManifest(digest=name, size_px=32, schedule=ScheduleConfig(), images_digest=images_digest)
    write_manifest(storage, f"generators/{name}", written, manifest)


def test_a_reference_generator_must_be_another_one_trained_on_other_photographs(storage: Storage) -> None:
    data = data_manifest([], 32)
    write_manifest(storage, "data/tests-filled", [], data)
    with_generator(storage, "tests", b"weights", data.images_digest)
    with_generator(storage, "renamed", b"weights", "other photographs")
    with_generator(storage, "sibling", b"others", data.images_digest)
    with_generator(storage, "old", b"others", None)
    with_generator(storage, "stranger", b"others", "other photographs")
    for name, message in {
        "tests": "generators/tests is the generator of this study",
        "renamed": "generators/renamed holds the generator of this study",
        "sibling": "generators/sibling was trained on the photographs of data/tests-filled",
        "old": "generators/old does not record its training images",
    }.items():
        with pytest.raises(WrongInputError, match=f"evaluation.reference_generators: {message}"):
            STAGE.check(study(f"evaluation.reference_generators=[stranger, {name}]"), storage)
    STAGE.check(study("evaluation.reference_generators=[stranger]"), storage)


def test_a_reference_generator_is_compared_again_once_the_generator_is_trained(storage: Storage) -> None:
    with_generator(storage, "renamed", b"weights", "other photographs")
    made = study("evaluation.reference_generators=[renamed]")
    STAGE.check(made, storage)
    with_generator(storage, "tests", b"weights", "photographs")
    with pytest.raises(WrongInputError, match="generators/renamed holds the generator of this study"):
        STAGE.run(made, storage, "digest", None)


def test_the_evaluation_knows_whether_the_training_started_from_other_weights(storage: Storage) -> None:
    with_data(storage, 0)
    with_generator(storage, "tests", b"weights", "photographs")
    assert not make_task(study(), storage, "digest").initial_weights
    assert make_task(study("generator.init_from=/weights"), storage, "digest").initial_weights


def test_the_default_attack_measures_1_percent_false_accusations_if_a_quarter_of_its_photographs_are_dependent() -> (
    None
):
    assert 0.75 * EvaluationConfig().attack_max_images >= negatives_needed(0.01)


def test_the_summary_says_whether_the_privacy_gate_passed(storage: Storage) -> None:
    assert dict(STAGE.summary(study(), storage).rows())["privacy gate"] == "passed"


def test_a_summary_loads_no_heavy_library() -> None:
    """Because of this, `study run` on a finished root ends within a few seconds."""
    heavy = ("torch", "ray", "matplotlib", "scipy", "timm", "diffusers", "jinja2")
    code = f"import sys, synfundus.stages.evaluate; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

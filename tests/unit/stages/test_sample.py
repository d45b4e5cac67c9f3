"""Stage `sample`: what it refuses early, and a plan that needs neither an image nor a weight."""

from pathlib import Path

import pytest

from support.data_manifest import data_manifest
from support.datasets_of_phantoms import SPLIT_OF_PATIENT
from support.shards_of_rows import write_shards
from synfundus.copies.manifest import CopyDetectorManifest
from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.diffusion.manifest import SCHEDULER_CONFIG, UNET_CONFIG, UNET_WEIGHTS, GeneratorManifest
from synfundus.digests import digest_of
from synfundus.errors import WrongInputError
from synfundus.fundus.manifest import ParentDataset
from synfundus.labels import LABEL_NAMES
from synfundus.samples.plan import Plan
from synfundus.stages.sample import SampleStage, lay_out
from synfundus.storage import Storage, read_manifest, write_manifest
from synfundus.study import Study, resolve

STAGE = SampleStage()
STUDY = """\
recipe: phantom-cpu
name: eyes
root: root
data:
  sources: [{layout: phantom, num_images: 240, size_px: 48, seed: 1}]
samples:
  num_samples: 96
  min_patients: 3
"""


def study_of(folder: Path, *overrides: str) -> Study:
    return resolve(STUDY, "eyes.yaml", folder, overrides)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return study_of(tmp_path)


def write_inputs(study: Study, storage: Storage, *, annotator_files: tuple[str, ...] = ("model.safetensors",)) -> None:
    """Write complete inputs whose images and weights are no images and no weights."""
    rows: list[dict[str, object]] = []
    for i in range(100):
        split = SPLIT_OF_PATIENT[i // 2 % len(SPLIT_OF_PATIENT)]
        row: dict[str, object] = {"image_id": f"{i:016d}", "patient": f"p{i // 2}", "split": split}
        row["image"] = {"bytes": b"no image", "path": None}
        for name in LABEL_NAMES:
            value = i % 2 if name == "eye_side" else None
            row |= {name: value, f"source_{name}": "unknown" if value is None else "expert", f"filled_{name}": None}
        rows.append(row)
    parent = ParentDataset(folder=study.data_folder, manifest_sha256="", digest="digest of the preparation")
    data = data_manifest(rows, 64).model_copy(update={"parent": parent})
    write_manifest(storage, study.filled_folder, write_shards(storage, study.filled_folder, rows, 100), data)
    weights = [storage.write_once(f"{study.annotator_folder}/{name}", b"no weights") for name in annotator_files]
    write_manifest(storage, study.annotator_folder, weights, AnnotatorManifest(digest="", data=study.data_folder))
    encoder = [storage.write_once(f"{study.copy_detector_folder}/model.safetensors", b"no weights")]
    detector = CopyDetectorManifest(digest="", data=study.data_folder)
    write_manifest(storage, study.copy_detector_folder, encoder, detector)
    files = (UNET_CONFIG, UNET_WEIGHTS, SCHEDULER_CONFIG)
    unet = [storage.write_once(f"{study.generator_folder}/{name}", b"no weights") for name in files]
    generator = GeneratorManifest(digest="", size_px=64, schedule=study.generator.schedule)
    write_manifest(storage, study.generator_folder, unet, generator)


def test_a_plan_is_laid_out_without_an_image_and_without_weights(study: Study, storage: Storage) -> None:
    write_inputs(study, storage)
    plan = lay_out(study, storage)
    assert plan.label_counts()["eye_side"] == {"0": 48, "1": 48}
    rows = dict(STAGE.describe(study, storage, None))
    assert rows["Eye side (0 right, 1 left)"] == "0: 48, 1: 48"
    assert not list(storage.names(study.samples_folder))


def test_the_plan_states_the_operating_points_of_the_study(tmp_path: Path, storage: Storage) -> None:
    study = study_of(tmp_path, "operating_points.is_gc={rule: minimum-ppv, minimum: 0.5}")
    write_inputs(study, storage)
    plan = Plan.from_json(lay_out(study, storage).to_json(), "plan.json")
    assert plan.operating_points["is_gc"] == study.operating_points["is_gc"]
    assert plan.operating_points["is_gc"].minimum == 0.5
    assert plan.operating_points["eye_side"].prevalence == 0.5
    as_it_is = study_of(
        tmp_path, "external_annotator={weights: w, scores: sigmoid, columns: {eye_side: 0}, recalibrate: false}"
    )
    assert lay_out(as_it_is, storage).operating_points == {}  # every label has its most probable value


def test_the_digest_ignores_the_pool_and_depends_on_each_input(tmp_path: Path, storage: Storage) -> None:
    study = study_of(tmp_path)
    write_inputs(study, storage)
    digest = digest_of(STAGE.basis(study, storage))
    larger = study_of(tmp_path, "samples.resources.pool_size=7", "samples.resources.num_gpus=1")
    assert digest_of(STAGE.basis(larger, storage)) == digest
    point = "operating_points.is_gc={rule: youden}"
    for change in ("samples.seed=1", "samples.resources.num_threads=2", "samples.resources.precision=fp32", point):
        changed = digest_of(STAGE.basis(study_of(tmp_path, change), storage))
        assert changed != digest, change
    basis = STAGE.basis(study, storage)
    plan = lay_out(study, storage)
    assert basis["inputs"] == {
        "generator": plan.generator_digest,
        "annotator": plan.annotator_digest,
        "data": plan.data_digest,
        "copy_detector": read_manifest(storage, study.copy_detector_folder, CopyDetectorManifest).detector_digest,
    }


def test_a_table_of_predictions_cannot_annotate_samples(study: Study, storage: Storage) -> None:
    write_inputs(study, storage, annotator_files=("predictions.parquet",))
    with pytest.raises(WrongInputError, match="annotators/eyes: this annotator is a table of predictions"):
        STAGE.basis(study, storage)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("samples.solver.num_steps=2000", r"^samples\.solver\.num_steps: 2000 is more than"),
        ("samples.resources.num_gpus=1", r"^samples\.resources\.num_gpus"),
        (
            "external_annotator={predictions: table.csv, columns: {is_gc: glaucoma}, scores: probability}",
            r"^external_annotator\.predictions: this annotator is a table",
        ),
    ],
)
def test_what_cannot_end_well_is_refused_before_any_work(
    tmp_path: Path, storage: Storage, override: str, message: str
) -> None:
    with pytest.raises(WrongInputError, match=message):
        STAGE.check(study_of(tmp_path, override), storage)

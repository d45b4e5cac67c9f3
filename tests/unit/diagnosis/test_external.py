"""An external annotator in place of ours: a table of predictions, or a timm model with a column map."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from scipy.special import expit, logit, softmax
from sklearn.metrics import cohen_kappa_score

from support.models_of_phantoms import fill_here
from synfundus.diagnosis.checkpoint import load_annotator
from synfundus.diagnosis.config import ExternalConfig, OperatingPointConfig, OutputMapConfig
from synfundus.diagnosis.decisions import read_annotator_metrics
from synfundus.diagnosis.external import adopt_external, load_external_network, read_prediction_table
from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.diagnosis.model import preprocess
from synfundus.diagnosis.outputs import head_logits
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.manifest import LabelSources
from synfundus.fundus.preprocess import image_id
from synfundus.fundus.shard import decode_pixels
from synfundus.labels import HEADS, NUM_VALUES, UNKNOWN_WORDS
from synfundus.storage import Storage, read_manifest

MakeImages = Callable[..., PreparedImages]
MakeRow = Callable[..., dict[str, Any]]
SIDE, GC = HEADS["eye_side"].start, HEADS["is_gc"].start
GRADES = [f"g{k}" for k in range(5)]


def test_five_exclusive_grades_become_cumulative_probabilities() -> None:
    raw = np.array([[0.5, 0.2, 0.1, 0.15, 0.05]], np.float32)
    out = head_logits(OutputMapConfig(columns={"dr_grade": [0, 1, 2, 3, 4]}), raw, [0, 1, 2, 3, 4])
    np.testing.assert_allclose(expit(out[0, :4]), [0.5, 0.3, 0.2, 0.05], rtol=1e-5)
    assert np.isnan(out[0, 4:]).all()


def test_sigmoid_logits_are_independent_and_softmax_logits_exclude_each_other() -> None:
    raw = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32)
    order: list[int | str] = list(range(7))
    independent = OutputMapConfig(columns={"dr_grade": [0, 1, 2, 3, 4], "is_gc": 6, "eye_side": 5}, scores="sigmoid")
    out = head_logits(independent, raw, order)
    np.testing.assert_allclose(out[:, GC], raw[:, 6], atol=1e-4)
    p_B5 = softmax(raw[:, :5].astype(np.float64), axis=1)
    np.testing.assert_allclose(expit(out[:, 1]), p_B5[:, 2:].sum(axis=1), rtol=1e-4)
    over_all = head_logits(OutputMapConfig(columns={"is_gc": 6}, scores="softmax"), raw, order)
    np.testing.assert_allclose(expit(over_all[:, GC]), softmax(raw.astype(np.float64), axis=1)[:, 6], rtol=1e-4)
    cumulative = head_logits(OutputMapConfig(columns={"dr_grade": [3, 2, 1, 0]}, scores="sigmoid"), raw, order)
    np.testing.assert_allclose(cumulative[:, :4], raw[:, 3::-1], atol=1e-4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"columns": {"is_gx": 1}, "weights": "w", "scores": "sigmoid"}, "'is_gx' is not a label"),
        ({"columns": {"dr_grade": [1, 2]}, "weights": "w", "scores": "sigmoid"}, "takes 5 or 4 columns"),
        ({"columns": {"is_gc": ["a", "b"]}, "predictions": "p.csv"}, "is_gc takes 1 columns"),
        ({"columns": {"is_gc": "a"}}, "either predictions"),
        ({"columns": {"is_gc": 1}, "weights": "w"}, "choose sigmoid or softmax"),
        ({"columns": {"is_gc": "a"}, "weights": "w", "scores": "sigmoid"}, "expected numbers of a model's outputs"),
        ({"columns": {}, "predictions": "p.csv"}, "names no label"),
        ({"column": {"is_gc": "a"}, "predictions": "p.csv"}, "did you mean 'columns'"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_remedy(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ExternalConfig.model_validate(values)


@pytest.fixture
def labelled(make_images: Callable[..., PreparedImages], make_row: Callable[..., dict[str, Any]]) -> PreparedImages:
    """Side, grade and glaucoma of 150 images; the last 30 have no side."""
    rows = [make_row(i, is_gc=i // 4 % 2, **({"eye_side": None} if i >= 120 else {})) for i in range(150)]
    return make_images(rows)


def _truth(images: PreparedImages) -> dict[str, tuple[int, int, int]]:
    """Return side, grade and glaucoma by image id, as `conftest.spot_row` makes them."""
    import hashlib

    by_id = {hashlib.sha256(str(i).encode()).hexdigest()[:16]: i for i in range(150)}
    return {key: (i % 2, i // 2 % 5, i // 4 % 2) for key, i in by_id.items()}


def _write_csv(path: Path, images: PreparedImages, key: str = "image_id") -> str:
    """Write a table that predicts side and grade well and glaucoma by chance."""
    rng = np.random.default_rng(0)
    lines = [",".join([key, "left", "glaucoma", *GRADES, "remark"])]
    for image, (side, grade, _) in _truth(images).items():
        g = softmax(-1.5 * np.abs(np.arange(5) - grade) + rng.normal(size=5) * 0.3)
        p = expit(4 * side - 2 + rng.normal())
        lines.append(",".join([image, f"{p:.6f}", f"{rng.uniform():.6f}", *(f"{v:.6f}" for v in g), "x"]))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def _table_config(path: str, **more: Any) -> ExternalConfig:
    columns = {"eye_side": "left", "is_gc": "glaucoma", "dr_grade": GRADES}
    return ExternalConfig(columns=columns, predictions=path, **more)


def test_a_table_is_calibrated_measured_saved_and_fills(
    storage: Storage, labelled: PreparedImages, tmp_path: Path
) -> None:
    path = _write_csv(tmp_path / "predictions.csv", labelled)
    adopt_external(storage, "annotators/table", _table_config(path), labelled, "of the run")
    metrics = read_annotator_metrics(storage, "annotators/table", {})
    test = metrics.splits["test"]
    assert test.heads["eye_side"].auc.interval[0] > 0.9
    assert test.quadratic_kappa.interval[0] > 0.8
    assert "chance" in metrics.unusable["is_gc"]
    assert metrics.unusable["is_pm"] == "the annotator has no such output"
    annotator = load_annotator(storage, "annotators/table")
    manifest = fill_here(storage, labelled.folder, annotator, "data/filled")
    assert manifest.sources["eye_side"] == LabelSources(expert=120, filled=30)
    assert manifest.sources["is_gc"] == LabelSources(expert=150)
    saved = read_manifest(storage, "annotators/table", AnnotatorManifest)
    assert (saved.external, saved.sees_images, saved.digest, saved.data) == (True, False, "of the run", labelled.folder)
    assert annotator.digest == saved.annotator_digest == manifest.annotator_digest


def test_a_table_is_refused_before_it_has_to_annotate_new_images(
    storage: Storage, labelled: PreparedImages, tmp_path: Path
) -> None:
    config = _table_config(_write_csv(tmp_path / "p.csv", labelled))
    with pytest.raises(WrongInputError, match="a table of predictions: it fills labels"):
        config.require_new_images()
    adopt_external(storage, "annotators/table", config, labelled, "")
    annotator = load_annotator(storage, "annotators/table")
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    for call in (annotator.require_new_images, lambda: annotator.predict(pixels), lambda: annotator.features(pixels)):
        with pytest.raises(WrongInputError, match="can neither annotate new images"):
            call()
    unlisted = annotator.predict(pixels, ["0" * 16])
    assert np.isnan(unlisted.probability_BV).all()


def test_images_are_identified_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"one")
    (tmp_path / "p.csv").write_text("file_name,left\na.jpg,0.75\n")
    config = ExternalConfig(
        columns={"eye_side": "left"}, predictions=str(tmp_path / "p.csv"), images_folder=str(tmp_path)
    )
    logits = read_prediction_table(config)
    assert list(logits) == [image_id(b"one")]
    assert logits[image_id(b"one")][SIDE] == pytest.approx(logit(0.75))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,right\na,0.5\n", "no column 'left'; its columns are image_id, right"),
        (
            "image_id,left\na,0.5\nb,1.5\n",
            "line 3, column 'left': '1.5' is not a probability; correct the cell, or empty it for unknown",
        ),
        ("image_id,left\na,yes\n", "line 2, column 'left': 'yes' is not a probability"),
        ("image_id,left\na,0.5\na,0.6\n", "image a has two rows"),
        ("name,left\na,0.5\n", "needs a column 'image_id', or 'file_name' together with images_folder"),
        ("file_name,left\nnone.jpg,0.5\n", "line 2: no such file"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    folder = None if text.startswith("name") else str(tmp_path)
    config = ExternalConfig(columns={"eye_side": "left"}, predictions=str(tmp_path / "p.csv"), images_folder=folder)
    with pytest.raises(WrongInputError, match=message):
        read_prediction_table(config)


@pytest.mark.parametrize("word", UNKNOWN_WORDS)
def test_the_words_that_mean_unknown_are_those_of_all_tables(tmp_path: Path, word: str) -> None:
    (tmp_path / "p.csv").write_text(f"image_id,left\na,{word.upper()}\nb,0.5\n")
    logits = read_prediction_table(ExternalConfig(columns={"eye_side": "left"}, predictions=str(tmp_path / "p.csv")))
    assert np.isnan(logits["a"]).all()
    assert logits["b"][SIDE] == pytest.approx(0.0)


def test_a_table_of_other_images_is_refused(storage: Storage, labelled: PreparedImages, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("image_id,left\nffff,0.5\n")
    config = ExternalConfig(columns={"eye_side": "left"}, predictions=str(tmp_path / "p.csv"))
    with pytest.raises(WrongInputError, match="none of its images is in the validation split of data/spots"):
        adopt_external(storage, "annotators/table", config, labelled, "")


def test_a_table_is_used_as_it_is(storage: Storage, labelled: PreparedImages, tmp_path: Path) -> None:
    """Its own probabilities, 0.5 and the most probable grade; the rules for unusable labels hold all the same."""
    path = _write_csv(tmp_path / "predictions.csv", labelled)
    adopt_external(storage, "annotators/table", _table_config(path, recalibrate=False), labelled, "")
    annotator = load_annotator(storage, "annotators/table")
    rows = {row["image_id"]: row for row in csv.DictReader(Path(path).read_text().splitlines())}
    ids = list(rows)
    output = annotator.predict(np.zeros((len(ids), 8, 8, 3), np.uint8), ids)
    given = np.array([[float(rows[i][name]) for name in ("left", *GRADES)] for i in ids])
    np.testing.assert_allclose(output.probability_BV[:, SIDE], given[:, 0], atol=1e-6)
    grades = np.array([output.probabilities(b)["dr_grade"] for b in range(len(ids))])
    np.testing.assert_allclose(grades, given[:, 1:] / given[:, 1:].sum(axis=1, keepdims=True), atol=1e-6)
    assert [row["eye_side"] for row in output.annotations] == (given[:, 0] >= 0.5).astype(int).tolist()
    assert [row["dr_grade"] for row in output.annotations] == given[:, 1:].argmax(axis=1).tolist()
    assert "chance" in annotator.calibration.unusable["is_gc"]
    metrics = read_annotator_metrics(storage, "annotators/table", {})
    assert {point.rule for point in metrics.operating_points.values()} == {"most-probable"}
    test = {i for batch in labelled.batches("test") for i in batch.image_ids}
    truth = [
        (side, grades[ids.index(i)].argmax(), grade) for i, (side, grade, _) in _truth(labelled).items() if i in test
    ]
    expected = cohen_kappa_score([t[2] for t in truth], [t[1] for t in truth], weights="quadratic")
    assert metrics.splits["test"].quadratic_kappa.value == pytest.approx(expected)
    # A named rule holds for such an annotator, too, on its own probabilities.
    youden = {"eye_side": OperatingPointConfig(rule="youden")}
    chosen = load_annotator(storage, "annotators/table", "cpu", youden).points.heads
    assert (chosen["eye_side"].rule, chosen["dr_grade>=1"].rule) == ("youden", "most-probable")


def test_a_timm_model_is_used_as_it_is(
    storage: Storage, make_images: MakeImages, make_row: MakeRow, tmp_path: Path
) -> None:
    """Glaucoma is what the model calls so: its labels are right, but its probabilities are far too small."""
    network = _foreign_model(tmp_path)
    config = ExternalConfig(columns={"is_gc": 5}, weights=str(tmp_path), scores="sigmoid", recalibrate=False)
    rows = [make_row(i) for i in range(150)]
    pixels = np.stack([decode_pixels(row["image"]["bytes"]) for row in rows])
    with torch.inference_mode():
        raw = network(preprocess(pixels, 48, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))[:, 5].numpy()
    labelled = [
        {**row, "is_gc": int(z > np.median(raw)), "source_is_gc": "expert"} for row, z in zip(rows, raw, strict=True)
    ]
    images = make_images(labelled)
    adopt_external(storage, "annotators/foreign", config, images, "")
    annotator = load_annotator(storage, "annotators/foreign")
    output = annotator.predict(pixels)
    np.testing.assert_allclose(output.probability_BV[:, GC], expit(raw), atol=1e-5)
    assert [row["is_gc"] for row in output.annotations] == (expit(raw.astype(np.float64)) >= 0.5).astype(int).tolist()
    matched = load_annotator(storage, "annotators/foreign", "cpu", {"is_gc": OperatingPointConfig()}).predict(pixels)
    assert np.mean([row["is_gc"] for row in matched.annotations]) == pytest.approx(0.5, abs=0.1)


def _foreign_model(folder: Path) -> torch.nn.Module:
    """Save a network with six outputs and its own normalisation in timm's layout."""
    torch.manual_seed(0)
    network: torch.nn.Module = timm.create_model("test_resnet", num_classes=6).eval()
    save_file(network.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": "test_resnet",
        "num_classes": 6,
        "pretrained_cfg": {"input_size": [3, 48, 48], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return network


def test_a_timm_model_with_a_column_map(storage: Storage, labelled: PreparedImages, tmp_path: Path) -> None:
    network = _foreign_model(tmp_path)
    config = ExternalConfig(columns={"dr_grade": [0, 1, 2, 3, 4], "is_gc": 5}, weights=str(tmp_path), scores="sigmoid")
    config.require_new_images()
    adopt_external(storage, "annotators/foreign", config, labelled, "")
    annotator = load_annotator(storage, "annotators/foreign")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    with torch.inference_mode():
        raw = network(preprocess(pixels, 48, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))).numpy().astype(np.float64)
    out = annotator.scorer.logits(pixels)
    assert out.shape == (3, NUM_VALUES)
    np.testing.assert_allclose(out[:, GC], raw[:, 5], atol=1e-4)
    np.testing.assert_allclose(expit(out[:, 0]), 1 - softmax(raw[:, :5], axis=1)[:, 0], atol=1e-5)
    assert np.isnan(out[:, SIDE]).all()
    assert annotator.calibration.unusable["eye_side"] == "the annotator has no such output"
    assert annotator.features(pixels).shape[0] == 3


def test_bare_weights_need_architecture_and_size(tmp_path: Path) -> None:
    _foreign_model(tmp_path)
    file = str(tmp_path / "model.safetensors")
    values: dict[str, Any] = {"columns": {"is_gc": 5}, "weights": file, "scores": "softmax"}
    with pytest.raises(WrongInputError, match="set architecture and image_size_px"):
        load_external_network(ExternalConfig(**values))
    _, spec = load_external_network(ExternalConfig(**values, architecture="test_resnet", image_size_px=64))
    assert (spec.num_classes, spec.image_size_px) == (6, 64)
    with pytest.raises(WrongInputError, match="outputs 0 to 5, not 6"):
        wrong = {**values, "columns": {"is_gc": 6}}
        load_external_network(ExternalConfig(**wrong, architecture="test_resnet", image_size_px=64))

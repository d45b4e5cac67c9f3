"""An external annotator in place of ours: a table of predictions, or any timm model with a column map.

It is calibrated on the validation split (unless `recalibrate` is false), measured and stored as ours is. Its training
images are unknown here: if the test images were among them, its metrics are too good.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray
from torch import Tensor, nn

from synfundus.diagnosis.annotator import NetworkScorer, Scorer, TableScorer
from synfundus.diagnosis.assessment import Assessment, assess
from synfundus.diagnosis.checkpoint import save_network, save_predictions
from synfundus.diagnosis.config import ExternalConfig
from synfundus.diagnosis.manifest import CONFIG, AnnotatorManifest
from synfundus.diagnosis.measuring import predict_split
from synfundus.diagnosis.metrics import AnnotatorScores
from synfundus.diagnosis.model import ModelSpec, build_annotator, read_weights
from synfundus.diagnosis.outputs import head_logits
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import PreparedImages, read_labels
from synfundus.fundus.preprocess import image_id
from synfundus.fundus.splits import HELD_OUT_SPLITS
from synfundus.labels import FloatArray, is_unknown
from synfundus.storage import Storage

ID_COLUMN, FILE_COLUMN = "image_id", "file_name"


def adopt_external(
    storage: Storage, folder: str, config: ExternalConfig, images: PreparedImages, digest: str
) -> AnnotatorScores:
    """Calibrate an external annotator on the validation split, measure it, and write it to `folder`.

    With `recalibrate: false` its probabilities stay as they are; the rules for unusable labels still hold.

    Args:
        digest: digest of everything that the result depends on.

    Returns:
        The content of `metrics.json`.

    Raises:
        WrongInputError: a file, column, row or output is missing or wrong; the message names it.
    """
    manifest = AnnotatorManifest(digest=digest, data=images.folder, external=True)
    if config.predictions is not None:
        logits = read_prediction_table(config)
        _require_overlap(logits, images, config.predictions)
        assessment = _assess(TableScorer(logits), images, config)
        save_predictions(storage, folder, logits, assessment, manifest)
        return assessment.scores
    network, spec = load_external_network(config)
    scorer = NetworkScorer(network, spec, output_map=config.output_map)
    assessment = _assess(scorer, images, config)
    save_network(storage, folder, network, spec, assessment, manifest, config.output_map)
    return assessment.scores


def _assess(scorer: Scorer, images: PreparedImages, config: ExternalConfig) -> Assessment:
    """Calibrate on the validation split, measure on validation and test."""
    splits = {split: predict_split(scorer, images, split) for split in HELD_OUT_SPLITS}
    return assess(splits, training=None, recalibrate=config.recalibrate)


def read_prediction_table(config: ExternalConfig) -> dict[str, FloatArray]:
    """Read the CSV that `config` names: logits (19,) by image id; an empty cell is NaN.

    Raises:
        WrongInputError: the file or a column is missing, a cell is not a number or probability, an image is repeated.
    """
    path = Path(str(config.predictions)).expanduser()
    if not path.is_file():
        raise WrongInputError(f"predictions: no such file {path}; correct the path")
    order = config.used_columns()
    # Read as text, so that `_number` applies the words for unknown of all tables.
    as_text = dict.fromkeys([ID_COLUMN, FILE_COLUMN, *map(str, order)], pa.string())
    try:
        table = pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types=as_text))
    except pa.ArrowInvalid as error:
        raise WrongInputError(f"{path}: not a CSV table ({str(error).splitlines()[0]}); correct the file") from error
    for name in map(str, order):
        if name not in table.column_names:
            raise WrongInputError(f"{path}: no column {name!r}; its columns are {', '.join(table.column_names)}")
    raw_BR = np.stack([_numbers(table, str(name), path, config.scores) for name in order], axis=1)
    logit_BV = head_logits(config, raw_BR.astype(np.float32), order)
    ids = _image_ids(table, config, path)
    logits = dict(zip(ids, logit_BV, strict=True))
    if len(logits) < len(ids):
        repeated = next(image_id for row, image_id in enumerate(ids) if image_id in ids[:row])
        raise WrongInputError(f"{path}: image {repeated} has two rows; keep one row per image")
    return logits


def _numbers(table: pa.Table, name: str, path: Path, scores: str) -> NDArray[np.float64]:
    """Return a column as float64, NaN for unknown. Line numbers in messages count the header as line 1."""
    cells = table.column(name).to_pylist()
    return np.array(
        [_number(cell, f"{path}, line {row}, column {name!r}", scores) for row, cell in enumerate(cells, 2)]
    )


def _number(cell: str, where: str, scores: str) -> float:
    """Return the number in a cell, NaN for a word that means unknown."""
    if is_unknown(cell):
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (scores == "probability" and not 0.0 <= value <= 1.0):
        raise WrongInputError(f"{where}: {cell!r} is not a {scores}; correct the cell, or empty it for unknown")
    return value


def _image_ids(table: pa.Table, config: ExternalConfig, path: Path) -> list[str]:
    """Return the image id of each row: its column `image_id`, or computed from the content of the named file."""
    if ID_COLUMN in table.column_names:
        return [str(value) for value in table.column(ID_COLUMN).to_pylist()]
    if FILE_COLUMN not in table.column_names or config.images_folder is None:
        raise WrongInputError(f"{path}: needs a column {ID_COLUMN!r}, or {FILE_COLUMN!r} together with images_folder")
    folder, ids = Path(config.images_folder).expanduser(), []
    for row, name in enumerate(table.column(FILE_COLUMN).to_pylist()):
        file = folder / str(name)
        if not file.is_file():
            raise WrongInputError(f"{path}, line {row + 2}: no such file {file}; correct file_name or images_folder")
        ids.append(image_id(file.read_bytes()))
    return ids


def _require_overlap(logits: Mapping[str, FloatArray], images: PreparedImages, path: str) -> None:
    """Refuse a table that has no image of the validation split: it would fill nothing."""
    batches = read_labels(images.storage, images.folder, "validation")
    if not any(image_id in logits for batch in batches for image_id in batch.image_ids):
        raise WrongInputError(
            f"{path}: none of its images is in the validation split of {images.folder}; give a table of these images"
        )


def load_external_network(config: ExternalConfig) -> tuple[nn.Module, ModelSpec]:
    """Build the network that `config` names, load its weights, and return it with its input settings.

    Raises:
        WrongInputError: unknown architecture, weights that do not fit, or an output number that the model lacks.
    """
    path = Path(str(config.weights)).expanduser()
    tensors = read_weights(str(path))
    if (path / CONFIG).is_file():
        spec = ModelSpec.from_timm_json((path / CONFIG).read_bytes(), str(path / CONFIG))
    else:
        spec = _deduced_spec(config, tensors)
    network = build_annotator(spec.architecture, spec.num_classes, model_args=spec.model_args)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise WrongInputError(
            f"weights: {path} does not fit {spec.architecture} ({lines[-1].strip()}); correct architecture"
        ) from error
    for column in config.used_columns():
        if not 0 <= int(column) < spec.num_classes:
            raise WrongInputError(f"columns: the model has outputs 0 to {spec.num_classes - 1}, not {column}")
    return network, spec


def _deduced_spec(config: ExternalConfig, tensors: Mapping[str, Tensor]) -> ModelSpec:
    """Return timm's input settings of the architecture, and the number of outputs of the head's weights."""
    if config.architecture is None or config.image_size_px is None:
        raise WrongInputError(f"weights: {config.weights} has no {CONFIG}; set architecture and image_size_px")
    known: Any = build_annotator(config.architecture).pretrained_cfg
    head = f"{known['classifier']}.weight"
    if head not in tensors:
        raise WrongInputError(f"weights: {config.weights} has no tensor {head}, the head of {config.architecture}")
    return ModelSpec(
        architecture=config.architecture,
        image_size_px=config.image_size_px,
        num_classes=len(tensors[head]),
        mean=known["mean"],
        std=known["std"],
    )

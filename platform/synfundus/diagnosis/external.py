"""An external annotator in the place of ours: a table of predictions, or any timm model with a column map.

It is calibrated on the validation part as ours is, measured in the same way, and lies in the same place; what was
trained on which images is not known here, so its metrics may be better than it deserves on images that it has seen.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray
from torch import Tensor, nn

from synfundus.diagnosis.annotator import NetworkScorer, Scorer, TableScorer
from synfundus.diagnosis.calibration import Calibration, fit_calibration
from synfundus.diagnosis.checkpoint import CONFIG, save_annotator, save_predictions
from synfundus.diagnosis.external_config import ExternalConfig
from synfundus.diagnosis.metrics import measure_parts, predict_split
from synfundus.diagnosis.model import ModelSpec, build_annotator, read_weights
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.preprocess import image_id
from synfundus.labels import FloatArray
from synfundus.storage import Storage

ID_COLUMN, FILE_COLUMN = "image_id", "file_name"


def adopt_external(storage: Storage, folder: str, config: ExternalConfig, images: PreparedImages) -> dict[str, Any]:
    """Calibrate an external annotator on the validation part, measure it, and write it to `folder`.

    Returns:
        What `metrics.json` holds.

    Raises:
        WrongInputError: a file, column, row or output is missing or wrong; says which.
    """
    facts = {"external": True, "data": images.folder}
    if config.predictions is not None:
        logits = read_predictions(config)
        _require_overlap(logits, images, config.predictions)
        calibration, metrics = _judge(TableScorer(logits), images)
        save_predictions(storage, folder, logits, calibration, metrics, facts)
        return metrics
    network, spec = load_external_network(config)
    scorer = NetworkScorer(network, spec, outputs=config.outputs)
    calibration, metrics = _judge(scorer, images)
    save_annotator(storage, folder, network, spec, calibration, metrics, facts, config.outputs)
    return metrics


def _judge(scorer: Scorer, images: PreparedImages) -> tuple[Calibration, dict[str, Any]]:
    parts = {split: predict_split(scorer, images, split) for split in ("validation", "test")}
    calibration = fit_calibration(parts["validation"], training=None)
    return calibration, measure_parts(parts, calibration)


def read_predictions(config: ExternalConfig) -> dict[str, FloatArray]:
    """Logits (19,) per image id of the CSV that `config` names; an empty cell is NaN.

    Raises:
        WrongInputError: no such file, column missing, a cell that is no number or no probability, an image twice.
    """
    path = Path(str(config.predictions)).expanduser()
    if not path.is_file():
        raise WrongInputError(f"predictions: there is no file {path}")
    try:
        table = pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types={ID_COLUMN: pa.string()}))
    except pa.ArrowInvalid as error:
        raise WrongInputError(f"{path} is no CSV table: {str(error).splitlines()[0]}") from error
    order = config.used()
    for name in map(str, order):
        if name not in table.column_names:
            raise WrongInputError(f"{path} has no column {name!r}; its columns are {', '.join(table.column_names)}")
    raw_BR = np.stack([_numbers(table, str(name), path, config.scores) for name in order], axis=1)
    logit_BV = config.head_logits(raw_BR.astype(np.float32), order)
    ids = _image_ids(table, config, path)
    logits = dict(zip(ids, logit_BV, strict=True))
    if len(logits) < len(ids):
        twice = next(image_id for row, image_id in enumerate(ids) if image_id in ids[:row])
        raise WrongInputError(f"{path} has image {twice} twice; keep one row an image")
    return logits


def _numbers(table: pa.Table, name: str, path: Path, scores: str) -> NDArray[np.float64]:
    """A column as float64; row numbers in messages are those of the file, whose header is line 1."""
    column = table.column(name)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_null(column.type)):
        raise WrongInputError(f"{path}, column {name!r}: holds {column.type}, expected numbers or empty cells")
    values = np.asarray(pc.cast(column, pa.float64()).to_numpy(), np.float64)
    wrong = np.isinf(values) | ((scores == "probability") & ((values < 0) | (values > 1)))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise WrongInputError(f"{path}, line {row + 2}, column {name!r}: {values[row]:g} is no {scores} score")
    return values


def _image_ids(table: pa.Table, config: ExternalConfig, path: Path) -> list[str]:
    """Image ids of the rows: as they stand, or from the content of the named files."""
    if ID_COLUMN in table.column_names:
        return [str(value) for value in table.column(ID_COLUMN).to_pylist()]
    if FILE_COLUMN not in table.column_names or config.images_folder is None:
        raise WrongInputError(f"{path}: needs a column {ID_COLUMN!r}, or {FILE_COLUMN!r} together with images_folder")
    folder, ids = Path(config.images_folder).expanduser(), []
    for row, name in enumerate(table.column(FILE_COLUMN).to_pylist()):
        file = folder / str(name)
        if not file.is_file():
            raise WrongInputError(f"{path}, line {row + 2}: there is no file {file}")
        ids.append(image_id(file.read_bytes()))
    return ids


def _require_overlap(logits: Mapping[str, FloatArray], images: PreparedImages, path: str) -> None:
    """A table for other images would fill nothing and say nothing: refuse it."""
    batches = images.batches("validation", 256)
    if not any(image_id in logits for batch in batches for image_id in batch.image_ids):
        raise WrongInputError(f"{path}: none of its images is in the validation part of {images.folder}")


def load_external_network(config: ExternalConfig) -> tuple[nn.Module, ModelSpec]:
    """The network that `config` names, its weights loaded, and what it expects as input.

    Raises:
        WrongInputError: no architecture, weights that do not fit, an output number that it does not have.
    """
    path = Path(str(config.weights)).expanduser()
    tensors = read_weights(str(path))
    if (path / CONFIG).is_file():
        spec = ModelSpec.from_timm_config(json.loads((path / CONFIG).read_bytes()))
    else:
        spec = _deduced_spec(config, tensors)
    network = build_annotator(spec.architecture, spec.num_classes, **spec.model_args)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise WrongInputError(f"weights: {path} does not fit {spec.architecture}: {lines[-1].strip()}") from error
    for column in config.used():
        if not 0 <= int(column) < spec.num_classes:
            raise WrongInputError(f"columns: the model has outputs 0 to {spec.num_classes - 1}, not {column}")
    return network, spec


def _deduced_spec(config: ExternalConfig, tensors: Mapping[str, Tensor]) -> ModelSpec:
    """Input as timm states it for the architecture; the number of outputs from the head's weights."""
    if config.architecture is None or config.image_size_px is None:
        raise WrongInputError(f"weights: {config.weights} has no {CONFIG}; state architecture and image_size_px")
    known: Mapping[str, Any] = build_annotator(config.architecture).pretrained_cfg  # type: ignore[assignment]
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

"""Write and read annotators below `annotators/<name>/`.

A network is in timm's layout (`config.json`, `model.safetensors`), so that `timm.create_model("local-dir:…",
pretrained=True)` loads it. Beside it lie `calibration.json`, `held_out.parquet`, `metrics.json` and, for an external
network, `outputs.json`. A table of predictions has `predictions.parquet` in place of the network. Nothing is unpickled.
"""

import io
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from synfundus.diagnosis.annotator import Annotator, NetworkScorer, Scorer, TableScorer
from synfundus.diagnosis.assessment import Assessment
from synfundus.diagnosis.calibration import Calibration
from synfundus.diagnosis.config import OperatingPointConfig, OutputMapConfig
from synfundus.diagnosis.held_out import decode_held_out, encode_held_out
from synfundus.diagnosis.manifest import CALIBRATION, CONFIG, HELD_OUT, OUTPUTS, PREDICTIONS, WEIGHTS, AnnotatorManifest
from synfundus.diagnosis.model import ModelSpec, build_annotator
from synfundus.diagnosis.operating_fit import fit_operating_points
from synfundus.digests import canonical_json
from synfundus.labels import HEAD_NAMES, FloatArray
from synfundus.storage import METRICS, Storage, read_manifest, read_record, read_trusted, write_manifest
from synfundus.storage.parquet import open_parquet


def save_network(
    storage: Storage,
    folder: str,
    network: nn.Module,
    spec: ModelSpec,
    assessment: Assessment,
    manifest: AnnotatorManifest,
    output_map: OutputMapConfig | None = None,
) -> AnnotatorManifest:
    """Write a network with its assessment; `output_map` belongs to an external network.

    Returns:
        `manifest`, completed with the files. It is written last.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    contents = {CONFIG: canonical_json(spec.timm_config(network)), WEIGHTS: save_tensors(tensors)}
    if output_map is not None:
        contents[OUTPUTS] = canonical_json(output_map.model_dump(mode="json"))
    return _save(storage, folder, contents, assessment, manifest)


def save_predictions(
    storage: Storage,
    folder: str,
    logits: Mapping[str, FloatArray],
    assessment: Assessment,
    manifest: AnnotatorManifest,
) -> AnnotatorManifest:
    """Write a table of raw logits (19,) by image id (NaN: no logit) with its assessment.

    Returns:
        `manifest`, completed with the files. It is written last.
    """
    ids = sorted(logits)
    columns = {name: pa.array([float(logits[i][v]) for i in ids], pa.float32()) for v, name in enumerate(HEAD_NAMES)}
    sink = io.BytesIO()
    pq.write_table(pa.table({"image_id": pa.array(ids, pa.string()), **columns}), sink, compression="zstd")
    return _save(storage, folder, {PREDICTIONS: sink.getvalue()}, assessment, manifest)


def _save(
    storage: Storage,
    folder: str,
    contents: Mapping[str, bytes],
    assessment: Assessment,
    manifest: AnnotatorManifest,
) -> AnnotatorManifest:
    """Write all files, the manifest last."""
    records = {
        CALIBRATION: assessment.calibration.to_json(),
        HELD_OUT: encode_held_out(assessment.splits),
        METRICS: assessment.scores.to_json(),
    }
    written = [storage.write_once(f"{folder}/{name}", data) for name, data in {**contents, **records}.items()]
    return write_manifest(storage, folder, written, manifest)


def load_annotator(
    storage: Storage,
    folder: str,
    device: torch.device | str = "cpu",
    operating_points: Mapping[str, OperatingPointConfig] | None = None,
) -> Annotator:
    """Load a complete annotator; each file is verified against the manifest.

    Args:
        operating_points: rule by label, see `config.OperatingPointsConfig`; None for the default of every label.

    Raises:
        WrongInputError: the folder is not complete or holds no annotator.
        StorageError: a file differs from its manifest.
    """
    manifest = read_manifest(storage, folder, AnnotatorManifest)

    def read(file: str) -> bytes:
        return read_trusted(storage, folder, file, manifest)

    calibration = read_record(storage, folder, CALIBRATION, manifest, Calibration)
    scorer: Scorer
    if manifest.sees_images:
        spec = ModelSpec.from_timm_json(read(CONFIG), f"{folder}/{CONFIG}")
        network = build_annotator(spec.architecture, spec.num_classes, model_args=spec.model_args)
        network.load_state_dict(load_tensors(read(WEIGHTS)))
        output_map = OutputMapConfig.model_validate_json(read(OUTPUTS)) if OUTPUTS in manifest.files else None
        scorer = NetworkScorer(network, spec, device, output_map)
    else:
        scorer = _load_table(read(PREDICTIONS))
    validation = decode_held_out(read(HELD_OUT))["validation"]
    points = fit_operating_points(operating_points or {}, calibration, validation)
    return Annotator(scorer, calibration, points, manifest.annotator_digest)


def _load_table(data: bytes) -> TableScorer:
    """Read a table of raw logits."""
    table = open_parquet(data).read()
    logit_NV = np.stack([table.column(name).to_numpy() for name in HEAD_NAMES], axis=1)
    return TableScorer(dict(zip(table.column("image_id").to_pylist(), logit_NV, strict=True)))

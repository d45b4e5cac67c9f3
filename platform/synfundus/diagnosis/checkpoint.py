"""Annotators as they lie under `annotators/<name>/`.

A network is in timm's layout (`config.json`, `model.safetensors`), so that `timm.create_model("local-dir:…",
pretrained=True)` loads it; beside it `calibration.json`, `metrics.json`, for an external network `outputs.json`. A
table of predictions has `predictions.parquet` in place of the network. Nothing is unpickled.
"""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from synfundus.diagnosis.annotator import Annotator, NetworkScorer, Scorer, TableScorer
from synfundus.diagnosis.calibration import Calibration
from synfundus.diagnosis.model import WEIGHTS, ModelSpec, build_annotator
from synfundus.diagnosis.outputs import OutputMap
from synfundus.digests import canonical_json, sha256_hex
from synfundus.errors import WrongInputError
from synfundus.labels import HEAD_NAMES, FloatArray
from synfundus.storage import Storage, read_manifest, read_trusted, write_manifest
from synfundus.storage.parquet import open_parquet

CONFIG, CALIBRATION, METRICS = "config.json", "calibration.json", "metrics.json"
OUTPUTS, PREDICTIONS = "outputs.json", "predictions.parquet"
KIND = "annotator"


def save_annotator(
    storage: Storage,
    folder: str,
    network: nn.Module,
    spec: ModelSpec,
    calibration: Calibration,
    metrics: Mapping[str, Any],
    facts: Mapping[str, Any],
    outputs: OutputMap | None = None,
) -> dict[str, Any]:
    """Write a network with its calibration; the manifest comes last and is returned.

    `facts` are further keys of the manifest, equal for equal input. `outputs`: for an external network.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    files = {CONFIG: canonical_json(spec.timm_config(network)), WEIGHTS: save_tensors(tensors)}
    if outputs is not None:
        files[OUTPUTS] = canonical_json(outputs.model_dump(mode="json"))
    return _close(storage, folder, files, calibration, metrics, facts)


def save_predictions(
    storage: Storage,
    folder: str,
    logits: Mapping[str, FloatArray],
    calibration: Calibration,
    metrics: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Write a table of raw logits (image id -> (19,), NaN: none) with its calibration."""
    ids = sorted(logits)
    columns = {name: pa.array([float(logits[i][v]) for i in ids], pa.float32()) for v, name in enumerate(HEAD_NAMES)}
    sink = io.BytesIO()
    pq.write_table(pa.table({"image_id": pa.array(ids, pa.string()), **columns}), sink, compression="zstd")
    return _close(storage, folder, {PREDICTIONS: sink.getvalue()}, calibration, metrics, facts)


def _close(
    storage: Storage,
    folder: str,
    files: Mapping[str, bytes],
    calibration: Calibration,
    metrics: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    judged = {**files, CALIBRATION: canonical_json(calibration.model_dump(mode="json"))}
    # What determines the output, and nothing else: the same weights measured on other images are the same annotator.
    digest = sha256_hex(canonical_json({name: sha256_hex(data) for name, data in judged.items()}))
    judged[METRICS] = canonical_json(metrics)
    written = [storage.write_once(f"{folder}/{name}", data) for name, data in judged.items()]
    return write_manifest(storage, folder, written, {**facts, "kind": KIND, "annotator_digest": digest})


def load_annotator(storage: Storage, folder: str, device: torch.device | str = "cpu") -> Annotator:
    """A complete annotator, each file verified against the manifest.

    Raises:
        WrongInputError: the folder is not complete, or is no annotator.
        StorageError: a file differs from its manifest.
    """
    manifest = read_manifest(storage, folder)
    if manifest.get("kind") != KIND:
        raise WrongInputError(f"{folder} holds {manifest.get('kind')!r}, expected an annotator")

    def read(file: str) -> bytes:
        return read_trusted(storage, folder, file, manifest)

    calibration = Calibration.model_validate_json(read(CALIBRATION))
    scorer: Scorer
    if PREDICTIONS in manifest["files"]:
        scorer = _load_table(read(PREDICTIONS))
    else:
        spec = ModelSpec.from_timm_config(json.loads(read(CONFIG)))
        network = build_annotator(spec.architecture, spec.num_classes, **spec.model_args)
        network.load_state_dict(load_tensors(read(WEIGHTS)))
        outputs = OutputMap.model_validate_json(read(OUTPUTS)) if OUTPUTS in manifest["files"] else None
        scorer = NetworkScorer(network, spec, device, outputs)
    return Annotator(scorer, calibration, manifest["annotator_digest"])


def _load_table(data: bytes) -> TableScorer:
    table = open_parquet(data).read()
    logit_VN = [table.column(name).to_numpy() for name in HEAD_NAMES]
    logit_NV = np.stack(logit_VN, axis=1)
    return TableScorer(dict(zip(table.column("image_id").to_pylist(), logit_NV, strict=True)))

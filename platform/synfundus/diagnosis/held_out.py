"""Logits and experts' labels of held-out images, as the annotator's `held_out.parquet` and `transfer` store them.

Operating points are chosen and measured from this file, so a study can change one without another training. A row
holds an arbitrary number for its patient, no image id and no file name.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from synfundus.fundus.splits import HELD_OUT_SPLITS
from synfundus.labels import HEAD_NAMES, HEADS, LABEL_NAMES, FloatArray, encode_values, expand_known
from synfundus.measures.inputs import Floats, group_index
from synfundus.storage.parquet import open_parquet


@dataclass(frozen=True)
class Predictions:
    """Raw logits and experts' labels of one split."""

    logit_BV: FloatArray
    """Logits (B, 19); NaN where the annotator has no such output."""
    p_BV: FloatArray
    """Experts' labels (B, 19), 0 or 1."""
    expert_BK: NDArray[np.bool_]
    """True (B, 16) where an expert labelled the image."""
    patients: list[str]

    def labelled(self, v: int) -> NDArray[np.bool_]:
        """Return which images (B,) have label and logit for head `v`."""
        return np.asarray(expand_known(self.expert_BK)[:, v] & np.isfinite(self.logit_BV[:, v]))

    def head(self, v: int) -> tuple[NDArray[np.int64], Floats, NDArray[np.str_]]:
        """Return label, logit and patient of the images that have label and logit for head `v`."""
        rows = self.labelled(v)
        y = self.p_BV[rows, v].round().astype(np.int64)
        return y, self.logit_BV[rows, v].astype(np.float64), np.asarray(self.patients, np.str_)[rows]

    def chosen(self, rows: NDArray[np.int64]) -> "Predictions":
        """Return the predictions of some images."""
        patients = [self.patients[row] for row in rows]
        return Predictions(self.logit_BV[rows], self.p_BV[rows], self.expert_BK[rows], patients)


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions of several splits as those of one."""
    return Predictions(
        np.concatenate([part.logit_BV for part in parts]),
        np.concatenate([part.p_BV for part in parts]),
        np.concatenate([part.expert_BK for part in parts]),
        [patient for part in parts for patient in part.patients],
    )


def encode_held_out(splits: Mapping[str, Predictions]) -> bytes:
    """Return the Parquet bytes of the predictions by split."""
    tables = [_table(split, predictions) for split, predictions in splits.items()]
    sink = io.BytesIO()
    pq.write_table(pa.concat_tables(tables), sink, compression="zstd")
    return sink.getvalue()


def _table(split: str, predictions: Predictions) -> pa.Table:
    patient_B = group_index(predictions.patients, len(predictions.patients))
    columns = {"split": pa.array([split] * len(patient_B), pa.string()), "patient": pa.array(patient_B, pa.int64())}
    for k, name in enumerate(LABEL_NAMES):
        value_B = predictions.p_BV[:, HEADS[name]].sum(axis=1).round()
        columns[name] = pa.array(value_B, pa.int8(), mask=~predictions.expert_BK[:, k])
    for v, head in enumerate(HEAD_NAMES):
        columns[f"logit_{head}"] = pa.array(predictions.logit_BV[:, v], pa.float32())
    return pa.table(columns)


def decode_held_out(data: bytes, splits: Sequence[str] | None = HELD_OUT_SPLITS) -> dict[str, Predictions]:
    """Return the predictions by split from bytes of `encode_held_out`.

    `patients` holds the numbers of the patients as text.

    Args:
        splits: names of the splits, which may be empty; None: those that have an image.
    """
    table = open_parquet(data).read()
    split_N = np.asarray(table.column("split").to_pylist(), np.str_)
    p_NV, known_NK = encode_values(table.select(LABEL_NAMES).to_pylist())
    logit_NV = np.stack([table.column(f"logit_{head}").to_numpy() for head in HEAD_NAMES], axis=1)
    patients = [str(number) for number in table.column("patient").to_pylist()]
    names = np.unique(split_N).tolist() if splits is None else splits
    places = {split: np.flatnonzero(split_N == split) for split in names}
    return {
        split: Predictions(logit_NV[rows], p_NV[rows], known_NK[rows], [patients[row] for row in rows])
        for split, rows in places.items()
    }

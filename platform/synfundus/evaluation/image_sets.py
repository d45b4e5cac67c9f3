"""The sets of images that are compared, without their pixels: labels of all, features of those drawn to be looked at.

Images are read once, in batches, and forgotten. What is kept of one: its labels (some 100 bytes), of a photograph its
copy descriptor (0.7 KB), and the features of at most `max_images` of a set.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from synfundus.evaluation.comparison import Part
from synfundus.evaluation.pictures import Sheets
from synfundus.evaluation.strata import Labels
from synfundus.fundus.dataset import PreparedImages, decode_pixels
from synfundus.labels import HEADS, LABEL_NAMES, NUM_LABELS, FloatArray, grade_distribution
from synfundus.measures.copies import Drawn, copy_descriptor
from synfundus.samples.shards import count_accepted, count_drawn, read_samples
from synfundus.storage import Storage

BATCH = 256
Extractor = Callable[[NDArray[np.uint8]], FloatArray]
"""Features (B, D) of uint8 images (B, H, W, 3)."""
Extractors = Mapping[str, Extractor]
"""One for each feature space that is computed."""


@dataclass(frozen=True)
class Photographs:
    """Real images of some parts of a dataset."""

    ids: list[str]
    """(N,) image ids, in the order of the splits and of each split."""
    patients: list[str]
    expert_NK: Labels
    """Experts' values."""
    value_shares: Mapping[str, NDArray[np.float64]]
    """Label: sum over images of the probability of each value, 1 where an expert says so."""
    num_unknown: Mapping[str, int]
    """Label: images of which neither an expert nor the annotator knows it."""
    descriptors_ND: FloatArray
    chosen: NDArray[np.int64]
    """(M,) rows looked at, ascending."""
    features: Mapping[str, FloatArray]
    """Space: (M, D)."""

    def part(self, space: str, rows_M: NDArray[np.bool_]) -> Part:
        """The chosen images for which `rows_M` holds."""
        patients = [self.patients[row] for row in self.chosen[rows_M]]
        return Part(self.features[space][rows_M], patients)


@dataclass(frozen=True)
class Samples:
    """Accepted synthetic images."""

    sample_ids: NDArray[np.int64]
    """(N,)"""
    asked_NK: Labels
    seen_NK: Labels
    score_NK: FloatArray
    """Calibrated probability of the value 1 (of a DR grade of 1 or more); NaN where there is none."""
    chosen: NDArray[np.int64]
    features: Mapping[str, FloatArray]
    descriptors_MD: FloatArray
    files: list[str]
    """(M,) file of each chosen sample."""
    drawn: Drawn
    """All that were drawn, accepted or not."""

    def part(self, space: str, rows_M: NDArray[np.bool_]) -> Part:
        return Part(self.features[space][rows_M], [str(i) for i in self.sample_ids[self.chosen[rows_M]]])


def _draw(num_images: int, max_images: int, seed: int) -> NDArray[np.int64]:
    """At most `max_images` of so many rows, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(num_images)[:max_images])


class _Features:
    """Features of images as they come."""

    def __init__(self, extractors: Extractors) -> None:
        self.extractors = extractors
        self.parts: dict[str, list[FloatArray]] = {space: [] for space in extractors}

    def add(self, images_BHWC: NDArray[np.uint8]) -> None:
        for space, extract in self.extractors.items():
            self.parts[space].append(extract(images_BHWC))

    def joined(self) -> dict[str, FloatArray]:
        empty = np.zeros((0, 1), np.float32)
        return {space: np.concatenate(parts) if parts else empty for space, parts in self.parts.items()}


def _expert_labels(p_BV: FloatArray, expert_BK: NDArray[np.bool_]) -> Labels:
    value_BK = np.stack([p_BV[:, HEADS[name]].sum(axis=1) for name in LABEL_NAMES], axis=1)
    return np.where(expert_BK, np.rint(value_BK), -1).astype(np.int8)


def read_photographs(
    images: PreparedImages,
    splits: tuple[str, ...],
    extractors: Extractors,
    max_images: int,
    seed: int,
    sheets: Sheets | None = None,
) -> Photographs:
    """Read all images of these splits; those that are looked at are offered to `sheets`, too."""
    chosen = _draw(sum(images.num_images(split) for split in splits), max_images, seed)
    features = _Features(extractors)
    ids, patients = list[str](), list[str]()
    experts = [np.zeros((0, NUM_LABELS), np.int8)]
    descriptors = [copy_descriptor(np.zeros((0, images.size_px, images.size_px, 3), np.uint8))]
    shares = {name: np.zeros(2 if k else 5) for k, name in enumerate(LABEL_NAMES)}
    unknown = dict.fromkeys(LABEL_NAMES, 0)
    for batch in (batch for split in splits for batch in images.batches(split, BATCH)):
        expert_BK = _expert_labels(batch.p_BV, batch.expert_BK)
        mine = chosen[(chosen >= len(ids)) & (chosen < len(ids) + len(batch.image_ids))] - len(ids)
        if len(mine):
            features.add(batch.images_BHWC[mine])
            if sheets is not None:
                sheets.add(expert_BK[mine], batch.images_BHWC[mine])
        ids += batch.image_ids
        patients += batch.patients
        experts.append(expert_BK)
        descriptors.append(copy_descriptor(batch.images_BHWC))
        for k, name in enumerate(LABEL_NAMES):
            known_B = batch.known_BK[:, k]
            p_B = batch.p_BV[known_B, HEADS[name]]
            value_B = grade_distribution(p_B) if k == 0 else np.stack([1.0 - p_B[:, 0], p_B[:, 0]], axis=1)
            shares[name] += value_B.sum(axis=0, dtype=np.float64)
            unknown[name] += int((~known_B).sum())
    return Photographs(
        ids,
        patients,
        np.concatenate(experts),
        shares,
        unknown,
        np.concatenate(descriptors),
        chosen,
        features.joined(),
    )


def _label_columns(table: pa.Table, part: str) -> Labels:
    columns = [table.column(f"{part}_{name}").fill_null(-1).to_numpy() for name in LABEL_NAMES]
    return np.stack(columns, axis=1).astype(np.int8)


def _scores(table: pa.Table) -> FloatArray:
    """(N, 16) probability of the value 1, or more for grades; NaN where null."""
    score_NK = np.full((len(table), NUM_LABELS), np.nan, np.float32)
    for k, name in enumerate(LABEL_NAMES):
        for row, value in enumerate(table.column(f"probability_{name}").to_pylist()):
            if value is not None:
                score_NK[row, k] = 1.0 - value[0] if k == 0 else value
    return score_NK


def _sample_batches(table: pa.Table, rows: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    image = table.column("image")
    for start in range(0, len(rows), BATCH):
        yield np.stack([decode_pixels(image[row]["bytes"].as_py()) for row in rows[start : start + BATCH]])


def read_synthetic(
    storage: Storage, folder: str, extractors: Extractors, max_images: int, seed: int, sheets: Sheets
) -> Samples:
    """Read all accepted samples, in the plan's order; those that the seed picks to be looked at go to `sheets`, too."""
    ids, asked, seen, scores = [np.zeros(0, np.int64)], list[Labels](), list[Labels](), list[FloatArray]()
    chosen = _draw(count_accepted(storage, folder), max_images, seed)
    features, files, first = _Features(extractors), list[str](), 0
    descriptors = [copy_descriptor(np.zeros((0, 1, 1, 3), np.uint8))]
    for file, table in read_samples(storage, folder):
        ids.append(table.column("sample_id").to_numpy())
        asked.append(_label_columns(table, "condition"))
        seen.append(_label_columns(table, "annotation"))
        scores.append(_scores(table))
        mine = [int(row) for row in chosen[(chosen >= first) & (chosen < first + len(table))] - first]
        for number, images_BHWC in enumerate(_sample_batches(table, mine)):
            rows = mine[number * BATCH : (number + 1) * BATCH]
            features.add(images_BHWC)
            descriptors.append(copy_descriptor(images_BHWC))
            sheets.add(asked[-1][rows], images_BHWC)
        files += [file] * len(mine)
        first += len(table)
    return Samples(
        np.concatenate(ids),
        np.concatenate(asked) if asked else np.zeros((0, NUM_LABELS), np.int8),
        np.concatenate(seen) if seen else np.zeros((0, NUM_LABELS), np.int8),
        np.concatenate(scores) if scores else np.zeros((0, NUM_LABELS), np.float32),
        chosen,
        features.joined(),
        np.concatenate(descriptors),
        files,
        count_drawn(storage, folder),
    )

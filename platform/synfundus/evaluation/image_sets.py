"""The sets of images that are compared: labels of all images, features of the chosen ones, no pixels.

Only the chosen images are decoded, in batches. Memory holds the labels of every image (about 100 bytes), the copy
descriptor of every photograph (0.5 KB), and the features of at most `max_images` of each set.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from synfundus.copies.detector import CopyDetector
from synfundus.copies.encoder import DESCRIPTOR_DIM
from synfundus.diagnosis.annotator import Annotator
from synfundus.errors import WrongInputError
from synfundus.evaluation.examples import Examples
from synfundus.evaluation.feature_sets import FeatureSet
from synfundus.evaluation.spaces import Extractors
from synfundus.evaluation.strata import Labels
from synfundus.fundus.batches import ImageBatch, LabelBatch
from synfundus.fundus.dataset import PreparedImages, read_labels
from synfundus.fundus.shard import decode_pixels
from synfundus.labels import HEADS, LABEL_NAMES, LABELS, NUM_LABELS, FloatArray, grade_distribution
from synfundus.measures.copies import SampledCounts
from synfundus.measures.spectrum import octave_powers
from synfundus.samples.manifest import SamplesManifest
from synfundus.samples.shards import label_columns, read_samples
from synfundus.samples.verification import count_sampled
from synfundus.storage import Storage, read_manifest

PIXEL_BATCH = 256
"""Samples that are decoded at once."""


@dataclass(frozen=True)
class Photographs:
    """Photographs of some splits of a dataset."""

    ids: list[str]
    """(N,) image ids, split by split in stored order."""
    patients: list[str]
    """(N,)"""
    expert_NK: Labels
    """Experts' labels."""
    value_shares: Mapping[str, NDArray[np.float64]]
    """Sum over images of the probability of each value, by label; an expert's value has probability 1."""
    num_unknown: Mapping[str, int]
    """Images without an expert's or a filled value, by label."""
    descriptors_ND: FloatArray
    """Copy descriptors."""
    chosen: NDArray[np.int64]
    """(M,) rows whose features are compared, ascending."""
    features: Mapping[str, FloatArray]
    """(M, D) features, by space."""
    octave_powers_MO: NDArray[np.float64]
    """Power of the chosen images in each octave."""

    @property
    def groups(self) -> list[str]:
        """(M,) patient of each chosen photograph."""
        return [self.patients[row] for row in self.chosen]

    def feature_set(self, space: str, rows_M: NDArray[np.bool_]) -> FeatureSet:
        """Return the features of those chosen images for which `rows_M` is true."""
        return _feature_set(self, space, rows_M)


@dataclass(frozen=True)
class Predicted:
    """A grader's predictions of samples."""

    value_NK: Labels
    """Annotations; -1 if unknown, also for diseases and side of an image that is not a fundus."""
    score_NK: FloatArray
    """Calibrated probability of the value 1 (of DR grade 1 or more); NaN if there is none."""


@dataclass(frozen=True)
class Samples:
    """Accepted samples."""

    sample_ids: NDArray[np.int64]
    """(N,)"""
    requested_NK: Labels
    """Conditions."""
    predicted_NK: Labels
    """Annotations."""
    score_NK: FloatArray
    """Calibrated probability of the value 1 (of DR grade 1 or more); NaN if there is none."""
    chosen: NDArray[np.int64]
    """(M,) rows whose features are compared, ascending."""
    features: Mapping[str, FloatArray]
    """(M, D) features, by space."""
    octave_powers_MO: NDArray[np.float64]
    """Power of the chosen images in each octave."""
    descriptors_MD: FloatArray
    """Copy descriptors of the chosen samples."""
    files: list[str]
    """(M,) file of each chosen sample."""
    sampled: SampledCounts
    """All samples, accepted or not."""
    judged: Predicted | None = None
    """The judge's predictions of the chosen samples; None if there is no judge."""

    @property
    def groups(self) -> list[str]:
        """(M,) id of each chosen sample, which counts as a patient."""
        return [str(i) for i in self.sample_ids[self.chosen]]

    def feature_set(self, space: str, rows_M: NDArray[np.bool_]) -> FeatureSet:
        """Return the features of those chosen samples for which `rows_M` is true."""
        return _feature_set(self, space, rows_M)


def _feature_set(images: Photographs | Samples, space: str, rows_M: NDArray[np.bool_]) -> FeatureSet:
    return FeatureSet(images.features[space][rows_M], list(compress(images.groups, rows_M)))


def chosen_features(images: Photographs | Samples, space: str) -> FeatureSet:
    """Return the features of all chosen images."""
    return FeatureSet(images.features[space], images.groups)


@dataclass(frozen=True)
class ComparedSets:
    """The sets of images that the protocol compares."""

    reference: Photographs
    """Photographs of the training split."""
    held_out: Photographs
    """Photographs of validation and test, of other patients."""
    samples: Samples
    size_px: int
    """Side of all images in pixels."""

    def __post_init__(self) -> None:
        """Refuse sets of photographs that share a patient.

        Raises:
            WrongInputError: a patient is in both.
        """
        shared = set(self.reference.patients) & set(self.held_out.patients)
        if shared:
            raise WrongInputError(
                f"the prepared dataset has {len(shared)} patients both in the training split and in a held-out split;"
                " prepare the photographs again"
            )


def _choose(num_images: int, max_images: int, seed: int) -> NDArray[np.int64]:
    """Return at most `max_images` rows of `num_images`, chosen at random, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(num_images)[:max_images])


class _Features:
    """Features of images in all spaces, and their power in each octave, batch by batch."""

    def __init__(self, extractors: Extractors) -> None:
        self.extractors = extractors
        self.batches: dict[str, list[FloatArray]] = {space: [] for space in extractors}
        self.powers: list[NDArray[np.float64]] = []

    def add(self, images_BHWC: NDArray[np.uint8]) -> None:
        self.powers.append(octave_powers(images_BHWC))
        for space, extract in self.extractors.items():
            self.batches[space].append(extract(images_BHWC))

    def joined(self) -> dict[str, FloatArray]:
        empty = np.zeros((0, 1), np.float32)
        return {space: np.concatenate(batches) if batches else empty for space, batches in self.batches.items()}

    def joined_powers(self) -> NDArray[np.float64]:
        return np.concatenate(self.powers) if self.powers else np.zeros((0, 0))


class _LabelCounts:
    """Number of photographs with each value of each label, batch by batch."""

    def __init__(self) -> None:
        self.value_shares = {label.name: np.zeros(label.max_value + 1) for label in LABELS}
        self.num_unknown = dict.fromkeys(LABEL_NAMES, 0)

    def add(self, batch: LabelBatch) -> None:
        for k, name in enumerate(LABEL_NAMES):
            known_B = batch.known_BK[:, k]
            p_B = batch.p_BV[known_B, HEADS[name]]
            value_B = grade_distribution(p_B) if k == 0 else np.stack([1.0 - p_B[:, 0], p_B[:, 0]], axis=1)
            self.value_shares[name] += value_B.sum(axis=0, dtype=np.float64)
            self.num_unknown[name] += int((~known_B).sum())


def _expert_labels(batch: LabelBatch) -> Labels:
    value_BK = np.stack([batch.p_BV[:, HEADS[name]].sum(axis=1) for name in LABEL_NAMES], axis=1)
    return np.where(batch.expert_BK, np.rint(value_BK), -1).astype(np.int8)


class _SampleLabels:
    """Ids and labels of samples, table by table."""

    def __init__(self) -> None:
        none = np.zeros((0, NUM_LABELS), np.int8)
        self.ids, self.scores = [np.zeros(0, np.int64)], [none.astype(np.float32)]
        self.requested, self.predicted = [none], [none]

    def add(self, table: pa.Table) -> Labels:
        """Take the labels of a table, and return those that were requested."""
        self.ids.append(table.column("sample_id").to_numpy())
        self.requested.append(label_columns(table, "condition"))
        self.predicted.append(label_columns(table, "annotation"))
        self.scores.append(_scores(table))
        return self.requested[-1]


class _Judged:
    """The judge's predictions of samples, batch by batch."""

    def __init__(self, judge: Annotator | None) -> None:
        self.judge = judge
        self.values, self.scores = [np.zeros((0, NUM_LABELS), np.int8)], [np.zeros((0, NUM_LABELS), np.float32)]

    def add(self, images_BHWC: NDArray[np.uint8]) -> None:
        if self.judge is None:
            return
        output = self.judge.predict(images_BHWC)
        rows = [[-1 if (value := row[name]) is None else value for name in LABEL_NAMES] for row in output.annotations]
        self.values.append(np.asarray(rows, np.int8))
        self.scores.append(output.probability_BV[:, [HEADS[name].start for name in LABEL_NAMES]])

    def joined(self) -> Predicted | None:
        if self.judge is None:
            return None
        return Predicted(np.concatenate(self.values), np.concatenate(self.scores))


def read_photographs(
    images: PreparedImages,
    splits: tuple[str, ...],
    descriptors: Mapping[str, FloatArray],
    extractors: Extractors,
    max_images: int,
    seed: int,
    examples: Examples | None = None,
) -> Photographs:
    """Read the labels of these splits, and the pixels of the chosen images, from which `examples` collects.

    Args:
        descriptors: copy descriptors of every split of `images`.
    """
    chosen = _choose(sum(images.num_images(split) for split in splits), max_images, seed)
    features, counts = _Features(extractors), _LabelCounts()
    ids, patients, experts = list[str](), list[str](), [np.zeros((0, NUM_LABELS), np.int8)]
    for batch in (batch for split in splits for batch in read_labels(images.storage, images.folder, split)):
        ids += batch.image_ids
        patients += batch.patients
        experts.append(_expert_labels(batch))
        counts.add(batch)
    for pixels in _chosen_batches(images, splits, chosen):
        features.add(pixels.images_BHWC)
        if examples is not None:
            examples.add(_expert_labels(pixels), pixels.images_BHWC)
    return Photographs(
        ids,
        patients,
        np.concatenate(experts),
        counts.value_shares,
        counts.num_unknown,
        np.concatenate([descriptors[split] for split in splits]),
        chosen,
        features.joined(),
        features.joined_powers(),
    )


def _chosen_batches(images: PreparedImages, splits: tuple[str, ...], chosen: NDArray[np.int64]) -> Iterator[ImageBatch]:
    """Yield the chosen images with their pixels, in batches; rows of `chosen` count through the splits."""
    first = 0
    for split in splits:
        end = first + images.num_images(split)
        rows = chosen[(chosen >= first) & (chosen < end)] - first
        yield from images.batches_of(split, rows)
        first = end


def _scores(table: pa.Table) -> FloatArray:
    """Return the probability of the value 1, or of a grade of 1 or more, (N, 16); NaN if null."""
    score_NK = np.full((len(table), NUM_LABELS), np.nan, np.float32)
    for k, name in enumerate(LABEL_NAMES):
        for row, value in enumerate(table.column(f"probability_{name}").to_pylist()):
            if value is not None:
                score_NK[row, k] = 1.0 - value[0] if k == 0 else value
    return score_NK


def _pixel_batches(table: pa.Table, rows: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    image = table.column("image")
    for start in range(0, len(rows), PIXEL_BATCH):
        yield np.stack([decode_pixels(image[row]["bytes"].as_py()) for row in rows[start : start + PIXEL_BATCH]])


def read_accepted_samples(
    storage: Storage,
    folder: str,
    detector: CopyDetector,
    extractors: Extractors,
    max_images: int,
    seed: int,
    examples: Examples,
    judge: Annotator | None = None,
) -> Samples:
    """Read all accepted samples in the order of their files; `examples` collects from the chosen ones."""
    chosen = _choose(read_manifest(storage, folder, SamplesManifest).summary.num_accepted, max_images, seed)
    labels, descriptors = _SampleLabels(), [np.zeros((0, DESCRIPTOR_DIM), np.float32)]
    features, judged, files, first = _Features(extractors), _Judged(judge), list[str](), 0
    for file, table in read_samples(storage, folder):
        requested_NK = labels.add(table)
        in_file = [int(row) for row in chosen[(chosen >= first) & (chosen < first + len(table))] - first]
        for number, images_BHWC in enumerate(_pixel_batches(table, in_file)):
            features.add(images_BHWC)
            judged.add(images_BHWC)
            descriptors.append(detector.descriptors(images_BHWC))
            examples.add(requested_NK[in_file[number * PIXEL_BATCH : (number + 1) * PIXEL_BATCH]], images_BHWC)
        files += [file] * len(in_file)
        first += len(table)
    return Samples(
        np.concatenate(labels.ids),
        np.concatenate(labels.requested),
        np.concatenate(labels.predicted),
        np.concatenate(labels.scores),
        chosen,
        features.joined(),
        features.joined_powers(),
        np.concatenate(descriptors),
        files,
        count_sampled(storage, folder),
        judged.joined(),
    )

"""Simulated studies of the report's numbers about samples, whose true values are known.

Their sizes are those of studies that were run: 432 photographs of 216 patients (the demo's test split) and 106
photographs of 67 patients (a study of real photographs), each with 512 samples. Half of the variance of a number or a
feature is common to the photographs of a patient.

Precision, recall, density, coverage, Vendi scores and twins depend on the number of images and have no closed form.
Their true value is the mean over 300 to 1000 other simulated studies of the same size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from synfundus.diagnosis.held_out import Predictions
from synfundus.evaluation.comparison import compare
from synfundus.evaluation.feature_sets import FeatureSet
from synfundus.evaluation.sensitivity import SPECIFICITY, compare_sensitivities
from synfundus.evaluation.strata import GROUPS
from synfundus.evaluation.variety import compare_nearest_other, compare_vendi
from synfundus.labels import HEADS, LABEL_NAMES, NUM_LABELS, NUM_VALUES
from synfundus.measures import two_samples
from synfundus.measures.inputs import Floats
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import MeasureName
from synfundus.measures.prevalence import true_share
from synfundus.measures.statistics import proportion
from synfundus.measures.two_samples import mean_difference
from synfundus.seeds import random_numbers

NUM_STUDIES = 1000
NUM_FAST_STUDIES = 4000
NUM_SAMPLES = 512
NUM_FEATURES = 16
ALIKE = 0.5
"""Share of the variance that the photographs of a patient have in common."""


@dataclass(frozen=True)
class Study:
    """Simulated study that measures several numbers, with their true values."""

    name: str
    truths: Mapping[str, float]
    draw: Callable[[np.random.Generator], Mapping[str, Measure]] = field(repr=False)
    num_draws: int = NUM_STUDIES

    def covered(self, draws: Sequence[int]) -> dict[str, tuple[int, int]]:
        """Return, for each number, the measurable studies and those whose interval contains the true value."""
        counts = {name: [0, 0] for name in self.truths}
        for draw in draws:
            measures = self.draw(random_numbers("interval coverage", self.name, draw))
            for name, truth in self.truths.items():
                if measures[name].measurable:
                    _, low, high = measures[name].interval
                    counts[name][0] += 1
                    counts[name][1] += low - 1e-12 <= truth <= high + 1e-12
        return {name: (measurable, covered) for name, (measurable, covered) in counts.items()}


@dataclass(frozen=True)
class Size:
    """Number of photographs and of their patients."""

    num_images: int
    num_patients: int

    @property
    def words(self) -> str:
        return f"{self.num_images} photographs"

    @property
    def patients(self) -> NDArray[np.int64]:
        """Patient (N,) of each photograph: one or two of each."""
        return np.arange(self.num_images) % self.num_patients

    def normal(self, rng: np.random.Generator, *size: int) -> Floats:
        """Return standard normal numbers (N, *size), alike in the photographs of a patient."""
        of_patient = rng.normal(size=(self.num_patients, *size))[self.patients]
        return np.asarray(np.sqrt(ALIKE) * of_patient + np.sqrt(1.0 - ALIKE) * rng.normal(size=of_patient.shape))


REAL, DEMO = Size(106, 67), Size(432, 216)

SHIFTS = {"photographs": {"subtle": 1.5, "widespread": 2.0}, "samples": {"subtle": 1.0, "widespread": 1.8}}
"""Distance of the scores with and without the finding, in standard deviations."""
WITH_FINDING = 0.2


def _sensitivities(size: Size) -> Study:
    """Return means over four diseases, and one of them; the diseases of an image share a third of their noise."""
    columns = {key: [LABEL_NAMES.index(name) for name in group.diseases] for key, group in GROUPS.items()}

    def graded(normal: Callable[..., Floats], of: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        common, noise_NK, finding_NK = normal(1), normal(NUM_LABELS), normal(NUM_LABELS)
        score_NK = np.sqrt(1 / 3) * common + np.sqrt(2 / 3) * noise_NK
        labels_NK = np.full(score_NK.shape, -1, np.int8)
        for key, shift in SHIFTS[of].items():
            labels_NK[:, columns[key]] = finding_NK[:, columns[key]] > norm.isf(WITH_FINDING)
            score_NK[:, columns[key]] += shift * labels_NK[:, columns[key]]
        return labels_NK, score_NK.astype(np.float32)

    def draw(rng: np.random.Generator) -> Mapping[str, Measure]:
        labels_NK, score_NK = graded(lambda *shape: size.normal(rng, *shape), "photographs")
        logits = np.full((len(labels_NK), NUM_VALUES), np.nan, np.float32)
        p = np.zeros((len(labels_NK), NUM_VALUES), np.float32)
        for k, name in enumerate(LABEL_NAMES):
            logits[:, HEADS[name].start], p[:, HEADS[name].start] = score_NK[:, k], labels_NK[:, k] == 1
        photographs = Predictions(logits, p, labels_NK >= 0, [str(i) for i in size.patients])
        samples = graded(lambda *shape: rng.normal(size=(NUM_SAMPLES, *shape)), "samples")
        found = compare_sensitivities({"test": photographs}, *samples, {}, 0)
        disease, subtle = found.diseases[next(iter(GROUPS["subtle"].diseases))], found.groups["subtle"]
        return {
            f"sensitivity, one disease, photographs, {size.words}": disease.photographs,
            f"sensitivity, one disease, samples - photographs, {size.words}": disease.difference,
            f"sensitivity, mean of 4 diseases, photographs, {size.words}": subtle.photographs,
            f"sensitivity, mean of 4 diseases, samples - photographs, {size.words}": subtle.difference,
            f"sensitivity, subtle - widespread, {size.words}": found.contrast,
        }

    true = {of: {key: _sensitivity(shift) for key, shift in shifts.items()} for of, shifts in SHIFTS.items()}
    subtle, widespread = (true["samples"][key] - true["photographs"][key] for key in ("subtle", "widespread"))
    truths = {
        f"sensitivity, one disease, photographs, {size.words}": true["photographs"]["subtle"],
        f"sensitivity, one disease, samples - photographs, {size.words}": subtle,
        f"sensitivity, mean of 4 diseases, photographs, {size.words}": true["photographs"]["subtle"],
        f"sensitivity, mean of 4 diseases, samples - photographs, {size.words}": subtle,
        f"sensitivity, subtle - widespread, {size.words}": subtle - widespread,
    }
    num_draws = NUM_STUDIES + 20  # a few have too few photographs with the finding
    return Study(f"sensitivity at matched specificity, {size.words}", truths, draw, num_draws)


def _sensitivity(shift: float) -> float:
    return float(norm.sf(norm.ppf(SPECIFICITY) - shift))


def _sets(size: Size, rng: np.random.Generator, spread: float) -> list[FeatureSet]:
    """Return 800 training photographs, the held-out photographs, and samples of this standard deviation."""
    training = Size(800, 400)
    made = (spread * rng.normal(size=(NUM_SAMPLES, NUM_FEATURES))).astype(np.float32)
    return [
        FeatureSet(training.normal(rng, NUM_FEATURES).astype(np.float32), [f"t{i}" for i in training.patients]),
        FeatureSet(size.normal(rng, NUM_FEATURES).astype(np.float32), [f"h{i}" for i in size.patients]),
        FeatureSet(made, [str(i) for i in range(NUM_SAMPLES)]),
    ]


def _variety(size: Size, ratio: float, twins: float, median_ratio: float) -> Study:
    """Return the measures of variety of samples that are as varied as photographs."""

    def draw(rng: np.random.Generator) -> Mapping[str, Measure]:
        reference, held_out, samples = _sets(size, rng, 1.0)
        seed = int(rng.integers(2**31))
        nearest = compare_nearest_other(held_out, samples, min_images=50, seed=seed)
        return {
            f"Vendi ratio, {size.words}": compare_vendi(reference, held_out, samples, min_images=50, seed=seed).ratio,
            f"share of twins, {size.words}": nearest.twins,
            f"ratio of median distances, {size.words}": nearest.median_ratio,
        }

    truths = dict(
        zip(("Vendi ratio", "share of twins", "ratio of median distances"), (ratio, twins, median_ratio), strict=True)
    )
    return Study(f"variety, {size.words}", {f"{name}, {size.words}": value for name, value in truths.items()}, draw)


def _fidelity(size: Size, spread: float, shares: Mapping[MeasureName, float], recall_difference: float) -> Study:
    """Return the measures of fidelity of samples whose features have this standard deviation.

    The kernel of two independent images of the standard deviations a and b has the mean 1 + 3 a^2 b^2 / D, so the true
    kernel distance is 3 (1 - spread^2)^2 / D.
    """
    words = "as varied" if spread == 1.0 else "less varied"

    def draw(rng: np.random.Generator) -> Mapping[str, Measure]:
        seed = int(rng.integers(2**31))
        found = compare(*_sets(size, rng, spread), min_images=50, num_neighbours=5, seed=seed)
        return {
            f"kid, photographs beside samples {words}": found.held_out.kid,
            f"kid, difference, samples {words}": found.difference.kid,
            f"recall, difference, samples {words}": found.difference.recall,
            **{f"{name}, samples {words}": measure for name, measure in found.synthetic.items()},
        }

    distance = 3.0 * (1.0 - spread**2) ** 2 / NUM_FEATURES
    truths = {
        f"kid, photographs beside samples {words}": 0.0,
        f"kid, samples {words}": distance,
        f"kid, difference, samples {words}": distance,
        **{f"{name}, samples {words}": value for name, value in shares.items()},
        f"recall, difference, samples {words}": recall_difference,
    }
    return Study(f"fidelity, samples {words}", truths, draw)


def _means(size: Size) -> Study:
    """Return the difference of the means of two skewed distributions, such as sizes of the optic disc."""

    def draw(rng: np.random.Generator) -> Mapping[str, Measure]:
        photographs, samples = np.exp(0.5 * size.normal(rng)), np.exp(0.5 * rng.normal(size=NUM_SAMPLES))
        with patch.object(two_samples, "NUM_PERMUTATIONS", 1):  # the interval needs none
            measure = mean_difference(samples, photographs, None, size.patients).measure
        return {f"difference of skewed means, {size.words}": measure}

    return Study(f"means, {size.words}", {f"difference of skewed means, {size.words}": 0.0}, draw)


def _finding(num_samples: int, share: float) -> Study:
    """Return the presence of a finding, from a detector tested on 90 phantoms with it and 510 without."""
    name, sensitivity, specificity = f"finding in {100 * share:g} % of {num_samples} samples", 0.97, 0.99
    detected = share * sensitivity + (1.0 - share) * (1.0 - specificity)

    def draw(rng: np.random.Generator) -> Mapping[str, Measure]:
        parts = [
            proportion(rng.random(n) < p) for n, p in ((num_samples, detected), (90, sensitivity), (510, specificity))
        ]
        return {name: true_share(*parts)}

    return Study(name, {name: share}, draw, NUM_FAST_STUDIES)


def _copies(size: Size, share: float, words: str) -> Study:
    """Return the share of photographs that the copy detector takes for copies."""

    def draw(rng: np.random.Generator) -> Mapping[str, Measure]:
        return {words: proportion(size.normal(rng) > norm.isf(share), size.patients)}

    return Study(words, {words: share}, draw, NUM_FAST_STUDIES)


def studies() -> list[Study]:
    """Return all named studies."""
    as_varied: dict[MeasureName, float] = {"precision": 0.8794, "recall": 0.8833, "density": 0.9825, "coverage": 0.9694}
    less: dict[MeasureName, float] = {"precision": 0.9884, "recall": 0.5624, "density": 2.2366, "coverage": 0.9963}
    return [
        _finding(100, 0.9),
        _finding(100, 1.0),
        _finding(400, 0.02),
        _copies(Size(300, 200), 0.98, "altered copies found, 98 % of 300"),
        _copies(DEMO, 0.01, "photographs rejected as copies, 1 % of 432"),
        _means(REAL),
        _means(DEMO),
        _sensitivities(REAL),
        _sensitivities(DEMO),
        _fidelity(REAL, 1.0, as_varied, recall_difference=0.0156),
        _fidelity(REAL, 0.8, less, recall_difference=-0.3062),
        _variety(REAL, ratio=1.0176, twins=0.0606, median_ratio=0.9991),
    ]

"""Measure how often stated 95 % intervals contain the true value, in simulated studies whose truth is known.

    OMP_NUM_THREADS=1 python tests/benchmarks/interval_coverage.py [PART ...]

A study has patients with two images each. Images of a patient are alike, and the two arms find the same images hard.
Scores are binormal, so every true value is an integral. Of each design 1000 studies are drawn, or 4000 where an
interval needs no bootstrap, and each interval is computed as the report computes it. `report_studies` adds the numbers
about samples. Writes tests/benchmarks/results/coverage_cpu2_202611.md. With PART, only the rows whose name has one of
these parts are computed, and the other rows of that file stay.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from report_studies import studies
from scipy.special import expit, logit
from scipy.stats import binomtest, norm

from synfundus.measures.difference import independent_difference
from synfundus.measures.fixed_rate import sensitivity_at
from synfundus.measures.inputs import Floats
from synfundus.measures.intervals import exact_upper_bound
from synfundus.measures.mean_auc import LabelledImages, mean_auc, mean_auc_difference
from synfundus.measures.measure import Measure
from synfundus.measures.metric_names import MetricName
from synfundus.measures.paired import paired_difference, seed_mean
from synfundus.measures.statistics import proportion, ratio_of_means
from synfundus.measures.two_samples import mean_difference
from synfundus.seeds import random_numbers

NUM_DRAWS = 1000
NUM_FAST_DRAWS = 4000
"""Studies where an interval needs no bootstrap."""
GRADE_CUTS = norm.ppf([0.5, 0.7, 0.85, 0.95])
"""Thresholds of the latent severity, so that half of the images have grade 0 and a twentieth grade 4."""
THRESHOLD = 0.8
"""Score above which an image is predicted positive."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(31)
"""Nodes and weights of the mean over a normal number, such as the quality of a network of a random seed."""
GRID = np.linspace(-9.0, 14.0, 46_001)


@dataclass(frozen=True)
class Design:
    """Simulated study: patients with two images each, and networks of one or two arms."""

    metric: MetricName
    num_patients: int
    quality: float
    """Distance of the two classes in standard deviations; for grades, minus the logarithm of the noise."""
    other_quality: float | None = None
    """Quality of the second arm; None: no comparison."""
    num_seeds: int = 1
    seed_sd: float = 0.0
    """Standard deviation of the quality between seeds, of each arm on its own."""
    prevalence: float = 0.3
    alike: float = 0.5
    """Share of the variance that two images of one patient have in common."""
    shared: float = 0.6
    """Share of the variance that all networks have in common on an image."""
    overconfidence: float = 1.0
    """Factor of the predicted log odds; 1 is calibrated."""

    def draw(self, rng: np.random.Generator) -> Measure:
        """Return the interval of one study."""
        y, arms, patients = self.simulate(rng)
        if len(arms) == 1:
            return seed_mean(self.metric, y, arms[0], patients)
        return paired_difference(self.metric, y, arms[0], arms[1], patients).measure

    def simulate(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], list[Floats], NDArray[np.int64]]:
        """Return labels (N,), the predictions (S, N) of each arm, and the patients (N,)."""
        patients = np.repeat(np.arange(self.num_patients), 2)

        def normal(*size: int) -> Floats:
            """Return standard normal numbers (*size, N), alike in the images of a patient."""
            of_patient = rng.normal(size=(*size, self.num_patients))[..., patients]
            own = rng.normal(size=(*size, len(patients)))
            return np.asarray(np.sqrt(self.alike) * of_patient + np.sqrt(1.0 - self.alike) * own)

        severity, common = normal(), normal()
        is_grade = self.metric == "quadratic_kappa"
        y = np.digitize(severity, GRADE_CUTS) if is_grade else (severity > norm.isf(self.prevalence)).astype(np.int64)
        arms = []
        for quality in [self.quality] if self.other_quality is None else [self.quality, self.other_quality]:
            quality_S1 = quality + self.seed_sd * rng.normal(size=(self.num_seeds, 1))
            noise_SN = np.sqrt(self.shared) * common + np.sqrt(1.0 - self.shared) * normal(self.num_seeds)
            score_SN = severity + np.exp(-quality_S1) * noise_SN if is_grade else quality_S1 * y + noise_SN
            arms.append(self._prediction(score_SN, quality))
        return y, arms, patients

    def _prediction(self, score: Floats, quality: float) -> Floats:
        """Return what the metric takes: scores, decisions, grades, or probabilities of a network of this quality."""
        if self.metric == "quadratic_kappa":
            return np.digitize(score, GRADE_CUTS).astype(np.float64)
        if self.metric == "ece":
            log_odds = logit(self.prevalence) + quality * (score - quality / 2.0)
            return np.asarray(expit(self.overconfidence * log_odds))
        return score if self.metric in ("auc", "average_precision") else (score > THRESHOLD).astype(np.float64)

    def truth(self) -> float:
        """Return the true mean over all patients and seeds, or the true difference of the arms."""
        first = self._mean_over_seeds(self.quality)
        return first if self.other_quality is None else first - self._mean_over_seeds(self.other_quality)

    def _mean_over_seeds(self, quality: float) -> float:
        values = [self._value(quality + self.seed_sd * node, quality) for node in NODES] if self.seed_sd else []
        return float(WEIGHTS @ values / WEIGHTS.sum()) if values else self._value(quality, quality)

    def _value(self, quality: float, believed: float) -> float:
        """Return the metric of a network of this quality; probabilities are those of the quality that it believes."""
        p, sensitivity, alarms = self.prevalence, norm.sf(THRESHOLD - quality), norm.sf(THRESHOLD)
        if self.metric == "auc":
            return float(norm.cdf(quality / np.sqrt(2.0)))
        if self.metric == "accuracy":
            return float(p * sensitivity + (1.0 - p) * (1.0 - alarms))
        if self.metric == "precision":
            return float(p * sensitivity / (p * sensitivity + (1.0 - p) * alarms))
        if self.metric == "recall":
            return float(sensitivity)
        if self.metric == "f1":
            return float(2.0 * p * sensitivity / (p + p * sensitivity + (1.0 - p) * alarms))
        if self.metric == "average_precision":
            hits, false_alarms = norm.sf(GRID - quality), norm.sf(GRID)
            precision = p * hits / (p * hits + (1.0 - p) * false_alarms)
            return float(np.trapezoid(precision * norm.pdf(GRID - quality), GRID))
        return self._kappa(quality) if self.metric == "quadratic_kappa" else self._ece(quality, believed)

    def _ece(self, quality: float, believed: float) -> float:
        positive = self.prevalence * norm.pdf(GRID - quality)
        density = positive + (1.0 - self.prevalence) * norm.pdf(GRID)
        probability = self._prediction(GRID, believed)
        gap = (probability * density - positive) * (GRID[1] - GRID[0])
        return float(np.abs(np.bincount(np.minimum((probability * 10).astype(np.int64), 9), gap)).sum())

    def _kappa(self, quality: float) -> float:
        edges = np.r_[-np.inf, GRADE_CUTS, np.inf]
        below = norm.cdf((edges[:, None] - GRID) / np.exp(-quality))  # (6, grid): chance of a score below each cut
        mass = np.diff(below, axis=0) * norm.pdf(GRID) * (GRID[1] - GRID[0])
        grade = np.digitize(GRID, GRADE_CUTS)
        observed = np.stack([np.bincount(grade, row, 5) for row in mass], axis=1)
        expected = observed.sum(1)[:, None] * observed.sum(0) / observed.sum()
        cost = (np.arange(5)[:, None] - np.arange(5)) ** 2
        return float(1.0 - (cost * observed).sum() / (cost * expected).sum())


@dataclass(frozen=True)
class Estimand:
    """A number whose interval is stated, with its true value and a study that estimates it."""

    name: str
    truth: float
    draw: Callable[[np.random.Generator], Measure] = field(repr=False)
    num_draws: int = NUM_FAST_DRAWS

    def covered(self, draws: Sequence[int]) -> tuple[int, int]:
        """Return the numbers of measurable studies and of those whose interval contains the true value."""
        measurable = covered = 0
        for draw in draws:
            measure = self.draw(random_numbers("interval coverage", self.name, draw))
            if measure.measurable:
                _, low, high = measure.interval
                measurable += 1
                covered += low - 1e-12 <= self.truth <= high + 1e-12
        return measurable, covered


def _designed(name: str, design: Design) -> Estimand:
    return Estimand(name, design.truth(), design.draw, NUM_FAST_DRAWS if design.metric == "auc" else NUM_DRAWS)


def _single_arm() -> list[Estimand]:
    """Return metrics of one network and of three seeds, with two images a patient."""
    qualities: dict[MetricName, float] = {"quadratic_kappa": 0.4}
    names: tuple[MetricName, ...] = ("accuracy", "precision", "recall", "f1", "average_precision", "quadratic_kappa")
    out = [
        _designed("AUC 0.86, 40 patients", Design("auc", 40, 1.5)),
        _designed("AUC 0.86, 200 patients", Design("auc", 200, 1.5)),
        _designed("AUC 0.98, 120 patients", Design("auc", 120, 3.0)),
        _designed("AUC, 5 % prevalence, 150 patients", Design("auc", 150, 1.5, prevalence=0.05)),
    ]
    for name in names:
        out.append(_designed(f"{name}, 120 patients", Design(name, 120, qualities.get(name, 1.5))))
    for factor, words in ((1.0, "calibrated"), (1.5, "overconfident"), (3.0, "very overconfident")):
        for n in (120, 600):
            out.append(_designed(f"ece, {words}, {n} patients", Design("ece", n, 1.5, overconfidence=factor)))
    for name in ("auc", *names, "ece"):
        quality, spread = qualities.get(name, 1.5), 0.05 if name == "quadratic_kappa" else 0.2
        design = Design(name, 120, quality, num_seeds=3, seed_sd=spread, overconfidence=1.5)
        out.append(_designed(f"{name}, mean of 3 seeds, 120 patients", design))
    few = Design("auc", 27, 2.9, num_seeds=3, seed_sd=0.4, prevalence=0.5)
    return [*out, _designed("AUC 0.98, mean of 3 seeds, 27 patients", few)]


def _differences() -> list[Estimand]:
    """Return paired differences of two arms, of one and of several seeds."""
    names: tuple[MetricName, ...] = (
        "auc", "average_precision", "accuracy", "precision", "recall", "f1", "quadratic_kappa", "ece",
    )  # fmt: skip
    out = [
        _designed("difference of AUC, none, 40 patients", Design("auc", 40, 1.5, 1.5)),
        _designed("difference of AUC 0.98 and 0.92, 120 patients", Design("auc", 120, 3.0, 2.0)),
        _designed("difference of AUC, 10 seeds", Design("auc", 120, 1.5, 1.0, num_seeds=10, seed_sd=0.2)),
    ]
    for name in names:
        first, second = (0.4, 0.1) if name == "quadratic_kappa" else (1.5, 1.0)
        spread = 0.05 if name == "quadratic_kappa" else 0.2
        one = Design(name, 120, first, second, overconfidence=1.5)
        three = Design(name, 120, first, second, num_seeds=3, seed_sd=spread, overconfidence=1.5)
        out += [_designed(f"difference of {name}", one), _designed(f"difference of {name}, 3 seeds", three)]
    for words, second in (("none", 2.9), ("0.98 and 0.92", 2.0)):
        few = Design("auc", 27, 2.9, second, num_seeds=3, seed_sd=0.4, prevalence=0.5)
        out.append(_designed(f"difference of AUC, {words}, 3 seeds, 27 patients", few))
    return out


LABEL_PREVALENCES = (0.4, 0.3, 0.3, 0.2, 0.2, 0.15, 0.1, 0.1)
"""Labels of a study of the mean AUC; the rarest ones have about 20 patients of 120."""


def _mean_auc() -> list[Estimand]:
    """Return the mean AUC of eight labels and its difference, of three seeds."""
    mean = Design("auc", 120, 1.5, num_seeds=3, seed_sd=0.2)
    pair = Design("auc", 120, 1.5, 1.0, num_seeds=3, seed_sd=0.2)
    none = Design("auc", 120, 1.5, 1.5, num_seeds=3, seed_sd=0.2)
    return [
        Estimand("mean AUC of 8 labels, 3 seeds", mean.truth(), lambda rng: _labels(rng, mean), NUM_DRAWS),
        Estimand(
            "difference of mean AUC of 8 labels, 3 seeds", pair.truth(), lambda rng: _labels(rng, pair), NUM_DRAWS
        ),
        Estimand("difference of mean AUC of 8 labels, none, 3 seeds", 0.0, lambda rng: _labels(rng, none), NUM_DRAWS),
    ]


def _labels(rng: np.random.Generator, design: Design) -> Measure:
    """Return the interval of a study whose labels, and whose networks' errors on them, depend on each other.

    Half of the variance of severity is common to all labels, and so is 36 % of a network's noise. A tenth of the values
    is unknown.
    """
    patients = np.repeat(np.arange(design.num_patients), 2)

    def normal(*labels: int) -> Floats:
        size = (design.num_patients, *(labels or (1,)))
        own = rng.normal(size=(len(patients), size[1]))
        return np.asarray(np.sqrt(design.alike) * rng.normal(size=size)[patients] + np.sqrt(1.0 - design.alike) * own)

    k = len(LABEL_PREVALENCES)
    y_NK = np.sqrt(0.5) * normal() + np.sqrt(0.5) * normal(k) > norm.isf(LABEL_PREVALENCES)
    common_NK = 0.6 * normal() + np.sqrt(design.shared - 0.36) * normal(k)
    images = LabelledImages(y_NK, rng.random(y_NK.shape) < 0.9, patients)
    arms = []
    for quality in [design.quality] if design.other_quality is None else [design.quality, design.other_quality]:
        quality_S = quality + design.seed_sd * rng.normal(size=design.num_seeds)
        own_SNK = np.stack([np.sqrt(1.0 - design.shared) * normal(k) for _ in quality_S])
        arms.append(quality_S[:, None, None] * y_NK + common_NK + own_SNK)
    return mean_auc(images, arms[0]) if len(arms) == 1 else mean_auc_difference(images, arms[0], arms[1]).measure


def _others() -> list[Estimand]:
    """Return shares, rates, ratios and differences of independent sets."""
    patients = np.repeat(np.arange(60), 2)

    def clustered(rng: np.random.Generator, shift: float) -> Floats:
        noise = np.sqrt(0.5) * rng.normal(size=60)[patients] + np.sqrt(0.5) * rng.normal(size=120)
        return np.asarray(shift + noise)

    def share(rng: np.random.Generator, p: float) -> NDArray[np.bool_]:
        return clustered(rng, 0.0) > norm.isf(p)

    def independent(rng: np.random.Generator) -> Measure:
        return independent_difference(proportion(share(rng, 0.8), patients), proportion(rng.random(150) < 0.6))

    def at_rate(rng: np.random.Generator) -> Measure:
        y = np.repeat([0, 1], [400, 200])
        return sensitivity_at(0.05, y, rng.normal(1.5 * y, 1.0))

    def bound(rng: np.random.Generator) -> Measure:
        count = int(rng.binomial(2000, 0.002))
        return Measure.measured(count / 2000, 0.0, exact_upper_bound(count, 2000), 2000)

    return [
        Estimand("share of 0.9, 60 patients", 0.9, lambda rng: proportion(share(rng, 0.9), patients)),
        Estimand("difference of independent shares", 0.2, independent),
        Estimand("sensitivity at 5 % false positives", float(norm.sf(norm.isf(0.05) - 1.5)), at_rate),
        Estimand("ratio of means", 2.0, lambda rng: _ratio(rng, clustered, patients)),
        Estimand("difference of means", 0.5, lambda rng: _means(rng, clustered, patients), NUM_DRAWS),
        Estimand("upper bound of a rate of 0.2 %, n = 2000 (one-sided, exact)", 0.002, bound),
    ]


def _ratio(rng: np.random.Generator, values: Callable[..., Floats], patients: NDArray[np.int64]) -> Measure:
    return ratio_of_means(np.exp(values(rng, np.log(2.0))), np.exp(rng.normal(size=200)), patients, None)


def _means(rng: np.random.Generator, values: Callable[..., Floats], patients: NDArray[np.int64]) -> Measure:
    return mean_difference(values(rng, 0.5), 2.0 * rng.normal(size=200), patients, None).measure


def estimands() -> list[Estimand]:
    """Return all named estimands."""
    return [*_single_arm(), *_differences(), *_mean_auc(), *_others()]


def names() -> list[str]:
    """Return the names of all rows, in the order of the table."""
    return [*(estimand.name for estimand in estimands()), *(name for study in studies() for name in study.truths)]


def _coverage(parts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the rows whose name has one of the parts."""
    for estimand in estimands():
        if any(part in estimand.name for part in parts):
            yield line(estimand.name, estimand.truth, *estimand.covered(range(estimand.num_draws)))
    for study in studies():
        if any(part in name for part in parts for name in study.truths):
            counts = study.covered(range(study.num_draws))
            yield from (line(name, truth, *counts[name]) for name, truth in study.truths.items())


def line(name: str, truth: float, measurable: int, covered: int) -> list[str]:
    """Return the row of the table."""
    interval = binomtest(covered, measurable).proportion_ci(method="wilson")
    share = covered / measurable
    verdict = "**less**" if share < 0.93 else "more" if share > 0.97 else "yes"
    return [
        name,
        f"{truth:.4f}",
        f"{measurable}",
        f"{100 * share:.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})",
        verdict,
    ]


def read_rows(file: Path) -> dict[str, list[str]]:
    """Return the rows of a written table by their name."""
    lines = [text.strip("| \n").split(" | ") for text in file.read_text(encoding="utf-8").splitlines() if "|" in text]
    return {row[0]: row for row in lines[2:]}


def main(parts: Sequence[str]) -> None:
    from report_table import RESULTS, keep, machine, table  # imports Ray, which the tests of this module do not need

    rows = read_rows(RESULTS / "coverage_cpu2_202611.md") if parts else {}
    head = ["estimand", "true value", "studies", "covered, % (95 %)", "93 to 97 %"]
    for row in _coverage(parts or [""]):
        rows[row[0]] = row
        text = f"""# Coverage of the stated 95 % intervals

Command: `OMP_NUM_THREADS=1 python tests/benchmarks/interval_coverage.py`

{machine("numpy", "scipy")} About 10 minutes of CPU time.

A patient has two images, half of whose variance is common. Networks have 60 % of the noise of an image in common.
Scores are binormal, so true values are integrals. Of `3 seeds`, each arm has networks whose quality varies between
seeds, and the true value is that of all patients and all seeds.

`106 photographs` are of 67 patients and `432 photographs` of 216, each beside 512 samples. Fidelity is that of 106
photographs with 16 features; samples have the standard deviation of photographs (`as varied`) or 0.8 of it (`less
varied`). Precision, recall, density, coverage, Vendi scores and twins have no closed form: their true value is the mean
over other simulated studies of the same size.

An ECE is known only up to the bias of its estimate, and an exact bound keeps its level at every rate. The variance of
a jackknife is too large for measures by nearest neighbours and for the kernel distance. Their intervals therefore cover
95 % or more.

{table(head, [rows[name] for name in names() if name in rows])}
"""
        keep("coverage", text)


if __name__ == "__main__":
    main(sys.argv[1:])

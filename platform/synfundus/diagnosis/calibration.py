"""From logits to calibrated probabilities and annotations, fitted on the validation part.

Each head has a Platt scaling (Platt 1999): P = sigmoid(scale * logit + offset), fitted by maximum likelihood with his
smoothed targets, scale > 0; with few images of a class the offset alone is fitted. A binary label is annotated where P
reaches the threshold of the largest Youden index (sensitivity + specificity - 1, Youden 1950). A head that cannot tell
is unusable: it has no probability and annotates null.

Diabetic retinopathy has four cumulative heads. Its annotation is the rounded expected grade, the sum of P(grade >= k),
which minimises the expected squared error that quadratic kappa counts; the most probable grade hardly ever leaves 0
where higher grades are rare. A grade's head that cannot tell takes its share of the nearest usable one by the base
rates; the label is unusable when none of the four can tell.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from synfundus.config import Config
from synfundus.diagnosis.counts import LabelCounts
from synfundus.labels import (
    HEAD_NAMES,
    HEADS,
    LABEL_NAMES,
    NUM_DR_HEADS,
    FloatArray,
    apply_rules,
    expand_known,
)
from synfundus.measures.statistics import auc

MIN_FOR_SCALE = 10
"""Images of each class from which on the scale is fitted too."""
MIN_SCALE = 0.01
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Predictions:
    """Raw logits of a part of the prepared images, beside what experts say."""

    logit_BV: FloatArray
    """NaN where there is no such output."""
    p_BV: FloatArray
    """0 or 1 where an expert says so."""
    expert_BK: NDArray[np.bool_]
    patients: list[str]

    def head(self, v: int) -> tuple[NDArray[np.int64], Floats, NDArray[np.str_]]:
        """Label, logit and patient of the images with both, for head `v`."""
        rows = expand_known(self.expert_BK)[:, v] & np.isfinite(self.logit_BV[:, v])
        y = self.p_BV[rows, v].round().astype(np.int64)
        return y, self.logit_BV[rows, v].astype(np.float64), np.asarray(self.patients, np.str_)[rows]


class HeadCalibration(Config):
    """One of the 19 heads."""

    num_positive: int
    """Of the validation part."""
    num_negative: int
    """Of the validation part."""
    base_rate: float | None = None
    """Share of positives among the experts' training labels (of validation, for an external annotator)."""
    unusable: str | None = None
    """Why the head cannot tell; None: it can."""
    scale: float = 1.0
    """Of the logit."""
    offset: float = 0.0
    """Added to the scaled logit."""
    threshold: float = 0.5
    """Calibrated probability from which on a binary label is annotated 1; not used for grades."""


class Calibration(Config):
    """All heads, in the order of `labels.HEAD_NAMES`; `calibration.json`."""

    heads: dict[str, HeadCalibration]

    @property
    def unusable(self) -> dict[str, str]:
        """Labels that cannot be told, each with the reason."""
        reasons: dict[str, str] = {}
        for name in LABEL_NAMES:
            heads = {head: self.heads[head].unusable for head in HEAD_NAMES[HEADS[name]]}
            if all(heads.values()):
                reasons[name] = (
                    "; ".join(f"{head}: {why}" for head, why in heads.items()) if len(heads) > 1 else str(heads[name])
                )
        return reasons

    def probabilities(self, logit_BV: FloatArray) -> FloatArray:
        """Calibrated P (B, 19) of logits (B, 19); NaN for unusable labels. The four of DR do not increase."""
        p_BV = np.full(logit_BV.shape, np.nan)
        for v, name in enumerate(HEAD_NAMES):
            head = self.heads[name]
            if head.unusable is None:
                p_BV[:, v] = expit(head.scale * logit_BV[:, v].astype(np.float64) + head.offset)
        grades = HEADS["dr_grade"]
        p_BV[:, grades] = self._ordered_grades(p_BV[:, grades])
        return p_BV.astype(np.float32)

    def _ordered_grades(self, p_B4: Floats) -> Floats:
        """P(grade >= k) non-increasing in k; an unusable head has its share of the nearest usable one by base rates."""
        heads = [self.heads[name] for name in HEAD_NAMES[HEADS["dr_grade"]]]
        usable = [k for k, head in enumerate(heads) if head.unusable is None]
        rates = [head.base_rate or 0.0 for head in heads]
        out_B4 = np.full_like(p_B4, np.nan)
        out_B4[:, usable] = np.minimum.accumulate(p_B4[:, usable], axis=1)
        for k in range(NUM_DR_HEADS if usable else 0):
            below, above = [j for j in usable if j < k], [j for j in usable if j > k]
            if k in usable:
                continue
            if below:
                share_B = out_B4[:, below[-1]] * (rates[k] / rates[below[-1]])
                out_B4[:, k] = np.maximum(share_B, out_B4[:, above[0]]) if above else share_B
            else:
                share = (1.0 - rates[k]) / (1.0 - rates[above[0]])
                out_B4[:, k] = 1.0 - (1.0 - out_B4[:, above[0]]) * share
        return out_B4

    def annotate(self, logit_BV: FloatArray) -> tuple[FloatArray, list[dict[str, int | None]]]:
        """Calibrated probabilities as `probabilities` gives them, and a row of all 16 labels an image.

        A label is None where it is unusable, has no logit, or the rules between labels say that it does not arise.
        """
        p_BV = self.probabilities(logit_BV)
        grade_B = self.grades(p_BV)
        rows: list[dict[str, int | None]] = []
        for p_V, grade in zip(p_BV, grade_B, strict=True):
            told = {name: self._value(name, p_V[HEADS[name]]) for name in LABEL_NAMES[1:]}
            told["dr_grade"] = int(grade) if grade >= 0 else None
            ruled = apply_rules(told)
            rows.append({name: ruled[name] if told[name] is not None else None for name in LABEL_NAMES})
        return p_BV, rows

    def _value(self, name: str, p: FloatArray) -> int | None:
        return int(p[0] >= self.heads[name].threshold) if np.isfinite(p[0]) else None

    def grades(self, p_BV: FloatArray) -> NDArray[np.int64]:
        """Annotated DR grade (B,) of calibrated probabilities (B, 19): the expected grade, rounded; -1 where NaN."""
        expected_B = p_BV[:, HEADS["dr_grade"]].sum(axis=1, dtype=np.float64)
        return np.where(np.isfinite(expected_B), np.floor(np.nan_to_num(expected_B) + 0.5), -1).astype(np.int64)


def fit_platt(y: NDArray[np.int64], logit: Floats) -> tuple[float, float]:
    """Scale and offset of Platt's scaling; scale 1 with fewer than `MIN_FOR_SCALE` images of a class.

    The targets are (n1 + 1) / (n1 + 2) and 1 / (n0 + 2), so that separable data keep finite values.
    """
    from scipy.optimize import minimize  # takes a second, which every worker would pay at its start

    n1 = int(y.sum())
    n0 = len(y) - n1
    target = np.where(y == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))

    def negative_log_likelihood(ab: Floats) -> tuple[float, Floats]:
        z = ab[0] * logit + ab[1]
        residual = expit(z) - target
        value = float(np.sum(np.logaddexp(0.0, z) - target * z))
        return value, np.array([float(residual @ logit), float(residual.sum())])

    fixed = min(n0, n1) < MIN_FOR_SCALE
    bounds = [(1.0, 1.0) if fixed else (MIN_SCALE, None), (None, None)]
    start = np.array([1.0, 0.0])
    fit = minimize(negative_log_likelihood, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-12})
    return float(fit.x[0]), float(fit.x[1])


def youden_threshold(y: NDArray[np.int64], p: Floats) -> float:
    """The threshold with the largest sensitivity + specificity - 1, half-way between two scores.

    Of equally good ones the one nearest to 0.5 is taken.
    """
    scores = np.unique(p)
    candidates = (scores[1:] + scores[:-1]) / 2 if len(scores) > 1 else scores
    positive, negative = np.sort(p[y == 1]), np.sort(p[y == 0])
    sensitivity = 1.0 - np.searchsorted(positive, candidates) / len(positive)
    specificity = np.searchsorted(negative, candidates) / len(negative)
    index = sensitivity + specificity
    best = candidates[index >= index.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def fit_calibration(validation: Predictions, training: LabelCounts | None) -> Calibration:
    """Calibration and thresholds from the validation part; which heads are usable.

    Args:
        validation: logits and experts' labels of the validation part.
        training: counts of the training part; None for an external annotator, whose training is not known.
    """
    heads: dict[str, HeadCalibration] = {}
    for v, name in enumerate(HEAD_NAMES):
        y, logit, patients = validation.head(v)
        counts = {"num_positive": int(y.sum()), "num_negative": int(len(y) - y.sum())}
        reason = _untaught(training, v) if training is not None else None
        if not np.isfinite(validation.logit_BV[:, v]).any():
            reason = "the annotator has no such output"
        measured = auc(y, logit, groups=patients)
        if reason is None and measured.low is None:
            reason = f"validation: {measured.reason}"
        elif reason is None and measured.low is not None and measured.low <= 0.5:
            reason = (
                f"AUC {measured.value:.2f} on validation, interval {measured.low:.2f} to {measured.high:.2f}: chance"
            )
        rate = _base_rate(training, v, y)
        if reason is not None:
            heads[name] = HeadCalibration(**counts, base_rate=rate, unusable=reason)
            continue
        scale, offset = fit_platt(y, logit)
        threshold = youden_threshold(y, expit(scale * logit + offset))
        heads[name] = HeadCalibration(**counts, base_rate=rate, scale=scale, offset=offset, threshold=threshold)
    return Calibration(heads=heads)


def _untaught(training: LabelCounts, v: int) -> str | None:
    """Why the training part could not teach head `v`."""
    if training.both_classes[v]:
        return None
    positive, known = int(training.positive_V[v]), int(training.known[v])
    return f"training needs both classes, has {positive} positive and {known - positive} negative"


def _base_rate(training: LabelCounts | None, v: int, y: NDArray[np.int64]) -> float | None:
    if training is None:
        return float(y.mean()) if len(y) else None
    known = int(training.known[v])
    return float(training.positive_V[v] / known) if known else None

"""Choose operating points on the validation split, by the rules of `config.OperatingPointConfig`.

Sensitivity (se) and specificity (sp) of a threshold are measured on the validation split. The share annotated 1 and the
positive predictive value (PPV) follow from them and the assumed prevalence p:

    share = p se + (1 - p)(1 - sp)      PPV = p se / share

At matched prevalence share = p, so PPV equals the sensitivity. Candidates lie half-way between neighbouring scores,
so no rule is met by annotating all images with the same value. `minimum-ppv` counts k false alarms among n negatives as
(k + 1) / (n + 1), an upper bound of the mean probability that the next negative is one. So a few negatives without a
false alarm do not give a PPV of 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.diagnosis.calibration import Calibration
from synfundus.diagnosis.config import OperatingPointConfig
from synfundus.diagnosis.held_out import Predictions
from synfundus.diagnosis.operating_points import OperatingPoint, OperatingPoints, expected_grade
from synfundus.labels import HEAD_NAMES, HEADS, LABEL_NAMES, FloatArray
from synfundus.measures.inputs import Floats

MAX_FACTOR = 2.0
"""Largest ratio between the matched prevalence and the share annotated 1 (and between their complements)."""
TIE = 1e-12

Choice = tuple[float | None, str | None]
"""Threshold, or the reason why there is none."""


@dataclass(frozen=True)
class _Curve:
    """Sensitivity and specificity at each candidate threshold, ascending; (T,) each."""

    threshold: Floats
    sensitivity: Floats
    specificity: Floats
    num_negative: int
    num_images: int

    @classmethod
    def of(cls, y: NDArray[np.int64], score: Floats) -> "_Curve":
        """Return the curve. A class without images gets the scores of the other class."""
        scores = np.unique(score)
        threshold = (scores[1:] + scores[:-1]) / 2
        positive, negative = (np.sort(score[y == value]) if (y == value).any() else np.sort(score) for value in (1, 0))
        return cls(
            threshold,
            1.0 - np.searchsorted(positive, threshold) / len(positive),
            np.searchsorted(negative, threshold) / len(negative),
            len(negative),
            len(y),
        )

    def share(self, prevalence: float) -> Floats:
        """Return the share annotated 1."""
        return prevalence * self.sensitivity + (1.0 - prevalence) * (1.0 - self.specificity)


def choose_threshold(
    config: OperatingPointConfig, y: NDArray[np.int64], score: Floats, prevalence: float, middle: float
) -> Choice:
    """Return the threshold of a binary label that the rule chooses, or the reason why no threshold meets it.

    Args:
        y: experts' labels (N,) of the validation split.
        score: scores (N,), on any scale; an image without a finite one is left out.
        prevalence: assumed share of positives, in (0, 1).
        middle: score that `most-probable` takes as threshold, and that wins among equal ones of `youden`.
    """
    if config.rule == "most-probable":
        return middle, None
    known = np.isfinite(score)
    y, score = y[known], score[known]
    if config.rule != "matched-prevalence" and len(np.unique(y)) < 2:
        return None, f"validation needs both classes, has {int(y.sum())} positive and {int((1 - y).sum())} negative"
    curve = _Curve.of(y, score)
    if not len(curve.threshold):
        return None, f"all {curve.num_images} validation images have the same score"
    if config.rule == "matched-prevalence":
        return _match(curve, prevalence)
    if config.rule == "youden":
        return _youden(curve, middle), None
    assert config.minimum is not None
    if config.rule == "minimum-ppv":
        return _minimum_ppv(curve, config.minimum, prevalence)
    return _minimum_sensitivity(curve, config.minimum)


def _match(curve: _Curve, prevalence: float) -> Choice:
    """Return the threshold whose share is nearest to the prevalence; among equal ones, the highest.

    The distance is the factor between the shares, or between their complements if that is larger.
    """
    share = curve.share(prevalence)
    distance = np.maximum(np.abs(np.log(share / prevalence)), np.abs(np.log((1.0 - share) / (1.0 - prevalence))))
    best = int(np.flatnonzero(distance <= distance.min() + TIE)[-1])
    if distance[best] <= np.log(MAX_FACTOR) + TIE:
        return float(curve.threshold[best]), None
    return None, (
        f"no threshold annotates a share of {prevalence:.3g}; the nearest share on {curve.num_images} validation images"
        f" is {share[best]:.3g}"
    )


def _minimum_ppv(curve: _Curve, minimum: float, prevalence: float) -> Choice:
    """Return the most sensitive threshold that meets the PPV; among equal ones, the highest."""
    false_alarms = ((1.0 - curve.specificity) * curve.num_negative + 1.0) / (curve.num_negative + 1.0)
    hits = prevalence * curve.sensitivity
    ppv = hits / (hits + (1.0 - prevalence) * false_alarms)
    met = ppv >= minimum - TIE
    if not met.any():
        return None, (
            f"no threshold has a PPV of {minimum:g} at prevalence {prevalence:.3g}; the best on {curve.num_images}"
            f" validation images is {ppv.max():.2f}"
        )
    best = np.flatnonzero(met & (curve.sensitivity == curve.sensitivity[met].max()))[-1]
    return float(curve.threshold[best]), None


def _minimum_sensitivity(curve: _Curve, minimum: float) -> Choice:
    """Return the highest threshold that meets the sensitivity."""
    met = np.flatnonzero(curve.sensitivity >= minimum - TIE)
    if not len(met):
        return None, f"a sensitivity of {minimum:g} needs all {curve.num_images} validation images annotated 1"
    return float(curve.threshold[met[-1]]), None


def _youden(curve: _Curve, middle: float) -> float:
    """Return the threshold with the largest sensitivity + specificity; among equal ones, the nearest to `middle`."""
    index = curve.sensitivity + curve.specificity
    best = curve.threshold[index >= index.max() - TIE]
    return float(best[np.argmin(np.abs(best - middle))])


def fit_operating_points(
    config: Mapping[str, OperatingPointConfig], calibration: Calibration, validation: Predictions
) -> OperatingPoints:
    """Choose the operating point of every usable label on the validation split.

    Args:
        config: rule by label; see `config.OperatingPointsConfig` for labels without one.
    """
    usual = OperatingPointConfig(rule="matched-prevalence" if calibration.recalibrated else "most-probable")
    p_BV = calibration.probabilities(validation.logit_BV)
    heads: dict[str, OperatingPoint] = {}
    for name in LABEL_NAMES:
        if name not in calibration.unusable:
            fit = _fit_grade if name == "dr_grade" else _fit_binary
            heads |= fit(name, config.get(name, usual), calibration, validation, p_BV)
    return OperatingPoints(heads=heads)


def _fit_binary(
    name: str, config: OperatingPointConfig, calibration: Calibration, validation: Predictions, p_BV: FloatArray
) -> dict[str, OperatingPoint]:
    """Return the operating point of a usable binary label."""
    v = HEADS[name].start
    score_B, (y, _, _) = p_BV[:, v].astype(np.float64), validation.head(v)
    stated, rate = config.prevalence, calibration.heads[name].base_rate
    prevalence = stated if isinstance(stated, float) else rate
    assert prevalence is not None  # a usable head has training labels of both classes
    threshold, reason = choose_threshold(config, y, score_B[validation.labelled(v)], prevalence, 0.5)
    return {name: _point(config, prevalence, threshold, reason)}


def _fit_grade(
    name: str, config: OperatingPointConfig, calibration: Calibration, validation: Predictions, p_BV: FloatArray
) -> dict[str, OperatingPoint]:
    """Return the operating point of each cumulative grade; thresholds do not decrease with the grade."""
    score_B = expected_grade(p_BV[:, HEADS[name]])
    heads, prevalences, choices = HEAD_NAMES[HEADS[name]], list[float](), list[Choice]()
    for k, head in enumerate(heads, 1):
        stated, rate = config.prevalence, calibration.heads[head].base_rate
        # The quotient is 0 or 1 exactly if all shares lie on one side.
        prevalence = sum(stated[k:]) / (sum(stated[:k]) + sum(stated[k:])) if isinstance(stated, tuple) else rate or 0.0
        y, _, _ = validation.head(k - 1)
        prevalences.append(prevalence)
        choices.append(_grade_threshold(config, y, score_B[validation.labelled(k - 1)], prevalence, k))
    thresholds = _in_order([threshold for threshold, _ in choices], lower=config.rule == "minimum-sensitivity")
    return {
        head: _point(config, prevalence, threshold, reason)
        for head, prevalence, threshold, (_, reason) in zip(heads, prevalences, thresholds, choices, strict=True)
    }


def _in_order(thresholds: Sequence[float | None], *, lower: bool) -> list[float | None]:
    """Return thresholds that do not decrease: the later ones raised, or the earlier ones lowered.

    A lowered threshold has the sensitivity that its rule asks for; a raised one may not.
    """
    ordered: list[float | None] = []
    bound = math.inf if lower else -math.inf
    for threshold in reversed(thresholds) if lower else thresholds:
        if threshold is not None:
            bound = min(bound, threshold) if lower else max(bound, threshold)
        ordered.append(None if threshold is None else bound)
    return ordered[::-1] if lower else ordered


def _grade_threshold(
    config: OperatingPointConfig, y: NDArray[np.int64], score: Floats, prevalence: float, k: int
) -> Choice:
    """Return the threshold of grade >= k."""
    if config.rule == "most-probable":
        return None, None  # the most probable grade is no threshold of the expected one
    if prevalence <= 0.0:
        return None, f"the assumed prevalence of grade {k} or more is 0"
    if prevalence >= 1.0:
        return 0.0, None
    return choose_threshold(config, y, score, prevalence, k - 0.5)


def _point(
    config: OperatingPointConfig, prevalence: float, threshold: float | None, reason: str | None
) -> OperatingPoint:
    return OperatingPoint(
        rule=config.rule, minimum=config.minimum, prevalence=prevalence, threshold=threshold, reason=reason
    )

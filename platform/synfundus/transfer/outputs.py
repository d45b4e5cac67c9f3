"""Outputs of a trained model on a test set: scores, calibrated probabilities and decisions.

Calibration and thresholds are fitted on the validation split of the study's own photographs, by the same rules for all
arms and without a look at any test set:

- Probability: Platt's scaling of each head (`diagnosis.fitting`).
- Decision: matched prevalence. The threshold annotates as many validation photographs as experts label positive.
- Grade: the expected grade, with a threshold for each grade by the same rule.

Unlike in an annotator, a head at chance is not unusable here: an arm that learns nothing is a result.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from synfundus.diagnosis.config import OperatingPointConfig
from synfundus.diagnosis.fitting import fit_platt
from synfundus.diagnosis.held_out import Predictions
from synfundus.diagnosis.operating_fit import choose_threshold
from synfundus.labels import HEADS, NUM_VALUES, FloatArray
from synfundus.measures.inputs import Floats

GRADES = HEADS["dr_grade"]


@dataclass(frozen=True)
class ModelOutputs:
    """Outputs of one model on one test set; NaN where validation does not determine them."""

    logit_NV: FloatArray
    """Raw scores (N, 19)."""
    probability_NV: FloatArray
    """Calibrated probabilities (N, 19)."""
    decision_NV: FloatArray
    """Decisions (N, 19), 0 or 1; those of the grade do not increase with it."""


@dataclass(frozen=True)
class DecisionRule:
    """Calibration and thresholds of one model, from its validation predictions."""

    scale_V: Floats
    """Factor of each logit (19,); NaN for a head without both classes in validation."""
    offset_V: Floats
    threshold_V: Floats
    """Smallest probability that is decided 1 (19,); of a grade, the smallest expected grade. NaN if there is none."""

    @classmethod
    def fit(cls, validation: Predictions) -> "DecisionRule":
        """Fit every head on the validation split."""
        scale_V, offset_V, threshold_V = (np.full(NUM_VALUES, np.nan) for _ in range(3))
        for v in range(NUM_VALUES):
            y, logit, _ = validation.head(v)
            if 0 < y.sum() < len(y):
                scale_V[v], offset_V[v] = fit_platt(y, logit)
        rule = cls(scale_V, offset_V, threshold_V)
        score_NV = rule._scores(validation.logit_BV)
        for v in range(NUM_VALUES):
            if np.isfinite(scale_V[v]):
                threshold_V[v] = _matched(validation, v, score_NV[:, v])
        # A lower threshold than that of a smaller grade would let a grade be decided without the smaller one.
        known = np.isfinite(threshold_V[GRADES])
        threshold_V[GRADES] = np.where(known, np.fmax.accumulate(threshold_V[GRADES]), np.nan)
        return rule

    def apply(self, predictions: Predictions) -> ModelOutputs:
        """Return the outputs on a test set."""
        score_NV = self._scores(predictions.logit_BV)
        known_NV = np.isfinite(score_NV) & np.isfinite(self.threshold_V)
        decision_NV = np.where(known_NV, score_NV >= self.threshold_V, np.nan)
        return ModelOutputs(
            predictions.logit_BV, self._probabilities(predictions.logit_BV), decision_NV.astype(np.float32)
        )

    def _probabilities(self, logit_NV: FloatArray) -> FloatArray:
        return np.asarray(expit(self.scale_V * logit_NV.astype(np.float64) + self.offset_V), np.float32)

    def _scores(self, logit_NV: FloatArray) -> Floats:
        """Return what thresholds apply to (N, 19): the probability, and for each grade the expected grade."""
        score_NV = self._probabilities(logit_NV).astype(np.float64)
        expected_N = np.nansum(score_NV[:, GRADES], axis=1)
        score_NV[:, GRADES] = np.where(np.isfinite(score_NV[:, GRADES]), expected_N[:, None], np.nan)
        return score_NV


def _matched(validation: Predictions, v: int, score_N: Floats) -> float:
    """Return the threshold of a head at matched prevalence; NaN if no threshold comes near it."""
    y, _, _ = validation.head(v)
    threshold, _ = choose_threshold(
        OperatingPointConfig(rule="matched-prevalence"), y, score_N[validation.labelled(v)], float(y.mean()), 0.5
    )
    return np.nan if threshold is None else threshold

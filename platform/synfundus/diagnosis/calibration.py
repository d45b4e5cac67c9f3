"""The annotator's `calibration.json`: from logits to calibrated probabilities.

Each head has a Platt scaling, P = sigmoid(scale * logit + offset), which `fitting` fits on the validation split. An
unusable head has no probability. `operating_points` turns probabilities into annotations.

Diabetic retinopathy has four cumulative heads. An unusable head among the four gets its probability from the nearest
usable one by the base rates; the label is unusable when all four heads are.
"""

from typing import Literal

import numpy as np
from scipy.special import expit

from synfundus.labels import HEAD_NAMES, HEADS, LABEL_NAMES, NUM_DR_HEADS, FloatArray
from synfundus.measures.inputs import Floats
from synfundus.metadata import Metadata


class HeadCalibration(Metadata):
    """Calibration of one of the 19 heads."""

    num_positive: int
    """Positives in the validation split."""
    num_negative: int
    """Negatives in the validation split."""
    base_rate: float | None = None
    """Share of positives among the experts' training labels (for an external annotator: validation labels)."""
    unusable: str | None = None
    """Reason why the head is unusable; None if it is usable."""
    scale: float = 1.0
    """Factor applied to the logit."""
    offset: float = 0.0
    """Number added to the scaled logit."""


class Calibration(Metadata):
    """Calibration of all heads; `calibration.json`."""

    version: Literal[1] = 1
    """Schema of this record."""
    recalibrated: bool = True
    """False for an external annotator that is used as it is: scale 1, offset 0, grades as they are."""
    heads: dict[str, HeadCalibration]
    """Calibration of each head in `labels.HEAD_NAMES`."""

    @property
    def unusable(self) -> dict[str, str]:
        """Unusable labels, each with the reason."""
        reasons: dict[str, str] = {}
        for name in LABEL_NAMES:
            heads = {head: self.heads[head].unusable for head in HEAD_NAMES[HEADS[name]]}
            if all(heads.values()):
                reasons[name] = (
                    "; ".join(f"{head}: {reason}" for head, reason in heads.items())
                    if len(heads) > 1
                    else str(heads[name])
                )
        return reasons

    def probabilities(self, logit_BV: FloatArray) -> FloatArray:
        """Return calibrated probabilities (B, 19) of logits (B, 19); NaN for unusable labels.

        The four of diabetic retinopathy do not increase with the grade.
        """
        p_BV = np.full(logit_BV.shape, np.nan)
        for v, name in enumerate(HEAD_NAMES):
            head = self.heads[name]
            if head.unusable is None or (name in HEAD_NAMES[HEADS["dr_grade"]] and not self.recalibrated):
                p_BV[:, v] = expit(head.scale * logit_BV[:, v].astype(np.float64) + head.offset)
        grades = HEADS["dr_grade"]
        p_BV[:, grades] = self._ordered_grades(p_BV[:, grades])
        return p_BV.astype(np.float32)

    def _ordered_grades(self, p_B4: Floats) -> Floats:
        """Return P(grade >= k), non-increasing in k; an unusable head follows its nearest usable one by base rates."""
        heads = [self.heads[name] for name in HEAD_NAMES[HEADS["dr_grade"]]]
        usable = [k for k, head in enumerate(heads) if head.unusable is None]
        if usable and not self.recalibrated:
            usable = list(range(NUM_DR_HEADS))
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

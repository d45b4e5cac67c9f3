"""Operating points in use: from calibrated probabilities to annotations.

A binary label is annotated 1 if its probability reaches the threshold of its head. The DR grade has four thresholds on
the expected grade, the sum of P(grade >= k): the annotated grade is the largest k whose threshold is reached. So grades
keep the order of the expected grades, and a grade whose own head is unusable is annotated by rank. `operating_fit`
chooses the thresholds.
"""

import numpy as np
from numpy.typing import NDArray

from synfundus.diagnosis.config import Rule
from synfundus.labels import HEAD_NAMES, HEADS, LABEL_NAMES, FloatArray, apply_rules, grade_distribution
from synfundus.measures.inputs import Floats
from synfundus.metadata import Metadata


class OperatingPoint(Metadata):
    """Threshold of one of the 19 heads, and the rule that chose it."""

    rule: Rule
    minimum: float | None = None
    """Target of the rule, if it has one."""
    prevalence: float
    """Assumed share of positives among the images that are annotated."""
    threshold: float | None = None
    """Smallest probability (for grades: expected grade) that is annotated; null if the rule has no threshold or cannot
    be met."""
    reason: str | None = None
    """Reason why the rule cannot be met; null if it is met."""

    @property
    def words(self) -> str:
        """The rule in words, with its target."""
        return {
            "matched-prevalence": "matched prevalence",
            "minimum-ppv": f"PPV at least {self.minimum}",
            "minimum-sensitivity": f"sensitivity at least {self.minimum}",
            "youden": "Youden",
            "most-probable": "most probable value",
        }[self.rule]


class OperatingPoints(Metadata):
    """Operating points of all usable labels."""

    heads: dict[str, OperatingPoint]
    """Operating point of each head in `labels.HEAD_NAMES`; a usable DR label has all four."""

    @property
    def unmet(self) -> dict[str, str]:
        """Usable labels whose rule cannot be met at any threshold, each with the reason. They are annotated null."""
        reasons: dict[str, str] = {}
        for name in LABEL_NAMES:
            points = [self.heads[head] for head in HEAD_NAMES[HEADS[name]] if head in self.heads]
            if points and all(point.reason for point in points):
                reasons[name] = str(points[0].reason)
        return reasons

    def annotate(self, p_BV: FloatArray) -> list[dict[str, int | None]]:
        """Return all 16 labels of each image from calibrated probabilities (B, 19).

        A label is None if it has no probability or no operating point, or is ruled out by another label
        (`labels.apply_rules`).
        """
        values = {name: self.binary(name, p_BV) for name in LABEL_NAMES[1:]}
        values["dr_grade"] = self.grades(p_BV)
        rows: list[dict[str, int | None]] = []
        for b in range(len(p_BV)):
            predicted = {name: int(value_B[b]) if value_B[b] >= 0 else None for name, value_B in values.items()}
            allowed = apply_rules(predicted)
            rows.append({name: allowed[name] if predicted[name] is not None else None for name in LABEL_NAMES})
        return rows

    def binary(self, name: str, p_BV: FloatArray) -> NDArray[np.int64]:
        """Return the values (B,) of a binary label from calibrated probabilities (B, 19); -1 for None."""
        point, p_B = self.heads.get(name), p_BV[:, HEADS[name].start]
        if point is None or point.threshold is None:
            return np.full(len(p_B), -1)
        return np.where(np.isfinite(p_B), p_B.astype(np.float64) >= point.threshold, -1).astype(np.int64)

    def grades(self, p_BV: FloatArray) -> NDArray[np.int64]:
        """Return the DR grade (B,) from calibrated probabilities (B, 19); -1 for None."""
        p_B4 = p_BV[:, HEADS["dr_grade"]]
        points = [self.heads[head] for head in HEAD_NAMES[HEADS["dr_grade"]] if head in self.heads]
        known_B = np.isfinite(p_B4).all(axis=1)
        if not points or "dr_grade" in self.unmet:
            return np.full(len(p_BV), -1)
        if points[0].rule == "most-probable":
            grade_B = np.argmax(grade_distribution(np.nan_to_num(p_B4)), axis=1)
        else:
            cuts = [np.inf if point.threshold is None else point.threshold for point in points]
            reached_B4 = expected_grade(p_B4)[:, None] >= np.array(cuts)
            grade_B = np.max(reached_B4 * np.arange(1, len(cuts) + 1), axis=1)
        return np.where(known_B, grade_B, -1).astype(np.int64)


def expected_grade(p_B4: FloatArray) -> Floats:
    """Return the expected DR grade (B,), 0 to 4, from P(grade >= 1..4), (B, 4)."""
    return np.asarray(p_B4.sum(axis=1, dtype=np.float64))

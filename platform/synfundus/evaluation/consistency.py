"""Does a sample show what was asked for? The annotator's word against the conditions, beside permuted conditions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synfundus.evaluation.strata import Labels
from synfundus.labels import LABEL_NAMES, LABELS, FloatArray, Label
from synfundus.measures.statistics import Measure, auc, proportion, quadratic_kappa, roc_band

CANNOT_TELL = "the annotator cannot tell this label"


def consistency_section(
    asked_NK: Labels, seen_NK: Labels, score_NK: FloatArray, unusable: Mapping[str, str], seed: int
) -> dict[str, Any]:
    """Section `consistency` of metrics.json.

    Args:
        asked_NK: conditions.
        seen_NK: annotations; -1 also where the annotator sees no fundus and the label does not arise.
        score_NK: calibrated probability of the value 1; the column of `dr_grade` is not used.
        unusable: labels that the annotator cannot tell.
        seed: of the permutation.
    """
    labels = {
        label.name: _label(label, asked_NK[:, k], seen_NK[:, k], score_NK[:, k], label.name in unusable, seed)
        for k, label in enumerate(LABELS)
    }
    return {"permutation_seed": seed, "labels": labels}


def _label(
    label: Label,
    asked_N: NDArray[np.int8],
    seen_N: NDArray[np.int8],
    score_N: NDArray[np.float32],
    unusable: bool,
    seed: int,
) -> dict[str, Any]:
    values = range(label.max_value + 1)
    known_N = asked_N >= 0
    asked, seen, score = asked_N[known_N], seen_N[known_N], score_N[known_N]
    permuted = np.random.default_rng([seed, LABEL_NAMES.index(label.name)]).permutation(asked)
    is_grade = label.max_value > 1
    if unusable:
        measures = dict.fromkeys(("asked", "permuted", "agreement", "agreement_permuted"))
        found: dict[str, Measure] = dict.fromkeys(measures, Measure.not_measurable(CANNOT_TELL, len(asked)))
    else:
        found = {
            "asked": _statistic(asked, seen, score, is_grade),
            "permuted": _statistic(permuted, seen, score, is_grade),
            # Where the annotator sees no fundus it tells neither side nor disease: that counts as not agreeing.
            "agreement": proportion(seen == asked),
            "agreement_permuted": proportion(seen == permuted),
        }
    return {
        "title": label.title,
        "kind": label.kind,
        "statistic": "quadratic_kappa" if is_grade else "auc",
        "num_asked": [int((asked == value).sum()) for value in values],
        "num_seen": [int((seen_N == value).sum()) for value in values],
        **{name: measure.to_dict() for name, measure in found.items()},
        "beats_permuted": _beats(found["asked"], found["permuted"]),
        "confusion": [[int(((asked == row) & (seen == column)).sum()) for column in values] for row in values],
        "roc": _roc(asked, score) if found["asked"].measurable and not is_grade else None,
    }


def _statistic(asked: NDArray[np.int8], seen: NDArray[np.int8], score: NDArray[np.float32], is_grade: bool) -> Measure:
    """AUC of the probability, or kappa of the grade; where the annotator sees no fundus there is no grade."""
    if not is_grade:
        return auc(asked, score)
    told = seen >= 0
    return quadratic_kappa(asked[told], seen[told])


def _beats(asked: Measure, permuted: Measure) -> bool | None:
    """Whether the intervals are apart, the asked one above."""
    if asked.low is None or permuted.high is None:
        return None
    return asked.low > permuted.high


def _roc(asked: NDArray[np.int8], score: NDArray[np.float32]) -> dict[str, list[float]]:
    rate, sensitivity, low, high = roc_band(asked, score)
    return {
        "false_positive_rate": rate.tolist(),
        "sensitivity": sensitivity.tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
    }

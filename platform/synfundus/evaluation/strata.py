"""Strata: all images, each disease, each grade, subtle and widespread changes. Each is compared on its own.

SynFundus-1M leaves open whether a generator samples subtle lesions as well as widespread ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synfundus.labels import DISEASES, LABEL_BY_NAME, LABEL_NAMES, NUM_DR_GRADES
from synfundus.measures.metrics import GroupText, StratumText

Labels = NDArray[np.int8]
"""(N, 16) label values, -1 if unknown."""

GROUPS: Mapping[str, GroupText] = {
    "subtle": GroupText(
        title="Subtle changes",
        diseases={
            "is_gc": "only the cup is larger",
            "is_em": "a thin sheen",
            "is_htr": "narrowed arteries and crossings",
            "is_dme": "small exudates at the macula",
        },
    ),
    "widespread": GroupText(
        title="Widespread changes",
        diseases={
            "is_rvo": "haemorrhages over a sector",
            "is_pm": "tessellation, crescent and staphyloma",
            "is_dm": "tessellation",
            "is_crp": "patches of atrophy",
        },
    ),
}


@dataclass(frozen=True)
class Stratum:
    """Images that share a finding: photographs by an expert's label, samples by their request."""

    text: StratumText
    ranges: tuple[tuple[str, int, int], ...] = ()
    """(label, lowest, highest value). An image belongs to the stratum if one range holds; if there is none, always."""

    def members(self, labels_NK: Labels) -> NDArray[np.bool_]:
        """Return whether each image belongs to the stratum, (N,)."""
        if not self.ranges:
            return np.ones(len(labels_NK), np.bool_)
        columns = ((labels_NK[:, LABEL_NAMES.index(name)], low, high) for name, low, high in self.ranges)
        return np.asarray(np.any([(value_N >= low) & (value_N <= high) for value_N, low, high in columns], axis=0))


def _strata() -> dict[str, Stratum]:
    strata = {"overall": Stratum(StratumText(title="All images", label=None, kind="overall"))}
    for name in DISEASES:
        label = LABEL_BY_NAME[name]
        title = "Any diabetic retinopathy" if name == "dr_grade" else label.title
        text = StratumText(title=title, label=name, kind="disease")
        strata[name] = Stratum(text, ((name, 1, label.max_value),))
    for grade in range(NUM_DR_GRADES):
        text = StratumText(title=f"DR grade {grade}", label="dr_grade", kind="grade")
        strata[f"dr_grade={grade}"] = Stratum(text, (("dr_grade", grade, grade),))
    for key, group in GROUPS.items():
        text = StratumText(title=group.title, label=None, kind="group")
        strata[key] = Stratum(text, tuple((name, 1, 1) for name in group.diseases))
    return strata


STRATA: Mapping[str, Stratum] = _strata()

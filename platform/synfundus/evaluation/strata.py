"""Which images are compared with which: all of them, each disease, each grade, subtle and widespread changes.

Whether a generator draws subtle lesions as well as widespread ones is the question that SynFundus-1M leaves open.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synfundus.labels import DISEASES, LABEL_BY_NAME, LABEL_NAMES, NUM_DR_GRADES

Labels = NDArray[np.int8]
"""(N, 16) label values, -1 where unknown."""

GROUPS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "subtle": (
        "Subtle changes",
        {
            "is_gc": "a larger cup alone",
            "is_em": "a thin sheen",
            "is_htr": "narrowed arteries and crossings",
            "is_dme": "small exudates at the macula",
        },
    ),
    "widespread": (
        "Widespread changes",
        {
            "is_rvo": "haemorrhages over a sector",
            "is_pm": "tessellation, crescent and staphyloma",
            "is_dm": "tessellation",
            "is_crp": "patches of atrophy",
        },
    ),
}
"""Title of a group, and its diseases with the reason why they are in it."""


@dataclass(frozen=True)
class Stratum:
    """Images that share a finding. Photographs are in it by an expert's word, samples by what was asked."""

    title: str
    label: str | None
    """The one label that decides; None: all images, or several labels."""
    kind: str
    """`overall`, `disease`, `grade` or `group`."""
    wanted: tuple[tuple[str, int, int], ...] = ()
    """(label, lowest, highest value): an image is in it when one of these holds. None of them: every image is."""

    def members(self, labels_NK: Labels) -> NDArray[np.bool_]:
        """(N,)"""
        if not self.wanted:
            return np.ones(len(labels_NK), np.bool_)
        columns = ((labels_NK[:, LABEL_NAMES.index(name)], low, high) for name, low, high in self.wanted)
        return np.asarray(np.any([(value_N >= low) & (value_N <= high) for value_N, low, high in columns], axis=0))

    def to_dict(self) -> dict[str, Any]:
        return {"title": self.title, "label": self.label, "kind": self.kind}


def _strata() -> dict[str, Stratum]:
    found = {"overall": Stratum("All images", None, "overall")}
    for name in DISEASES:
        label = LABEL_BY_NAME[name]
        title = "Any diabetic retinopathy" if name == "dr_grade" else label.title
        found[name] = Stratum(title, name, "disease", ((name, 1, label.max_value),))
    for grade in range(NUM_DR_GRADES):
        found[f"dr_grade={grade}"] = Stratum(f"DR grade {grade}", "dr_grade", "grade", (("dr_grade", grade, grade),))
    for key, (title, diseases) in GROUPS.items():
        found[key] = Stratum(title, None, "group", tuple((name, 1, 1) for name in diseases))
    return found


STRATA: Mapping[str, Stratum] = _strata()

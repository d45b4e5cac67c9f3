"""Draw random label rows for phantoms."""

from synfundus.labels import DISEASES, READABILITY, apply_rules
from synfundus.phantom.field import stream

DISEASE_SHARE = 0.2
"""Fraction of eyes with each disease flag."""
GRADE_SHARES = (0.28, 0.18, 0.18, 0.18, 0.18)
"""Fraction of eyes with each DR grade."""
UNREADABLE_SHARE = 0.11
"""Fraction of fundus images in which a region is unreadable, for each region."""
NOT_FUNDUS_SHARE = 0.07
"""Fraction of images that are not a fundus."""
JUDGED_IN = {
    "is_macular_readable": ("is_amd", "is_dme", "is_em"),
    "is_optic_disc_readable": ("is_aon", "is_gc", "is_pm"),
    "is_retinal_region_readable": ("dr_grade", "is_crp", "is_dm", "is_htr", "is_rvo"),
}
"""Readability label to the diseases that can be judged only if it is 1."""


def draw_phantom_labels(seed: int) -> dict[str, int | None]:
    """Draw a row of labels, each common enough to learn and nearly independent of the others.

    A disease is null if its region (`JUDGED_IN`) is not readable, as in a grader's table; the rules of `labels` apply.
    """
    rng = stream(seed, "labels")
    row: dict[str, int | None] = {name: int(rng.uniform() < DISEASE_SHARE) for name in DISEASES}
    row["dr_grade"] = int(rng.choice(5, p=GRADE_SHARES))
    row["eye_side"] = int(rng.integers(0, 2))
    row |= {name: int(rng.uniform() >= UNREADABLE_SHARE) for name in READABILITY}
    row["is_fundus"] = int(rng.uniform() >= NOT_FUNDUS_SHARE)
    for region, diseases in JUDGED_IN.items():
        if row[region] == 0:
            row |= dict.fromkeys(diseases)
    return apply_rules(row)

"""Combinations of labels that may be published: each is shared by at least `min_patients` patients.

The conditions of a release are public, so they must not single out a patient. Rare combinations are merged into less
specific ones by leaving labels unknown (docs/decisions/0002-rare-combinations.md).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from synfundus.errors import WrongInputError
from synfundus.labels import LABEL_NAMES
from synfundus.samples.label_rows import PatientLabels, Values
from synfundus.seeds import random_numbers

FIRST_LABELS = ("is_fundus", "eye_side")
"""Labels that are split first, because they decide how an image looks."""
Path = tuple[tuple[int, int | None], ...]
"""Splits that lead to a group of rows: index of each label, and its value."""


@dataclass(frozen=True)
class Combination:
    """A combination of labels with its weight in a plan."""

    values: Values
    weight: float
    """Relative frequency among the conditions, on any positive scale."""


def merge_rare(rows: Sequence[PatientLabels], min_patients: int, seed: int) -> list[Combination]:
    """Return combinations of at least `min_patients` patients each that together cover all rows.

    Rows are split label by label, from all rows down. Values with too few patients stay in one group in which the
    label is unknown; patients with the most frequent value join them until the group has `min_patients`. So no row
    is lost, and no combination is rarer than allowed.

    Raises:
        WrongInputError: all rows together have fewer patients.
    """
    total = len(_patients(rows))
    if total < min_patients:
        raise WrongInputError(
            f"samples.min_patients: the training split has {total} patients, but each combination needs {min_patients};"
            " add images, or set samples.conditions to 'quotas'"
        )
    counts: Counter[Values] = Counter()
    stack: list[tuple[list[PatientLabels], Path]] = [(list(rows), ())]
    while stack:
        members, path = stack.pop()
        if len(path) == len(LABEL_NAMES):
            fixed = dict(path)
            counts[tuple(fixed[k] for k in range(len(LABEL_NAMES)))] += len(members)
            continue
        label = _next_label(path, seed)
        for value, group in _split_by_label(members, label, min_patients):
            stack.append((group, (*path, (label, value))))
    order = sorted(counts, key=lambda values: [-1 if v is None else v for v in values])
    return [Combination(values, float(counts[values])) for values in order]


def _next_label(path: Path, seed: int) -> int:
    """Return the label to split next: `FIRST_LABELS` first, then one drawn by (seed, path).

    The order differs from path to path. So if patients are too few to split by every label, each label is still
    known in some combinations.
    """
    first = [LABEL_NAMES.index(name) for name in FIRST_LABELS]
    rest = [k for k in range(len(LABEL_NAMES)) if k not in first]
    random_numbers("split", seed, str(list(path))).shuffle(rest)
    split = {k for k, _ in path}
    return next(k for k in first + rest if k not in split)


def _split_by_label(
    members: list[PatientLabels], label: int, min_patients: int
) -> list[tuple[int | None, list[PatientLabels]]]:
    """Return `members` grouped by their value of `label`; groups that are too small share the group None."""
    groups: dict[int | None, list[PatientLabels]] = {}
    for row in members:
        groups.setdefault(row.values[label], []).append(row)
    unknown = groups.pop(None, [])
    for value in [value for value, group in groups.items() if len(_patients(group)) < min_patients]:
        unknown = unknown + groups.pop(value)
    while groups and unknown and (missing := min_patients - len(_patients(unknown))) > 0:
        commonest = max(groups, key=lambda value: (len(groups[value]), str(value)))
        group = groups.pop(commonest)
        joining = list(dict.fromkeys(row.patient for row in group if row.patient not in _patients(unknown)))[:missing]
        remaining = [row for row in group if row.patient not in joining]
        if len(_patients(remaining)) < min_patients:
            unknown = unknown + group
        else:
            unknown = unknown + [row for row in group if row.patient in joining]
            groups[commonest] = remaining
    known: list[tuple[int | None, list[PatientLabels]]] = sorted(groups.items(), key=lambda item: str(item[0]))
    return [*known, (None, unknown)] if unknown else known


def _patients(rows: Iterable[PatientLabels]) -> set[str]:
    return {row.patient for row in rows}

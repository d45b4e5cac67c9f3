"""No combination of labels that a plan publishes is shared by too few patients, and no label is given up needlessly."""

import numpy as np
import pytest

from synfundus.errors import WrongInputError
from synfundus.labels import LABEL_NAMES
from synfundus.samples.combinations import merge_rare
from synfundus.samples.label_rows import PatientLabels, Values

SIDE, GRADE = (LABEL_NAMES.index(name) for name in ("eye_side", "dr_grade"))


def _values(**labels: int) -> Values:
    return tuple(labels.get(name) for name in LABEL_NAMES)


def _rows(rng: np.random.Generator, num: int) -> list[PatientLabels]:
    """Return `num` images, two of each patient."""
    return [
        PatientLabels(
            f"p{i // 2}",
            _values(
                eye_side=i % 2,
                dr_grade=int(rng.choice(5, p=[0.5, 0.2, 0.15, 0.1, 0.05])),
                is_gc=int(rng.random() < 0.1),
            ),
        )
        for i in range(num)
    ]


def test_no_published_combination_has_fewer_than_min_patients() -> None:
    rows = _rows(np.random.default_rng(0), 600)
    merged = merge_rare(rows, 10, seed=3)
    assert sum(c.weight for c in merged) == len(rows)
    for combination in merged:
        # Anyone who knows the plan and one patient's labels finds at least ten patients with the requested labels.
        agreeing = {
            row.patient
            for row in rows
            if all(v is None or v == row.values[k] for k, v in enumerate(combination.values))
        }
        assert len(agreeing) >= 10, combination


def test_merging_keeps_the_most_frequent_labels_known() -> None:
    merged = merge_rare(_rows(np.random.default_rng(0), 600), 10, seed=3)
    assert sum(c.weight for c in merged if c.values[SIDE] is None) == 0
    graded = sum(c.weight for c in merged if c.values[GRADE] is not None)
    assert graded > 500


def test_a_few_images_without_a_side_do_not_hide_the_side_of_the_others() -> None:
    """Three images of unknown side need seven more patients in their group; they get no more than that."""
    rows = _rows(np.random.default_rng(0), 600)
    unknown = [PatientLabels(f"u{i}", _values(dr_grade=0)) for i in range(3)]
    merged = merge_rare(rows + unknown, 10, seed=3)
    side_unknown = sum(c.weight for c in merged if c.values[SIDE] is None)
    assert 10 <= side_unknown <= 3 + 2 * 7  # one or two images of each patient
    for side in (0, 1):
        assert sum(c.weight for c in merged if c.values[SIDE] == side) > 280


def test_every_finding_is_requested_even_if_no_full_combination_is_frequent() -> None:
    """With eleven independent findings, each in a fifth of 800 patients, nearly every full combination is rare."""
    rng = np.random.default_rng(1)
    names = [name for name in LABEL_NAMES if name not in ("dr_grade", "eye_side", "is_fundus")]
    rows = [
        PatientLabels(
            f"p{i}", _values(is_fundus=1, eye_side=i % 2, **{name: int(rng.random() < 0.2) for name in names})
        )
        for i in range(800)
    ]
    merged = merge_rare(rows, 10, seed=0)
    for name in names:
        values = {c.values[LABEL_NAMES.index(name)] for c in merged}
        assert values >= {0, 1}, name


def test_too_few_patients_overall_is_wrong_input() -> None:
    with pytest.raises(WrongInputError, match=r"samples\.min_patients: the training split has 2 patients, but .* 10"):
        merge_rare(_rows(np.random.default_rng(0), 4), 10, seed=0)

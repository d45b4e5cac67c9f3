"""Combinations of findings: what photographs have, what samples cover, and which rare ones may be named."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from synfundus.evaluation.finding_combinations import LabelledPhotographs, combination_keys, cover_combinations
from synfundus.evaluation.strata import Labels
from synfundus.labels import LABEL_NAMES, LABELS
from synfundus.measures.diversity_metrics import CombinationCoverage

HEALTHY = {"dr_grade": 0, "is_gc": 0}


def labels_of(rows: Sequence[Mapping[str, int]]) -> Labels:
    return np.array([[row.get(name, -1) for name in LABEL_NAMES] for row in rows], np.int8).reshape(-1, 16)


def cover(
    training: Sequence[Mapping[str, int]],
    held_out: Sequence[Mapping[str, int]],
    requested: Sequence[Mapping[str, int]],
    annotated: Sequence[Mapping[str, int]],
    *,
    min_patients: int = 2,
) -> CombinationCoverage:
    return cover_combinations(
        LabelledPhotographs(labels_of(training), [f"t{i}" for i in range(len(training))]),
        LabelledPhotographs(labels_of(held_out), [f"h{i}" for i in range(len(held_out))]),
        labels_of(requested),
        labels_of(annotated),
        min_patients=min_patients,
        seed=0,
    )


BOTH, GRADE = {"dr_grade": 2, "is_gc": 1}, {"dr_grade": 2, "is_gc": 0}


def test_combinations_are_counted_in_photographs_requests_and_annotations() -> None:
    found = cover([BOTH] * 3 + [GRADE] * 5 + [HEALTHY] * 4, [BOTH, GRADE], [GRADE] * 12, [BOTH] * 7 + [HEALTHY] * 5)
    assert (found.num_combinations, found.num_requested, found.num_annotated) == (3, 1, 2)
    rarest = found.rarest[0]
    assert rarest.findings == ("Diabetic retinopathy grade 2", "Glaucoma")
    assert (rarest.num_photographs, rarest.num_patients, rarest.num_requested, rarest.num_annotated) == (3, 3, 0, 7)
    assert found.rarest[1].findings == ()
    assert found.by_training.value == 1.0
    assert found.by_requests.value == 0.5
    assert found.by_annotations.value == 0.5
    assert found.n == 12


def test_a_combination_of_few_patients_is_counted_and_not_named() -> None:
    found = cover([BOTH] * 3 + [GRADE] * 5, [BOTH], [GRADE] * 8, [GRADE] * 8, min_patients=4)
    assert found.num_unnamed == 1
    assert [row.num_patients for row in found.rarest] == [5]
    assert "Glaucoma" not in found.to_json().decode()


def test_photographs_without_a_known_disease_have_no_combination() -> None:
    nothing, side = {"is_fundus": 1}, {"eye_side": 1}
    keys = combination_keys(labels_of([nothing, side, HEALTHY, BOTH, BOTH | {"eye_side": 1}]))
    assert keys.tolist()[:3] == [-1, -1, 0]
    assert keys[3] == keys[4] > 0
    found = cover([nothing] * 5, [nothing], [GRADE], [GRADE])
    assert found.by_training.reason is not None
    assert found.num_combinations == 0


def test_an_image_that_is_no_fundus_has_that_finding_alone() -> None:
    no_fundus = {"is_fundus": 0, "is_macular_readable": 0, "is_optic_disc_readable": 0}
    found = cover([no_fundus] * 2, [no_fundus], [no_fundus] * 2, [no_fundus] * 2)
    assert found.rarest[0].findings == ("Not a fundus photograph",)
    assert found.by_requests.value == 1.0


def test_equal_findings_have_equal_keys_and_others_have_not() -> None:
    rng = np.random.default_rng(0)
    few = ("dr_grade", "is_gc", "is_fundus", "is_macular_readable")  # so few that many images agree
    rows = [
        {label.name: int(rng.integers(-1, label.max_value + 1)) for label in LABELS if label.name in few}
        for _ in range(150)
    ]
    keys = combination_keys(labels_of(rows))

    def findings(row: dict[str, int]) -> object:
        if row["is_fundus"] == 0:
            return "no fundus"
        if row["dr_grade"] < 0 and row["is_gc"] < 0:
            return "unknown"
        return max(row["dr_grade"], 0), max(row["is_gc"], 0), row["is_macular_readable"] == 0

    for a, key_a in zip(rows, keys, strict=True):
        for b, key_b in zip(rows, keys, strict=True):
            assert (findings(a) == findings(b)) == (key_a == key_b)


@pytest.mark.parametrize("num_samples", [0, 1])
def test_too_few_samples_are_said(num_samples: int) -> None:
    found = cover([BOTH] * 3, [BOTH], [GRADE] * num_samples, [GRADE] * num_samples)
    assert found.n == num_samples
    assert found.by_requests.measurable == (num_samples > 0)

"""What a plan promises: exact counts, no rare combination, pure conditions."""

import json
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from synfundus.diffusion.config import SolverConfig
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import ImageBatch
from synfundus.labels import HEADS, LABEL_NAMES, NUM_LABELS, NUM_VALUES
from synfundus.samples.plan import (
    Combination,
    Plan,
    RealRow,
    SamplesConfig,
    allocate,
    balance,
    draw_rows,
    make_plan,
    merge_rare,
)

SIDE, GRADE, GLAUCOMA = (LABEL_NAMES.index(name) for name in ("eye_side", "dr_grade", "is_gc"))


def _values(**labels: int) -> tuple[int | None, ...]:
    return tuple(labels.get(name) for name in LABEL_NAMES)


def _config(**settings: object) -> SamplesConfig:
    base = {"num_samples": 100, "solver": SolverConfig(name="ddim", num_steps=5), "micro_batch": 4, "shard_rows": 16}
    return SamplesConfig.model_validate({**base, **settings})


def _rows(rng: np.random.Generator, num: int) -> list[RealRow]:
    return [
        RealRow(
            f"p{i // 2}",
            _values(
                eye_side=i % 2,
                dr_grade=int(rng.choice(5, p=[0.5, 0.2, 0.15, 0.1, 0.05])),
                is_gc=int(rng.random() < 0.1),
            ),
        )
        for i in range(num)
    ]


def test_allocation_is_exact_and_proportional() -> None:
    assert allocate([1, 1, 1], 10) == [4, 3, 3]
    assert allocate([0.5, 0.25, 0.25], 8) == [4, 2, 2]
    assert sum(allocate([0.1, 0.7, 0.123, 5.5], 1_000_003)) == 1_000_003


def test_no_published_combination_has_fewer_than_min_patients() -> None:
    rows = _rows(np.random.default_rng(0), 600)
    merged = merge_rare(rows, 10, seed=3)
    assert sum(c.weight for c in merged) == len(rows)
    for combination in merged:
        # Whoever knows the plan and one patient's labels finds at least ten patients who agree with what is asked.
        agree = {
            row.patient
            for row in rows
            if all(v is None or v == row.values[k] for k, v in enumerate(combination.values))
        }
        assert len(agree) >= 10, combination


def test_merging_leaves_the_commonest_labels_told_apart() -> None:
    merged = merge_rare(_rows(np.random.default_rng(0), 600), 10, seed=3)
    assert sum(c.weight for c in merged if c.values[SIDE] is None) == 0
    graded = sum(c.weight for c in merged if c.values[GRADE] is not None)
    assert graded > 500


def test_a_few_images_without_a_side_do_not_hide_the_side_of_the_others() -> None:
    """Three images of unknown side need company; they get seven patients, not all right eyes."""
    rows = _rows(np.random.default_rng(0), 600)
    unknown = [RealRow(f"u{i}", _values(dr_grade=0)) for i in range(3)]
    merged = merge_rare(rows + unknown, 10, seed=3)
    side_unknown = sum(c.weight for c in merged if c.values[SIDE] is None)
    assert 10 <= side_unknown <= 3 + 2 * 7  # an eye each, or both
    for side in (0, 1):
        assert sum(c.weight for c in merged if c.values[SIDE] == side) > 280


def test_every_finding_is_asked_for_though_no_full_combination_is_common() -> None:
    """Eleven independent findings, each in a fifth of 800 patients: nearly every full combination is rare."""
    rng = np.random.default_rng(1)
    names = [name for name in LABEL_NAMES if name not in ("dr_grade", "eye_side", "is_fundus")]
    rows = [
        RealRow(f"p{i}", _values(is_fundus=1, eye_side=i % 2, **{name: int(rng.random() < 0.2) for name in names}))
        for i in range(800)
    ]
    merged = merge_rare(rows, 10, seed=0)
    for name in names:
        values = {c.values[LABEL_NAMES.index(name)] for c in merged}
        assert values >= {0, 1}, name


def test_too_few_patients_in_all_is_wrong_input() -> None:
    with pytest.raises(WrongInputError, match="has 2 patients, min_patients is 10"):
        merge_rare(_rows(np.random.default_rng(0), 4), 10, seed=0)


def test_balance_gives_each_value_of_a_label_the_same_share() -> None:
    combinations = [Combination(_values(eye_side=0), 90.0), Combination(_values(eye_side=1), 10.0)]
    shares = [c.weight for c in balance(combinations)]
    assert shares[0] == pytest.approx(shares[1])


def test_balance_raises_each_rare_value_to_its_part_of_an_equal_share() -> None:
    """Of two labels that vary, each is balanced in one of 16 parts; a rare value gets at least 1/2 of such a part."""
    combinations = [
        Combination(_values(eye_side=0, is_gc=0), 980.0),
        Combination(_values(eye_side=1, is_gc=0), 15.0),
        Combination(_values(eye_side=1, is_gc=1), 5.0),
    ]
    weights = np.array([c.weight for c in balance(combinations)])
    side, glaucoma = weights[1:].sum() / weights.sum(), weights[2] / weights.sum()
    assert glaucoma == pytest.approx((0.5 * 5 / 20 + 0.5) / 2)  # 0.5 % before
    assert side == pytest.approx((0.5 + 0.5 * 15 / 995 + 0.5) / 2)  # 2 % before


def _batch(p_gc: float, num: int) -> ImageBatch:
    p_BV = np.zeros((num, NUM_VALUES), np.float32)
    known_BK = np.zeros((num, NUM_LABELS), np.bool_)
    p_BV[:, HEADS["is_gc"]] = p_gc
    p_BV[:, HEADS["dr_grade"]] = [0.8, 0.6, 0.3, 0.1]
    known_BK[:, [GLAUCOMA, GRADE]] = True
    pixels = np.zeros((num, 2, 2, 3), np.uint8)
    expert = np.zeros_like(known_BK)
    return ImageBatch(pixels, p_BV, known_BK, expert, [f"image{i}" for i in range(num)], [f"p{i}" for i in range(num)])


def test_filled_probabilities_are_drawn_once_with_their_probability() -> None:
    rows = list(draw_rows([_batch(0.3, 4000)], seed=5))
    share = np.mean([row.values[GLAUCOMA] == 1 for row in rows])
    assert share == pytest.approx(0.3, abs=0.025)  # 3.5 standard errors
    grades = Counter(row.values[GRADE] for row in rows)
    for grade, p in enumerate([0.2, 0.2, 0.3, 0.2, 0.1]):
        assert grades[grade] / 4000 == pytest.approx(p, abs=0.025)
    assert rows == list(draw_rows([_batch(0.3, 4000)], seed=5))
    assert rows != list(draw_rows([_batch(0.3, 4000)], seed=6))


def _plan(**settings: object) -> Plan:
    return make_plan(_config(**settings), [_batch(0.3, 200)], generator="g", annotator="a", data="d")


def test_condition_is_a_pure_function_of_plan_and_index() -> None:
    plan = _plan()
    whole = plan.conditions(range(100))
    assert plan.conditions([17, 3]) == [whole[17], whole[3]]
    asked = Counter(tuple(c.values()) for c in whole)
    assert asked == dict(zip(plan.combinations, plan.counts, strict=True))


def test_a_plan_survives_json_and_its_digest_knows_no_pool() -> None:
    plan = _plan()
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))).digest == plan.digest
    assert _plan(pool_size=7).digest == plan.digest
    assert _plan(seed=1).digest != plan.digest
    assert _plan(num_threads=2).digest != plan.digest


def test_quotas_ask_for_just_what_they_list() -> None:
    quotas = [{"labels": {"dr_grade": 4, "eye_side": 1}, "count": 70}, {"labels": {"is_fundus": 0}, "count": 30}]
    plan = make_plan(_config(conditions="quotas", quotas=quotas), [], generator="g", annotator="a", data="d")
    conditions = plan.conditions(range(100))
    assert sum(c["dr_grade"] == 4 and c["eye_side"] == 1 and c["is_gc"] is None for c in conditions) == 70
    assert sum(c["is_fundus"] == 0 and c["dr_grade"] is None for c in conditions) == 30


def test_images_without_a_patient_are_noted_in_the_plan() -> None:
    """A plan's promise of so many patients a combination is weaker where an image counts as a patient."""
    for number in (7, 0):
        plan = make_plan(
            _config(), [_batch(0.5, 40)], generator="g", annotator="a", data="d", num_without_patient=number
        )
        assert ("7 images have no patient id" in " ".join(plan.notes)) == (number == 7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shard_rows": 10}, "not a multiple of micro_batch"),
        ({"conditions": "quotas", "quotas": [{"labels": {"is_gc": 1}, "count": 5}]}, "ask for 5 samples"),
        ({"conditions": "quotas", "quotas": [{"labels": {"is_gcc": 1}, "count": 100}]}, "'is_gcc' is not a label"),
        ({"conditions": "quotas", "quotas": [{"labels": {"is_gc": 3}, "count": 100}]}, "its range is 0 to 1"),
        (
            {"conditions": "quotas", "quotas": [{"labels": {"is_fundus": 0, "is_gc": 1}, "count": 100}]},
            "is_gc cannot be asked of what is not a fundus",
        ),
        ({"quotas": [{"labels": {"is_gc": 1}, "count": 100}]}, "conditions is not 'quotas'"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _config(**settings)

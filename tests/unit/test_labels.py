"""Labels: range, null, rules, encoding."""

import numpy as np
import pytest

from synfundus.errors import WrongInputError
from synfundus.labels import (
    CONDITION_DIM,
    DISEASES,
    HEADS,
    LABEL_NAMES,
    LABELS,
    NULL_INDEX,
    NUM_LABELS,
    NUM_VALUES,
    apply_rules,
    condition_vector,
    decode_values,
    draw_labels,
    encode_conditions,
    encode_values,
    expand_known,
    grade_distribution,
    null_condition,
    parse_value,
)


@pytest.mark.parametrize(
    "text", ["", "  ", None, float("nan"), "NaN", "null", "None", "N/A", "#N/A", "<NA>", " NULL ", "?", "-", "Unknown"]
)
def test_an_empty_cell_is_unknown_and_never_0(text: object) -> None:
    assert parse_value("is_gc", text) is None


@pytest.mark.parametrize(("text", "value"), [("4", 4), ("0.0", 0), (3, 3), (2.0, 2)])
def test_whole_numbers_in_range_are_read(text: object, value: int) -> None:
    assert parse_value("dr_grade", text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("True", 1), ("TRUE", 1), (" true", 1), (True, 1), ("False", 0), (False, 0)]
)
def test_true_and_false_are_1_and_0_of_a_flag_but_neither_a_grade_nor_a_side(text: object, value: int) -> None:
    assert parse_value("is_gc", text) == value
    assert parse_value("is_fundus", text) == value
    for name in ("dr_grade", "eye_side"):
        with pytest.raises(WrongInputError, match="expected a whole number"):
            parse_value(name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [("dr_grade", "5"), ("is_gc", "2"), ("is_gc", "-1"), ("dr_grade", "1.5"), ("dr_grade", "0_1"), ("is_gc", "yes")],
)
def test_a_value_out_of_range_is_refused_with_label_and_range(name: str, text: str) -> None:
    with pytest.raises(WrongInputError, match=rf"{name} is '{text}'; expected a whole number from 0 to \d"):
        parse_value(name, text)


def test_an_image_that_is_no_fundus_has_no_disease_and_no_readable_region() -> None:
    row = apply_rules({"is_fundus": 0, "is_gc": 1, "dr_grade": 2, "eye_side": 1, "is_macular_readable": 1})
    assert row["is_gc"] is None
    assert row["dr_grade"] is None
    assert row["eye_side"] is None
    assert row["is_macular_readable"] == 0


def test_a_grade_is_four_cumulative_values() -> None:
    p_BV, known_BK = encode_values([{"dr_grade": g} for g in range(5)])
    assert p_BV[:, HEADS["dr_grade"]].tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert known_BK[:, 0].all()
    assert not known_BK[:, 1:].any()


def _random_rows(num: int) -> list[dict[str, int | None]]:
    rng = np.random.default_rng(0)
    drawn = [{label.name: int(rng.integers(-1, label.max_value + 1)) for label in LABELS} for _ in range(num)]
    return [apply_rules({name: None if value < 0 else value for name, value in row.items()}) for row in drawn]


def test_values_decode_to_the_rows_that_were_encoded_and_a_draw_leaves_them_as_they_are() -> None:
    rows = _random_rows(200)
    p_BV, known_BK = encode_values(rows)
    assert decode_values(p_BV, known_BK) == rows
    for u in (0.0, 0.5, 1.0 - 2.0**-53):
        value_BV, drawn_BK = draw_labels(p_BV, known_BK, known_BK, np.full((200, NUM_LABELS), u))
        np.testing.assert_array_equal(value_BV, p_BV)
        np.testing.assert_array_equal(drawn_BK, known_BK)


def test_a_grade_is_drawn_from_its_distribution_with_one_number() -> None:
    num = 20_000
    p_BV, known_BK = np.zeros((num, NUM_VALUES), np.float32), np.zeros((num, NUM_LABELS), np.bool_)
    # P(grade >= 3) = 0.4 is above P(grade >= 2) = 0.3, so it counts as 0.3.
    p_BV[:, HEADS["dr_grade"]], known_BK[:, 0] = [0.8, 0.3, 0.4, 0.1], True
    value_BV, _ = draw_labels(
        p_BV, known_BK, np.zeros_like(known_BK), np.random.default_rng(1).random((num, NUM_LABELS))
    )
    heads_B4 = value_BV[:, HEADS["dr_grade"]]
    assert (np.diff(heads_B4, axis=1) <= 0).all()
    shares = np.bincount(heads_B4.sum(axis=1).astype(int), minlength=5) / num
    assert shares == pytest.approx([0.2, 0.5, 0.0, 0.2, 0.1], abs=4 * np.sqrt(0.25 / num))


def test_rules_hold_after_a_draw() -> None:
    """`is_fundus` is drawn 0 in half of the rows, whose diseases and side are then unknown."""
    num = 4000
    p_BV, known_BK = np.full((num, NUM_VALUES), 0.5, np.float32), np.ones((num, NUM_LABELS), np.bool_)
    known_BK[: num // 2, LABEL_NAMES.index("is_macular_readable")] = False
    uniform_BK = np.random.default_rng(2).random((num, NUM_LABELS))
    rows = decode_values(*draw_labels(p_BV, known_BK, np.zeros_like(known_BK), uniform_BK))
    assert all(apply_rules(row) == row for row in rows)
    fundus = [row for row in rows if row["is_fundus"] == 1]
    assert len(fundus) / num == pytest.approx(0.5, abs=0.04)
    assert all(row[name] is not None for row in fundus for name in (*DISEASES, "eye_side"))
    assert all(row["is_gc"] is None and row["is_macular_readable"] == 0 for row in rows if row["is_fundus"] == 0)


@pytest.mark.parametrize(
    ("name", "value", "shares"),
    [("eye_side", 1, {1}), ("is_gc", 0, {1}), ("is_macular_readable", 1, {1}), ("is_macular_readable", 0, {0, 1})],
)
def test_a_draw_never_contradicts_an_expert(name: str, value: int, shares: set[int]) -> None:
    """`is_fundus` is filled with 0.5, and an expert gave one label; a region that is not readable is no evidence."""
    num = 200
    p_BV, expert_BK = encode_values([{name: value}] * num)
    known_BK = expert_BK.copy()
    p_BV[:, HEADS["is_fundus"]], known_BK[:, LABEL_NAMES.index("is_fundus")] = 0.5, True
    uniform_BK = np.random.default_rng(3).random((num, NUM_LABELS))
    rows = decode_values(*draw_labels(p_BV, known_BK, expert_BK, uniform_BK))
    assert {row["is_fundus"] for row in rows} == shares
    assert all(row[name] == value and apply_rules(row) == row for row in rows)


def test_heads_cover_all_19_numbers_once() -> None:
    covered = np.concatenate([np.arange(NUM_VALUES)[HEADS[name]] for name in LABEL_NAMES])
    assert covered.tolist() == list(range(NUM_VALUES))


def test_unknown_and_null_are_different_conditions() -> None:
    unknown = encode_conditions([{}])[0]
    assert unknown.tolist() == [0.0] * CONDITION_DIM
    null = null_condition()
    assert null[NULL_INDEX] == 1
    assert null.sum() == 1


def test_a_filled_label_conditions_with_its_probability() -> None:
    p_BV, known_BK = encode_values([{"is_gc": 1, "eye_side": 0}])
    p_BV[0, HEADS["is_gc"]] = 0.75
    vector = condition_vector(p_BV, known_BK)[0]
    assert vector[HEADS["is_gc"]] == pytest.approx(0.5)
    assert vector[HEADS["eye_side"]] == -1
    assert vector[NUM_VALUES + LABEL_NAMES.index("is_gc")] == 1
    assert vector[NUM_VALUES + LABEL_NAMES.index("is_amd")] == 0


def test_the_grade_distribution_is_the_difference_of_cumulative_probabilities() -> None:
    p = grade_distribution(np.array([[0.9, 0.5, 0.2, 0.1], [0.3, 0.6, 0.0, 0.0]], np.float32))
    assert p[0] == pytest.approx([0.1, 0.4, 0.3, 0.1, 0.1])
    assert p[1] == pytest.approx([0.7, 0.0, 0.3, 0.0, 0.0])  # made non-increasing first


def test_the_four_heads_of_a_grade_share_one_mask() -> None:
    known = np.zeros((1, 16), np.bool_)
    known[0, 0] = known[0, 5] = True
    assert np.flatnonzero(expand_known(known)[0]).tolist() == [0, 1, 2, 3, 8]

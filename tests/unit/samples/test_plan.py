"""A plan has exact counts and pure conditions, and its digest holds what decides a sample and nothing else."""

from collections import Counter

import numpy as np
import pytest
from pydantic import TypeAdapter

from synfundus.diagnosis.config import OperatingPointConfig, OperatingPointsConfig, Rule
from synfundus.fundus.batches import LabelBatch
from synfundus.labels import HEADS, LABEL_NAMES, NUM_LABELS, NUM_VALUES
from synfundus.samples.config import SamplesConfig
from synfundus.samples.label_rows import draw_label_rows
from synfundus.samples.plan import Plan, make_plan

GRADE, GLAUCOMA = (LABEL_NAMES.index(name) for name in ("dr_grade", "is_gc"))


def _config(**settings: object) -> SamplesConfig:
    base = {"num_samples": 100, "solver": {"name": "ddim", "num_steps": 5}, "micro_batch": 4, "shard_rows": 16}
    return SamplesConfig.model_validate({**base, **settings})


def _batch(p_gc: float, num: int) -> LabelBatch:
    p_BV = np.zeros((num, NUM_VALUES), np.float32)
    known_BK = np.zeros((num, NUM_LABELS), np.bool_)
    p_BV[:, HEADS["is_gc"]] = p_gc
    p_BV[:, HEADS["dr_grade"]] = [0.8, 0.6, 0.3, 0.1]
    known_BK[:, [GLAUCOMA, GRADE]] = True
    ids = [str(i) for i in range(num)]
    return LabelBatch(p_BV, known_BK, np.zeros_like(known_BK), [f"image{i}" for i in ids], [f"p{i}" for i in ids])


def _plan(
    batch: LabelBatch | None = None,
    num_without_patient: int = 0,
    points: dict[str, OperatingPointConfig] | None = None,
    usual_rule: Rule = "matched-prevalence",
    **settings: object,
) -> Plan:
    return make_plan(
        _config(**settings),
        [_batch(0.3, 200) if batch is None else batch],
        generator_digest="g",
        annotator_digest="a",
        data_digest="d",
        operating_points=points,
        usual_rule=usual_rule,
        num_without_patient=num_without_patient,
    )


def test_a_filled_label_is_drawn_once_with_its_probability() -> None:
    rows = list(draw_label_rows([_batch(0.3, 4000)], seed=5))
    share = np.mean([row.values[GLAUCOMA] == 1 for row in rows])
    assert share == pytest.approx(0.3, abs=0.025)  # 3.5 standard errors
    grades = Counter(row.values[GRADE] for row in rows)
    for grade, p in enumerate([0.2, 0.2, 0.3, 0.2, 0.1]):
        assert grades[grade] / 4000 == pytest.approx(p, abs=0.025)
    assert rows == list(draw_label_rows([_batch(0.3, 4000)], seed=5))
    assert rows != list(draw_label_rows([_batch(0.3, 4000)], seed=6))


def test_condition_is_a_pure_function_of_plan_and_index() -> None:
    plan = _plan()
    whole = plan.conditions(range(100))
    assert plan.conditions([17, 3]) == [whole[17], whole[3]]
    requested = Counter(tuple(c.values()) for c in whole)
    assert requested == {tuple(c.condition.values()): c.count for c in plan.combinations}


def test_label_counts_add_up_to_the_number_of_samples() -> None:
    counts = _plan().label_counts()
    assert list(counts) == list(LABEL_NAMES)
    assert all(sum(tally.values()) == 100 for tally in counts.values())
    assert counts["eye_side"] == {"unknown": 100}


def test_a_plan_survives_json_and_its_digest_ignores_the_pool() -> None:
    plan = _plan()
    assert Plan.from_json(plan.to_json(), "plan.json") == plan
    assert _plan(resources={"pool_size": 7, "num_gpus": 1}).digest == plan.digest
    assert _plan(seed=1).digest != plan.digest
    assert _plan(resources={"num_threads": 2}).digest != plan.digest
    assert _plan(solver={"name": "ddim", "num_steps": 5, "spacing": "log-snr"}).digest != plan.digest


def test_quotas_request_exactly_what_they_list() -> None:
    quotas = [{"labels": {"dr_grade": 4, "eye_side": 1}, "count": 70}, {"labels": {"is_fundus": 0}, "count": 30}]
    conditions = _plan(conditions="quotas", quotas=quotas).conditions(range(100))
    assert sum(c["dr_grade"] == 4 and c["eye_side"] == 1 and c["is_gc"] is None for c in conditions) == 70
    assert sum(c["is_fundus"] == 0 and c["dr_grade"] is None for c in conditions) == 30


@pytest.mark.parametrize("number", [7, 0])
def test_images_without_a_patient_are_noted_in_the_plan(number: int) -> None:
    """Each of them counts as a patient, which weakens the promise of so many patients per combination."""
    notes = " ".join(_plan(_batch(0.5, 40), num_without_patient=number).notes)
    assert ("7 training images have no patient id" in notes) == (number == 7)


QUOTAS = [
    {"labels": {"dr_grade": 0, "is_gc": 1}, "count": 30},
    {"labels": {"dr_grade": 4, "is_gc": 0}, "count": 10},
    {"labels": {"is_rvo": 1}, "count": 60},
]


def test_matched_prevalence_assumes_the_shares_that_the_plan_requests() -> None:
    """Shares are among the samples that request the label; a label with one requested value keeps its default."""
    plan = _plan(conditions="quotas", quotas=QUOTAS)
    matched = {name: point.prevalence for name, point in plan.operating_points.items()}
    assert matched == {"dr_grade": (0.75, 0.0, 0.0, 0.0, 0.25), "is_gc": 0.75}
    TypeAdapter(OperatingPointsConfig).validate_python(plan.operating_points)
    balanced = _plan(_batch(0.1, 400), conditions="balanced").operating_points["is_gc"].prevalence
    real = _plan(_batch(0.1, 400), conditions="real").operating_points["is_gc"].prevalence
    assert isinstance(balanced, float)
    assert isinstance(real, float)
    assert real == pytest.approx(0.1, abs=0.06)
    assert balanced > real + 0.02


def test_stated_prevalences_and_other_rules_stay_in_the_plan() -> None:
    points = {"is_gc": OperatingPointConfig(prevalence=0.02), "dr_grade": OperatingPointConfig(rule="youden")}
    assert _plan(conditions="quotas", quotas=QUOTAS, points=points).operating_points == points
    assert _plan(conditions="quotas", quotas=QUOTAS, usual_rule="most-probable").operating_points == {}
    asked = {"is_gc": OperatingPointConfig()}
    found = _plan(conditions="quotas", quotas=QUOTAS, usual_rule="most-probable", points=asked).operating_points
    assert {name: point.prevalence for name, point in found.items()} == {"is_gc": 0.75}

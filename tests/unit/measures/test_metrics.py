"""Metrics as stored records: a measure has numbers or a reason, and the published schema is that of the code."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from support.metrics_example import example_metrics
from synfundus.errors import StorageError
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import EvaluationMetrics

SCHEMA = Path(__file__).parents[3] / "docs" / "metrics.schema.json"
REGENERATE = (
    "docs/metrics.schema.json is out of date; regenerate it with\n"
    "    python -c 'import json; from synfundus.measures.metrics import EvaluationMetrics as M; print(json.dumps("
    "M.model_json_schema(), indent=2, ensure_ascii=False))' > docs/metrics.schema.json"
)


def test_a_measure_is_stored_with_its_numbers_or_its_reason_only() -> None:
    measured, reason = Measure.measured(0.91, 0.88, 0.94, 412), Measure.not_measurable("no image", 0)
    assert json.loads(measured.to_json()) == {"status": "measured", "value": 0.91, "low": 0.88, "high": 0.94, "n": 412}
    assert json.loads(reason.to_json()) == {"status": "not measurable", "reason": "no image", "n": 0}
    for measure in (measured, reason):
        assert Measure.from_json(measure.to_json(), "measure") == measure


@pytest.mark.parametrize(
    "record",
    [
        {"status": "measured", "n": 3},
        {"status": "measured", "value": 0.5, "n": 3},
        {"status": "not measurable", "n": 3},
        {"status": "not measurable", "value": 0.5, "reason": "no image", "n": 3},
    ],
)
def test_a_measure_without_numbers_and_without_a_reason_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Measure.model_validate(record)


def test_metrics_survive_storage() -> None:
    metrics = example_metrics()
    assert EvaluationMetrics.from_json(metrics.to_json(), "metrics.json") == metrics


def test_metrics_of_another_version_are_refused() -> None:
    record = {**example_metrics().model_dump(mode="json"), "version": 2}
    with pytest.raises(StorageError, match=r"metrics\.json does not hold EvaluationMetrics of this version \(version"):
        EvaluationMetrics.from_json(json.dumps(record).encode(), "metrics.json")


def test_published_schema_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text()) == EvaluationMetrics.model_json_schema(), REGENERATE


def test_the_spaces_of_stored_metrics_keep_their_order() -> None:
    """JSON sorts keys; the judge's space gives the main results wherever they are read."""
    metrics = example_metrics()
    space = metrics.fidelity.spaces["annotator"]
    names = ("inception", "zero", "dinov2", "annotator", "judge")
    spaces = {name: space.model_copy(update={"title": name}) for name in names}
    stored = metrics.model_copy(update={"fidelity": metrics.fidelity.model_copy(update={"spaces": spaces})}).to_json()
    fidelity = EvaluationMetrics.from_json(stored, "metrics.json").fidelity
    assert [space.title for space in fidelity.computed_spaces] == ["judge", "annotator", "dinov2", "zero", "inception"]

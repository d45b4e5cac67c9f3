"""Wrong settings of samples are named, and moved ones are refused with their new place."""

import pytest
from pydantic import ValidationError

from synfundus.samples.config import SamplesConfig
from synfundus.samples.release_config import ReleaseConfig


def _config(**settings: object) -> SamplesConfig:
    return SamplesConfig.model_validate({"num_samples": 100, "solver": {}, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shard_rows": 10}, "not a multiple of micro_batch"),
        ({"conditions": "quotas", "quotas": [{"labels": {"is_gc": 1}, "count": 5}]}, "request 5 samples"),
        ({"conditions": "quotas", "quotas": [{"labels": {"is_gcc": 1}, "count": 100}]}, "'is_gcc' is not a label"),
        ({"conditions": "quotas", "quotas": [{"labels": {"is_gc": 3}, "count": 100}]}, "its range is 0 to 1"),
        (
            {"conditions": "quotas", "quotas": [{"labels": {"is_fundus": 0, "is_gc": 1}, "count": 100}]},
            "is_gc cannot be requested with is_fundus: 0",
        ),
        ({"quotas": [{"labels": {"is_gc": 1}, "count": 100}]}, "conditions is not 'quotas'"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _config(**settings)


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("pool_size", "samples.resources.pool_size"),
        ("use_gpu", "samples.resources.num_gpus"),
        ("num_threads", "samples.resources.num_threads"),
        ("precision", "samples.resources.precision"),
    ],
)
def test_a_moved_setting_is_refused_with_its_new_place(key: str, place: str) -> None:
    with pytest.raises(ValidationError, match=f"{key} moved to {place}"):
        _config(**{key: 1})


@pytest.mark.parametrize("key", ["data_statement", "date_published"])
def test_a_release_needs_its_date_and_a_statement_about_its_data(key: str) -> None:
    stated = {"data_statement": "Phantoms.", "date_published": "2026-11-27"}
    with pytest.raises(ValidationError, match=key):
        ReleaseConfig.model_validate({name: value for name, value in stated.items() if name != key})

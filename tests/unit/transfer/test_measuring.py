"""What a stored grid holds is what the report compares."""

import pytest

from support.transfer_example import EXTERNAL, GRID, example_models, example_results, write_grid
from synfundus.errors import WrongInputError
from synfundus.storage import Storage
from synfundus.transfer.measuring import compare_models, measure_transfer
from synfundus.transfer.predictions import external_key

ARMS = ("real", "scratch", "pretrained")


def test_stored_predictions_give_the_same_comparison_as_those_in_memory(storage: Storage) -> None:
    results = example_results(("resnet10t",), (0, 1), ARMS)
    write_grid(storage, results)
    stored, in_memory = measure_transfer(storage, GRID), compare_models(results, *example_models(results))
    for name in ("arms", "contrasts", "targets", "test_sets", "training", "counts", "curves", "convergence", "notes"):
        assert getattr(stored, name) == getattr(in_memory, name), name
    # Stored patients have other numbers, in another order, so that a bootstrap draws others of them.
    pairs = list(zip(stored.differences, in_memory.differences, strict=True))
    assert len(pairs) == 2 * len(stored.targets) * len(stored.test_sets)
    for first, second in pairs:
        for metric, found in first.metrics.items():
            expected = second.metrics[metric].difference.measure
            assert found.difference.measure.value == pytest.approx(expected.value, abs=1e-12)
            if metric == "auc":
                assert found.difference.measure.interval == pytest.approx(expected.interval, abs=1e-9)


def test_an_external_dataset_without_photographs_is_no_test_set(storage: Storage) -> None:
    results = example_results(("resnet10t",), (0, 1), ARMS)
    write_grid(storage, results, without=external_key(EXTERNAL))
    assert list(measure_transfer(storage, GRID).test_sets) == ["test"]


def test_a_grid_that_has_not_finished_is_refused(storage: Storage) -> None:
    with pytest.raises(WrongInputError, match=GRID):
        measure_transfer(storage, GRID)

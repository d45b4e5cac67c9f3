"""Trained models of a grid with their outputs on each test set."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from synfundus.diagnosis.held_out import Predictions
from synfundus.labels import FloatArray
from synfundus.transfer.contrasts import distinct_arms
from synfundus.transfer.outputs import DecisionRule, ModelOutputs
from synfundus.transfer.predictions import external_key
from synfundus.transfer.results import TrainedCell, TransferResults

VALIDATION: Final = "validation"
TEST: Final = "test"


@dataclass(frozen=True)
class TestSet:
    """Photographs of one test set with experts' labels."""

    __test__ = False  # for pytest, which collects classes of this name

    name: str
    """Key of its predictions: `test`, or that of an external dataset."""
    title: str
    external: bool
    value_NV: FloatArray
    """Values of the heads (N, 19), 0 or 1."""
    expert_NK: NDArray[np.bool_]
    """True (N, 16) where an expert labelled the photograph."""
    patients: NDArray[np.str_]
    """Patient (N,) of each photograph."""


@dataclass(frozen=True)
class TrainedModel:
    """Model of one place of the grid, and its outputs."""

    arm: str
    architecture: str
    fraction: float | None
    """Fraction of the training patients; None for an arm without photographs."""
    seed: int
    cell: TrainedCell
    outputs: Mapping[str, ModelOutputs]
    """Outputs by the name of the test set."""


Setting = tuple[str, str, float | None]
"""Arm, architecture and fraction."""
Models = Mapping[Setting, Mapping[int, TrainedModel]]
"""Models by setting and seed."""


def by_setting(models: Iterable[TrainedModel]) -> Models:
    """Return the models of each setting, by seed."""
    settings: dict[Setting, dict[int, TrainedModel]] = defaultdict(dict)
    for model in models:
        settings[model.arm, model.architecture, model.fraction][model.seed] = model
    return settings


def trained_models(
    results: TransferResults, read: Callable[[str], Mapping[str, Predictions]]
) -> tuple[list[TrainedModel], list[TestSet]]:
    """Return the trained models of all distinct arms, and the test sets that have photographs.

    Args:
        read: returns the predictions of a cell, by its digest; see `predictions.read_predictions`.
    """
    arms = distinct_arms(results.arms)
    models: list[TrainedModel] = []
    tests: list[TestSet] = []
    outputs: dict[str, Mapping[str, ModelOutputs]] = {}
    for place in results.places:
        if place.trained is None or place.arm not in arms:
            continue
        digest = place.trained.digest
        if digest not in outputs:
            predictions = read(digest)
            titles = {name: title for name, title in titles_of_tests(results).items() if name in predictions}
            rule = DecisionRule.fit(predictions[VALIDATION])
            outputs[digest] = {name: rule.apply(predictions[name]) for name in titles}
            tests = tests or [_test_set(name, title, predictions[name]) for name, title in titles.items()]
        models.append(
            TrainedModel(place.arm, place.architecture, place.fraction, place.seed, place.trained, outputs[digest])
        )
    return models, tests


def titles_of_tests(results: TransferResults) -> dict[str, str]:
    """Return the title of each test set, by the key of its predictions; the study's own one comes first."""
    return {TEST: "Test split"} | {external_key(found.name): f"External: {found.name}" for found in results.external}


def _test_set(name: str, title: str, predictions: Predictions) -> TestSet:
    return TestSet(
        name, title, name != TEST, predictions.p_BV, predictions.expert_BK, np.asarray(predictions.patients, np.str_)
    )

"""Results of a grid made by code, for tests of the comparisons and of their readers.

Every model has Gaussian scores. `SEPARATION` states how well an arm separates the classes. Patients and seeds have
effects of their own, so photographs of a patient and models of a seed depend on each other.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from synfundus.diagnosis.held_out import Predictions, encode_held_out
from synfundus.labels import HEAD_NAMES, HEADS, LABEL_NAMES, NUM_LABELS, NUM_VALUES
from synfundus.measures.inputs import Floats
from synfundus.measures.transfer_metrics import ComputedTransfer
from synfundus.storage import Storage, write_manifest
from synfundus.transfer.manifest import RESULTS, TransferManifest, predictions_file
from synfundus.transfer.measuring import compare_models
from synfundus.transfer.predictions import external_key
from synfundus.transfer.records import CellImages, CurvePoint, Trial
from synfundus.transfer.results import ArmSummary, ExternalSet, Place, TrainedCell, TransferResults
from synfundus.transfer.trained import TEST, VALIDATION, TestSet, TrainedModel, trained_models

ARMS = tuple(
    ArmSummary(name=name, start=start, train=train, added_samples=added)
    for name, start, train, added in (
        ("real", "scratch", "photographs", None),
        ("scratch", "scratch", "photographs", None),
        ("synthetic", "scratch", "samples", None),
        ("synthetic-shuffled", "scratch", "shuffled", None),
        ("pretrained", "samples", "photographs", None),
        ("imagenet", "weights", "photographs", None),
    )
)
ARM_NAMES = tuple(arm.name for arm in ARMS)
ARCHITECTURES = ("resnet10t", "vit_tiny")
NUM_PATIENTS = 50
"""Patients of each set, with two photographs each."""
SEPARATION = {
    ("real", 1.0): 1.6, ("real", 0.1): 0.5,
    ("synthetic", None): 1.1, ("synthetic-shuffled", None): 0.0,
    ("pretrained", 1.0): 1.8, ("pretrained", 0.1): 1.4,
    ("imagenet", 1.0): 1.7, ("imagenet", 0.1): 0.9,
}  # fmt: skip
"""Distance of the mean scores of both classes, in standard deviations, by arm and fraction."""
EXTERNAL = "other-clinic"
GRID = "transfers/demo"
SEED_EFFECT = 0.06
LABELLED = ("dr_grade", "eye_side", "is_gc")
"""Labels that the experts of the example know."""


@dataclass(frozen=True)
class Photographs:
    """Experts' labels of one set, and the difficulty of its photographs, which all models share."""

    p_NV: NDArray[np.float32]
    expert_NK: NDArray[np.bool_]
    patients: list[str]
    difficulty_NV: Floats


def photographs(num_patients: int, seed: int, per_patient: int = 2) -> Photographs:
    """Return photographs of patients; the grade and glaucoma belong to the patient, the side to the photograph."""
    rng = np.random.default_rng(seed)
    n = num_patients * per_patient
    patient = np.repeat(np.arange(num_patients), per_patient)
    p_NV = np.zeros((n, NUM_VALUES), np.float32)
    grade = rng.choice(5, num_patients, p=(0.45, 0.15, 0.2, 0.12, 0.08))[patient]
    p_NV[:, HEADS["dr_grade"]] = grade[:, None] >= np.arange(1, 5)
    p_NV[:, HEADS["is_gc"].start] = (rng.random(num_patients) < 0.3)[patient]
    p_NV[:, HEADS["eye_side"].start] = np.arange(n) % 2
    expert_NK = np.zeros((n, NUM_LABELS), np.bool_)
    for name in LABELLED:
        expert_NK[:, LABEL_NAMES.index(name)] = True
    difficulty = 0.6 * rng.standard_normal((num_patients, NUM_VALUES))[patient] + 0.5 * rng.standard_normal(
        (n, NUM_VALUES)
    )
    return Photographs(p_NV, expert_NK, [f"{number:03}" for number in patient], difficulty)


def predict(images: Photographs, separation: float, seed: int) -> Predictions:
    """Return the scores of one model."""
    rng = np.random.default_rng(seed)
    separation_V = separation + SEED_EFFECT * rng.standard_normal(NUM_VALUES)
    noise_NV = images.difficulty_NV + 0.6 * rng.standard_normal(images.p_NV.shape)
    logit_NV = separation_V * (images.p_NV - 0.5) + noise_NV
    return Predictions(logit_NV.astype(np.float32), images.p_NV, images.expert_NK, images.patients)


def curve(separation: float, seed: int, started: float = 0.0) -> tuple[CurvePoint, ...]:
    """Return a validation curve that rises from chance, or from `started` of its way, towards an end."""
    rng = np.random.default_rng(seed)
    end = 0.5 + 0.25 * min(separation, 1.9)
    shares = started + (1.0 - started) * (1.0 - np.exp(-np.arange(1, 9) / 2.5))
    auc = np.clip(0.5 + (end - 0.5) * shares + 0.02 * rng.standard_normal(8), 0.3, 1.0)
    return tuple(CurvePoint(step=50 * (i + 1), auc=float(value)) for i, value in enumerate(auc))


def _cell(name: str, arm: ArmSummary, fraction: float | None, separation: float, seed: int) -> TrainedCell:
    photographs = 0 if fraction is None else round(600 * fraction)
    images = CellImages(
        num_photographs=photographs,
        num_patients=photographs // 2,
        num_samples=2000 if arm.train != "photographs" else photographs if arm.added_samples else 0,
        known=dict.fromkeys(HEAD_NAMES, 100),
        positive={head: 0 if (head, fraction) == ("is_gc", 0.1) and seed == 2 else 30 for head in HEAD_NAMES},
    )
    started = 0.6 if arm.start == "samples" else 0.0
    return TrainedCell(
        digest=f"{name}-{fraction}-{seed}",
        parent=None,
        images=images,
        num_steps=400,
        trials=(Trial(learning_rate=1e-3, curve=curve(separation, seed, started)),),
        chosen=0,
    )


def example_results(
    architectures: tuple[str, ...] = ARCHITECTURES,
    seeds: tuple[int, ...] = (0, 1, 2),
    arms: Collection[str] = ARM_NAMES,
) -> TransferResults:
    """Return results in which the last of several architectures has no ImageNet weights."""
    chosen = tuple(arm for arm in ARMS if arm.name in arms)
    return TransferResults(
        arms=chosen,
        architectures=architectures,
        fractions=(1.0, 0.1),
        seeds=seeds,
        sample_labels="requested",
        external=(ExternalSet(name=EXTERNAL, num_images=2 * NUM_PATIENTS, num_excluded=2, patients_compared=True),),
        places=tuple(
            _place(arm, architecture, fraction, seed, last=architecture == architectures[-1] != architectures[0])
            for arm in chosen
            for architecture in architectures
            for fraction in ((1.0, 0.1) if arm.train == "photographs" else (None,))
            for seed in seeds
        ),
    )


def _place(arm: ArmSummary, architecture: str, fraction: float | None, seed: int, *, last: bool) -> Place:
    place = Place(arm=arm.name, architecture=architecture, fraction=fraction, seed=seed)
    if arm.start == "weights" and last:
        reason = f"transfer.arms.{arm.name}.weights.{architecture}: no file is named"
        return place.model_copy(update={"reason": reason})
    cell = _cell(f"{arm.name}-{architecture}", arm, fraction, _separation(place), seed)
    return place.model_copy(update={"trained": cell})


def example_predictions(results: TransferResults) -> dict[str, dict[str, Predictions]]:
    """Return predictions of the stated separation by digest; on the external set it is 0.7 of that."""
    external = external_key(EXTERNAL)
    sets = {
        VALIDATION: photographs(NUM_PATIENTS, 1),
        TEST: photographs(NUM_PATIENTS, 2),
        external: photographs(NUM_PATIENTS, 3),
    }
    return {
        place.trained.digest: {
            name: predict(images, _separation(place) * (0.7 if name == external else 1.0), 100 * number + i)
            for i, (name, images) in enumerate(sets.items())
        }
        for number, place in enumerate(results.places)
        if place.trained is not None
    }


def _separation(place: Place) -> float:
    return SEPARATION["real" if place.arm == "scratch" else place.arm, place.fraction]


def example_models(results: TransferResults) -> tuple[list[TrainedModel], list[TestSet]]:
    """Return the models of the example with their outputs, and the test sets."""
    return trained_models(results, example_predictions(results).__getitem__)


def write_grid(storage: Storage, results: TransferResults, *, without: str | None = None) -> None:
    """Write results and predictions to `GRID` as the stage does, without one of the test sets."""
    written = [storage.write_once(f"{GRID}/{RESULTS}", results.to_json())]
    for digest, predictions in example_predictions(results).items():
        data = encode_held_out({name: found for name, found in predictions.items() if name != without})
        written.append(storage.write_once(f"{GRID}/{predictions_file(digest)}", data))
    write_manifest(storage, GRID, written, TransferManifest(digest=""))


@cache
def example_transfer(architectures: tuple[str, ...] = ARCHITECTURES) -> ComputedTransfer:
    """Return the comparison of three seeds on two test sets."""
    results = example_results(architectures)
    return compare_models(results, *example_models(results))

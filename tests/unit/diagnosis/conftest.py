"""A small set of prepared images with visible labels: a bright spot for the side, redness for the DR grade."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.data_manifest import data_manifest
from support.shards_of_rows import write_shards
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.counts import LabelCounts
from synfundus.diagnosis.held_out import Predictions
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.png import encode_png
from synfundus.labels import HEADS, LABEL_NAMES, NUM_LABELS, NUM_VALUES
from synfundus.resources import TrainingResources
from synfundus.storage import Storage, write_manifest

SIZE_PX = 32
FOLDER = "data/spots"
GC, SIDE, FUNDUS = (HEADS[name].start for name in ("is_gc", "eye_side", "is_fundus"))


def spot_image(side: int, grade: int, seed: int) -> NDArray[np.uint8]:
    """Return an image; right eyes (0) have the spot on the right."""
    pixels = np.random.default_rng(seed).integers(40, 90, (SIZE_PX, SIZE_PX, 3)).astype(np.uint8)
    column = 22 if side == 0 else 4
    pixels[12:20, column : column + 6] = 250
    pixels[..., 0] += np.uint8(30 * grade)
    return pixels


def spot_row(number: int, **labels: int | None) -> dict[str, Any]:
    """Return row `number` in `fundus.shard.SCHEMA`; two images per patient, three of five patients in training."""
    side, grade = number % 2, (number // 2) % 5
    known: dict[str, int | None] = {"eye_side": side, "dr_grade": grade, "is_fundus": 1, **labels}
    patient = number // 2
    source = hashlib.sha256(str(number).encode()).hexdigest()
    row: dict[str, Any] = {
        "image_id": source[:16],
        "image": {"bytes": encode_png(spot_image(side, grade, number)), "path": None},
        "patient": f"patient-{patient}",
        "split": ("train", "train", "train", "validation", "test")[(patient + patient // 5) % 5],
    }
    for name in LABEL_NAMES:
        row[name] = known.get(name)
        row[f"source_{name}"] = "unknown" if row[name] is None else "expert"
    return row


@pytest.fixture
def make_images(storage: Storage) -> Callable[..., PreparedImages]:
    """Function `make_images(rows, folder=...)` that writes prepared images in shards of 60 rows."""

    def make(rows: list[dict[str, Any]], folder: str = FOLDER) -> PreparedImages:
        objects = write_shards(storage, folder, rows, 60)
        objects.append(storage.write_once(f"{folder}/rejected.json", b"{}\n"))
        write_manifest(storage, folder, objects, data_manifest(rows, SIZE_PX))
        return PreparedImages(storage, folder)

    return make


@pytest.fixture
def make_row() -> Callable[..., dict[str, Any]]:
    return spot_row


@pytest.fixture
def spots(make_images: Callable[..., PreparedImages]) -> PreparedImages:
    """150 images; a third of them has no label except `is_fundus`."""
    rows = [spot_row(i, **({"eye_side": None, "dr_grade": None} if i % 6 >= 4 else {})) for i in range(150)]
    return make_images(rows)


@pytest.fixture
def tiny() -> AnnotatorConfig:
    """Settings of timm's own test network in fp32, so that equality is exact."""
    return AnnotatorConfig(
        architecture="test_resnet",
        image_size_px=32,
        num_steps=60,
        batch_size=16,
        learning_rate=3e-3,
        warmup_steps=5,
        rotation_deg=5.0,
        scale=0.05,
        dropout=0.1,
        resources=TrainingResources(precision="fp32", num_threads=1),
    )


@pytest.fixture
def validation() -> tuple[Predictions, LabelCounts]:
    """Logits and counts of 120 images: side is predicted perfectly, glaucoma by chance, DR well; all are a fundus."""
    n = 120
    rng = np.random.default_rng(2)
    p_BV, expert_BK = np.zeros((n, NUM_VALUES), np.float32), np.zeros((n, NUM_LABELS), np.bool_)
    logit_BV = rng.normal(size=(n, NUM_VALUES)).astype(np.float32)
    for name in ("dr_grade", "eye_side", "is_gc", "is_fundus"):
        expert_BK[:, LABEL_NAMES.index(name)] = True
    p_BV[:, SIDE] = np.arange(n) % 2
    logit_BV[:, SIDE] += 20 * p_BV[:, SIDE] - 10
    p_BV[:, GC] = np.arange(n) // 2 % 2
    p_BV[:, FUNDUS] = 1
    grade = np.arange(n) // 4 % 4  # no grade 4
    for k in range(4):
        p_BV[:, k] = grade > k
        logit_BV[:, k] = 2 * grade - 2 * k - 1 + rng.normal(size=n)
    counts = LabelCounts(expert_BK, p_BV.sum(axis=0).astype(np.int64))
    return Predictions(logit_BV, p_BV, expert_BK, [f"patient {i // 2}" for i in range(n)]), counts

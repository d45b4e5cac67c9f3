"""Filling: only unknown labels are filled, only by usable heads, marked as filled, in a new dataset."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from support.models_of_phantoms import fill_here
from support.operating_points import half_points
from synfundus.diagnosis.annotator import Annotator, TableScorer
from synfundus.diagnosis.calibration import Calibration, HeadCalibration
from synfundus.diagnosis.fill import fill_shard
from synfundus.digests import sha256_hex
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.manifest import DataManifest, LabelSources, ParentDataset
from synfundus.fundus.shard import SCHEMA
from synfundus.labels import DISEASES, HEAD_NAMES, HEADS, LABEL_NAMES, NUM_VALUES
from synfundus.storage import LocalStorage, Storage, is_complete, read_manifest

MakeImages = Callable[..., PreparedImages]
MakeRow = Callable[..., dict[str, Any]]
UNUSABLE = "is_pm"


@pytest.fixture
def annotator_for() -> Callable[[list[dict[str, Any]]], Annotator]:
    """Function that makes an annotator: random logits, every fourth image is not a fundus, one label is unusable."""

    def make(rows: list[dict[str, Any]]) -> Annotator:
        rng = np.random.default_rng(0)
        logits = {row["image_id"]: rng.normal(size=NUM_VALUES).astype(np.float32) * 2 for row in rows}
        for number, logit_V in enumerate(logits.values()):
            logit_V[HEADS["is_fundus"]] = -3 if number % 4 == 3 else 3
        heads = {
            name: HeadCalibration(num_positive=9, num_negative=9, unusable="test" if name == UNUSABLE else None)
            for name in HEAD_NAMES
        }
        return Annotator(TableScorer(logits), Calibration(heads=heads), half_points(), "digest-of-annotator")

    return make


def _rows(storage: Storage, folder: str) -> list[dict[str, Any]]:
    names = sorted(name for name in storage.names(folder) if name.endswith(".parquet"))
    tables = [pq.read_table(io.BytesIO(storage.read(name))) for name in names]
    assert all(table.schema.equals(SCHEMA) for table in tables)
    return [row for table in tables for row in table.to_pylist()]


@pytest.fixture
def filled(
    storage: Storage, make_images: MakeImages, make_row: MakeRow, annotator_for: Callable[..., Annotator]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], Annotator, DataManifest]:
    """Rows before and after filling, the annotator, the new manifest."""
    rows = []
    for i in range(140):
        labels: dict[str, int | None] = {"is_fundus": None} if i % 8 < 4 else {}
        rows.append(make_row(i, **labels, **({"eye_side": None, "dr_grade": None} if i % 3 == 0 else {})))
    make_images(rows, "data/before")
    annotator = annotator_for(rows)
    manifest = fill_here(storage, "data/before", annotator, "data/after")
    return _rows(storage, "data/before"), _rows(storage, "data/after"), annotator, manifest


def test_experts_labels_and_images_stay_as_they_are(filled: Any) -> None:
    before, after, _, _ = filled
    assert len(before) == len(after) == 140
    for old, new in zip(before, after, strict=True):
        for name in ("image_id", "image", "patient", "split", *LABEL_NAMES):
            assert new[name] == old[name]
        for name in LABEL_NAMES:
            if old[f"source_{name}"] == "expert":
                assert new[f"source_{name}"] == "expert"
                assert new[f"filled_{name}"] is None


def test_unknown_labels_get_calibrated_probabilities_marked_as_filled(filled: Any) -> None:
    before, after, annotator, _ = filled
    for old, new in zip(before, after, strict=True):
        output = annotator.predict(np.zeros((1, 4, 4, 3), np.uint8), [old["image_id"]])
        is_fundus = old["is_fundus"] if old["is_fundus"] is not None else output.annotations[0]["is_fundus"]
        for name, p in output.probabilities(0).items():
            if old[name] is not None:
                continue
            if name == UNUSABLE or (is_fundus == 0 and (name in DISEASES or name == "eye_side")):
                assert (new[f"source_{name}"], new[f"filled_{name}"]) == ("unknown", None)
            else:
                assert new[f"source_{name}"] == "filled"
                assert new[f"filled_{name}"] == pytest.approx(p, rel=1e-6)


def test_an_experts_is_fundus_outranks_the_annotators(filled: Any) -> None:
    _, after, annotator, _ = filled
    overruled = [
        row
        for row in after
        if row["is_fundus"] == 1
        and annotator.predict(np.zeros((1, 4, 4, 3), np.uint8), [row["image_id"]]).annotations[0]["is_fundus"] == 0
    ]
    predicted = [row for row in after if row["source_is_fundus"] == "filled" and row["filled_is_fundus"] < 0.5]
    assert len(overruled) == 17  # every fourth of the images that an expert labelled
    assert all(row["source_is_gc"] == "filled" for row in overruled)
    assert len(predicted) == 18
    assert all(row["source_is_gc"] == "unknown" for row in predicted)


def test_the_reader_returns_filled_values_as_known(storage: Storage, filled: Any) -> None:
    annotator = filled[2]
    images = PreparedImages(storage, "data/after")
    batch = images.batch("train", range(images.num_images("train")))
    side = LABEL_NAMES.index("eye_side")
    new = batch.known_BK[:, side] & ~batch.expert_BK[:, side]
    assert new.any()
    p_BV = annotator.predict(batch.images_BHWC, batch.image_ids).probability_BV
    for name in ("eye_side", "dr_grade"):
        np.testing.assert_allclose(batch.p_BV[new][:, HEADS[name]], p_BV[new][:, HEADS[name]], atol=1e-5)


def test_the_manifest_names_parent_annotator_and_counts(storage: LocalStorage, filled: Any) -> None:
    _, after, _, manifest = filled
    assert manifest == read_manifest(storage, "data/after", DataManifest)
    before = read_manifest(storage, "data/before", DataManifest)
    assert manifest.parent == ParentDataset(
        folder="data/before",
        manifest_sha256=sha256_hex(storage.read("data/before/manifest.json")),
        digest=before.digest,
    )
    # The stage's own digest, not the parent's: it identifies a finished stage after `runs/` was deleted.
    assert manifest.digest == "filled"
    assert manifest.annotator_digest == "digest-of-annotator"
    assert (manifest.kind, manifest.size_px, manifest.num_images.total) == ("data", 32, 140)
    names = [f"images-{shard:05d}.parquet" for shard in range(3)]
    assert sorted(manifest.files) == [*names, "index.npy", "rejected.json"]
    for name in LABEL_NAMES:
        counted = {s: sum(row[f"source_{name}"] == s for row in after) for s in ("expert", "filled", "unknown")}
        assert manifest.sources[name] == LabelSources(**counted)
    assert manifest.sources[UNUSABLE].filled == 0


def test_filling_again_gives_the_same_bytes_and_an_unfinished_fill_is_not_complete(
    storage: LocalStorage, filled: Any
) -> None:
    annotator, before = filled[2], storage.read("data/after/manifest.json")
    storage.path("data/after/manifest.json").unlink()
    storage.path("data/after/images-00002.parquet").unlink()
    assert not is_complete(storage, "data/after")
    fill_here(storage, "data/before", annotator, "data/after")
    assert storage.read("data/after/manifest.json") == before


def test_a_second_annotator_fills_only_what_the_first_left(storage: Storage, filled: Any) -> None:
    _, after, annotator, _ = filled
    heads = {name: HeadCalibration(num_positive=9, num_negative=9, offset=1.0) for name in HEAD_NAMES}
    second = Annotator(annotator.scorer, Calibration(heads=heads), half_points(), "second")
    data, counts = fill_shard(storage.read("data/after/images-00000.parquet"), second)
    again = pq.read_table(io.BytesIO(data)).to_pylist()
    assert counts[UNUSABLE]["filled"] > 0
    for old, new in zip(after, again, strict=False):
        for name in LABEL_NAMES:
            if old[f"source_{name}"] == "filled":
                assert new[f"filled_{name}"] == old[f"filled_{name}"]


def test_an_incomplete_dataset_is_refused(storage: Storage, filled: Any) -> None:
    with pytest.raises(WrongInputError, match="data/none is not complete"):
        fill_here(storage, "data/none", filled[2], "data/other")

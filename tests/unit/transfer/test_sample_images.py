"""Samples as a training set: accepted ones only, the stated labels, and the shuffled control."""

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from support.samples_example import FOLDER, NUM_SAMPLES, UNRESOLVED, phantom_samples
from synfundus.diagnosis.training_set import SplitSet
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.shard import decode_pixels
from synfundus.labels import LABEL_NAMES, SampleLabels, decode_values, expand_known
from synfundus.samples.shards import read_samples
from synfundus.storage import Storage
from synfundus.transfer.cells import SampleChoice
from synfundus.transfer.joined import JoinedSet
from synfundus.transfer.sample_images import AcceptedSamples, SampleSet
from synfundus.transfer.sources import CellPlaces

ALL = np.arange(NUM_SAMPLES - 1)


@pytest.fixture
def samples(storage: Storage) -> AcceptedSamples:
    phantom_samples(storage)
    return AcceptedSamples(storage, FOLDER)


def choice(labels: SampleLabels = "requested", *, shuffled: bool = False, ratio: float | None = None) -> SampleChoice:
    return SampleChoice(samples="5a" * 32, labels=labels, shuffled=shuffled, ratio=ratio)


def rows_of(storage: Storage) -> list[dict[str, object]]:
    return [row for _, table in read_samples(storage, FOLDER) for row in table.to_pylist()]


def test_images_and_labels_are_those_of_the_accepted_rows(storage: Storage, samples: AcceptedSamples) -> None:
    rows = rows_of(storage)
    assert UNRESOLVED not in samples.ids_N
    for labels, kind in (("requested", "condition"), ("predicted", "annotation")):
        batch = SampleSet(samples, choice(labels), 0).batch(ALL)  # type: ignore[arg-type]
        assert batch.image_ids == [str(row["sample_id"]) for row in rows]
        found = decode_values(batch.p_BV, batch.expert_BK)
        assert found == [{name: row[f"{kind}_{name}"] for name in LABEL_NAMES} for row in rows]
        for pixels_HWC, row in zip(batch.images_BHWC, rows, strict=True):
            np.testing.assert_array_equal(pixels_HWC, decode_pixels(row["image"]["bytes"]))  # type: ignore[index]


def test_any_order_gives_the_images_at_these_numbers(samples: AcceptedSamples) -> None:
    of_all = SampleSet(samples, choice(), 0).batch(ALL)
    order = np.array([7, 2, 2, 10])
    some = SampleSet(samples, choice(), 0).batch(order)
    np.testing.assert_array_equal(some.images_BHWC, of_all.images_BHWC[order])
    np.testing.assert_array_equal(some.p_BV, of_all.p_BV[order])


def test_agreeing_labels_are_known_and_equal_in_both(storage: Storage, samples: AcceptedSamples) -> None:
    batch = SampleSet(samples, choice("agreeing"), 0).batch(ALL)
    rows = rows_of(storage)
    for k, name in enumerate(LABEL_NAMES):
        same = [row[f"condition_{name}"] == row[f"annotation_{name}"] is not None for row in rows]
        expected = [row[f"condition_{name}"] if equal else None for row, equal in zip(rows, same, strict=True)]
        assert batch.expert_BK[:, k].tolist() == [value is not None for value in expected]
        assert [row[name] for row in decode_values(batch.p_BV, batch.expert_BK)] == expected


def label_rows(samples: AcceptedSamples, seed: int, *, shuffled: bool) -> NDArray[np.float32]:
    batch = SampleSet(samples, choice(shuffled=shuffled), seed).batch(ALL)
    return np.concatenate([batch.p_BV, batch.expert_BK], axis=1)


def test_the_control_keeps_images_and_whole_rows_of_labels_and_parts_them(samples: AcceptedSamples) -> None:
    own, control = (label_rows(samples, 1, shuffled=shuffled) for shuffled in (False, True))
    assert Counter(map(bytes, own)) == Counter(map(bytes, control))
    assert not np.array_equal(own, control)
    assert not np.array_equal(control, label_rows(samples, 2, shuffled=True)), "another seed shuffles in another way"
    np.testing.assert_array_equal(
        SampleSet(samples, choice(shuffled=True), 1).batch(ALL).images_BHWC,
        SampleSet(samples, choice(), 1).batch(ALL).images_BHWC,
    )


def test_counts_equal_those_of_the_decoded_batch(samples: AcceptedSamples) -> None:
    images = SampleSet(samples, choice("agreeing"), 0)
    counts, batch = images.count(), images.batch(ALL)
    np.testing.assert_array_equal(counts.expert_NK, batch.expert_BK)
    np.testing.assert_array_equal(counts.positive_V, batch.p_BV.sum(axis=0))
    assert (batch.p_BV[~expand_known(batch.expert_BK)] == 0).all()


def test_a_larger_ratio_adds_samples_and_removes_none(samples: AcceptedSamples) -> None:
    def ids(ratio: float, seed: int = 0) -> list[str]:
        images = SampleSet(samples, choice(ratio=ratio), seed, num_photographs=4)
        return images.batch(np.arange(images.num_images)).image_ids

    assert [len(ids(ratio)) for ratio in (0.5, 1, 2)] == [2, 4, 8]
    assert set(ids(0.5)) < set(ids(1)) < set(ids(2))
    assert ids(2) != ids(2, seed=1)


def test_too_few_samples_for_a_ratio_are_refused(samples: AcceptedSamples) -> None:
    message = r"samples/demo: the arm needs 12 samples, but 11 are accepted; sample more, or lower added_samples"
    with pytest.raises(WrongInputError, match=message):
        SampleSet(samples, choice(ratio=3), 0, num_photographs=4)


def test_joined_sets_give_the_images_of_both_in_any_order(places: CellPlaces) -> None:
    photographs = SplitSet(PreparedImages(places.storage, "data/p"))
    samples = SampleSet(AcceptedSamples(places.storage, FOLDER), choice(), 0)
    joined, n = JoinedSet(photographs, samples), photographs.num_images
    assert joined.num_images == n + samples.num_images
    order = np.array([n, 0, n + 3, n - 1, 5, n + 10])
    batch = joined.batch(order)
    for b, index in enumerate(order):
        one = photographs.batch(order[b : b + 1]) if index < n else samples.batch(order[b : b + 1] - n)
        np.testing.assert_array_equal(batch.images_BHWC[b], one.images_BHWC[0])
        np.testing.assert_array_equal(batch.p_BV[b], one.p_BV[0])
        np.testing.assert_array_equal(batch.expert_BK[b], one.expert_BK[0])
        assert (batch.image_ids[b], batch.patients[b]) == (one.image_ids[0], one.patients[0])
    for part in ([1, 2], [n + 1, n]):
        assert len(joined.batch(np.array(part))) == 2
    np.testing.assert_array_equal(joined.count().expert_NK, joined.batch(np.arange(joined.num_images)).expert_BK)

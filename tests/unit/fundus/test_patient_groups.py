"""Patient ids that are known to be one person are joined before the split."""

import pytest

from support.listings import listing, record, staged
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.patient_groups import join_patients
from synfundus.fundus.preparation import data_manifest, final_rows
from synfundus.fundus.rejection_report import SharedByPatients, rejection_report
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.sources import SourceRecord
from synfundus.fundus.splits import split_of
from synfundus.fundus.staging import FinalRow
from synfundus.fundus.verdicts import Verdicts

CONFIG = PrepareConfig(size_px=64)
KEY = bytes(32)


def rows_of(verdicts: Verdicts) -> list[FinalRow | None]:
    return final_rows(verdicts, CONFIG, KEY)


def pair_of_two_splits() -> tuple[str, str]:
    """Return two patients who lie in different splits."""
    first, *others = (f"p{i}" for i in range(20))
    split = split_of(f"patient:{first}", CONFIG.split_seed, CONFIG.split_fractions)
    other = next(p for p in others if split_of(f"patient:{p}", CONFIG.split_seed, CONFIG.split_fractions) != split)
    return first, other


def test_a_chain_of_pairs_is_one_patient_named_by_the_last_of_them() -> None:
    patients = ["a", "b", "c", "d", "b", "e"]
    assert join_patients(patients, []) == patients
    assert join_patients(patients, [(0, 1), (2, 4)]) == ["c", "c", "c", "d", "c", "e"]
    assert join_patients(patients, [(2, 4), (1, 0), (0, 0)]) == ["c", "c", "c", "d", "c", "e"]
    assert join_patients([], []) == []


def test_two_ids_with_one_eye_lie_in_one_split_as_one_patient() -> None:
    one, other = pair_of_two_splits()
    records = [record("a", one), record("b", one), record("c", other), record("d", other)]
    verdicts = Verdicts(records, [staged(str(i)) for i in range(4)])
    apart = rows_of(verdicts)
    assert len({row.split for row in apart if row}) == 2
    verdicts.same_eye = [(1, 2)]
    rows = rows_of(verdicts)
    assert len({(row.patient, row.split) for row in rows if row}) == 1
    manifest = data_manifest(listing(*records), verdicts, rows, CONFIG, "digest", KEY)
    assert (manifest.joined_patient_ids, manifest.num_patients.total) == (1, 1)


def test_a_copy_under_another_id_joins_both_patients_though_it_is_rejected() -> None:
    one, other = pair_of_two_splits()
    records = [record("a", one, dr_grade=1), record("b", other), record("c", other)]
    verdicts = Verdicts(records, [staged("1"), staged("1"), staged("2")])
    assert verdicts.accepted == [0, 2]
    assert len({(row.patient, row.split) for row in rows_of(verdicts) if row}) == 1
    near = Verdicts(records, [staged("1"), staged("2"), staged("3")])
    near.reject_near_duplicates([(0, 1)])
    assert len({(row.patient, row.split) for row in rows_of(near) if row}) == 1


@pytest.mark.parametrize("label", [{"is_fundus": 0}, {}, {"is_fundus": 1}])
def test_a_placeholder_that_many_patients_share_joins_none(label: dict[str, int]) -> None:
    records: list[SourceRecord] = []
    for i in range(100):
        records += [record(f"{i:02}/blank", f"p{i}", None, **label), record(f"{i:02}/eye", f"p{i}", is_fundus=1)]
    exact = Verdicts(records, [staged("0" if i % 2 == 0 else str(i)) for i in range(200)])
    assert exact.counts()[ImageRejectionReason.EXACT_DUPLICATE] == 99
    near = Verdicts(records, [staged(str(i)) for i in range(200)])
    near.reject_near_duplicates([(0, i) for i in range(2, 200, 2)])
    alike = Verdicts(records, [staged(str(i)) for i in range(200)])
    alike.same_eye = [(i, i + 2) for i in range(0, 198, 2)]
    for verdicts in (exact, near, alike):
        rows = rows_of(verdicts)
        assert len({row.patient for row in rows if row}) == 100
        assert {row.split for row in rows if row} == {"train", "validation", "test"}
        report = rejection_report(verdicts, listing(*records))
        shared = () if label.get("is_fundus") == 0 else (SharedByPatients(name="00/blank", num_patients=100),)
        assert report.shared_images == shared
        manifest = data_manifest(listing(*records), verdicts, rows, CONFIG, "digest", KEY)
        assert (manifest.joined_patient_ids, manifest.shared_images) == (0, len(shared))


def test_an_image_of_two_ids_joins_them_beside_a_placeholder_of_many() -> None:
    records = [record(f"{i}", f"p{i // 2}") for i in range(8)]
    verdicts = Verdicts(
        records, [staged(name) for name in ("blank", "eye", "blank", "eye", "blank", "4", "blank", "5")]
    )
    rows = rows_of(verdicts)
    assert [image.num_patients for image in verdicts.shared_images] == [4]
    assert len({row.patient for row in rows if row}) == 3
    manifest = data_manifest(listing(*records), verdicts, rows, CONFIG, "digest", KEY)
    assert manifest.joined_patient_ids == 1


def test_an_id_all_of_whose_images_are_copies_counts_as_joined() -> None:
    records = [record("a", "p"), record("b", "q")]
    verdicts = Verdicts(records, [staged("1"), staged("1")])
    manifest = data_manifest(listing(*records), verdicts, rows_of(verdicts), CONFIG, "digest", KEY)
    assert (manifest.joined_patient_ids, manifest.num_patients.total) == (1, 1)


def test_an_image_without_patient_that_was_joined_does_not_count_as_a_patient() -> None:
    records = [record("a", "p"), *(record(name) for name in "bcdef")]
    verdicts = Verdicts(records, [staged(name) for name in ("1", "1", "2", "3", "4", "4")])
    verdicts.same_eye = [(2, 3)]
    rows = rows_of(verdicts)
    manifest = data_manifest(listing(*records), verdicts, rows, CONFIG, "digest", KEY)
    assert manifest.images_counted_as_patient == 1, "only the image e, whose copy f was rejected"


def test_an_image_without_patient_joins_the_patient_of_its_eye() -> None:
    records = [record("a", "p"), record("b"), record("c")]
    verdicts = Verdicts(records, [staged("1"), staged("2"), staged("3")])
    alone = rows_of(verdicts)
    verdicts.same_eye = [(0, 1)]
    rows = rows_of(verdicts)
    assert rows[0] == rows[1] == alone[0], "the group is named by the patient id"
    assert rows[2] == alone[2]
    manifest = data_manifest(listing(*records), verdicts, rows, CONFIG, "digest", KEY)
    assert manifest.joined_patient_ids == 0


def test_the_most_held_out_split_of_a_source_applies_to_the_whole_group() -> None:
    records = [record("a", "p", "train"), record("b", "q", "test"), record("c", "q", "train")]
    verdicts = Verdicts(records, [staged("1"), staged("2"), staged("3")])
    verdicts.same_eye = [(0, 2)]
    assert [row.split for row in rows_of(verdicts) if row] == ["test"] * 3

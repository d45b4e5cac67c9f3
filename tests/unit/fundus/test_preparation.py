"""What is decided once all originals are seen."""

import pytest

from synfundus.errors import WrongInputError
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.preparation import Verdicts, facts, final_rows, label_conflicts, listing_digest, merge_listings
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.sources import SourceListing, SourceRecord
from synfundus.fundus.sources.base import ImageFile
from synfundus.fundus.staging import Staged
from synfundus.labels import LABEL_NAMES

CONFIG = PrepareConfig(size_px=64)


def record(name: str, patient: str | None = None, split: str | None = None, **labels: int) -> SourceRecord:
    return SourceRecord(name, ImageFile(name), {**dict.fromkeys(LABEL_NAMES), **labels}, patient, split)


def listing(*records: SourceRecord) -> SourceListing:
    return SourceListing(list(records), [], [], has_patients=any(r.patient_id for r in records))


def staged(identity: str, pixels: str = "", reason: ImageRejectionReason | None = None, field_px: int = 100) -> Staged:
    return Staged(identity, reason, "broken" if reason else "", field_px, None if reason else pixels or identity)


def test_sources_are_merged_by_name_whatever_their_order() -> None:
    one = listing(record("b"), record("a"))
    other = SourceListing([record("a")], ["t.csv row 2: x.jpg"], ["y.jpg"], has_patients=False)
    merged = merge_listings([one, other])
    assert [r.name for r in merged.records] == ["a", "b", "sources.1/a"]
    assert merged.rows_without_image == ["sources.1/t.csv row 2: x.jpg"]
    assert merged.images_without_row == ["sources.1/y.jpg"]
    with pytest.raises(WrongInputError, match="no image found"):
        merge_listings([listing()])


def test_the_digest_of_a_listing_sees_names_labels_and_who_shares_a_patient_but_no_id() -> None:
    base = [record("a", "p", dr_grade=1), record("b", "p"), record("c", "q")]
    digest = listing_digest(base)
    assert digest == listing_digest([record("a", "7", dr_grade=1), record("b", "7"), record("c", "8")])
    for changed in (
        [record("a", "p", dr_grade=2), *base[1:]],
        [record("x", "p", dr_grade=1), *base[1:]],
        [base[0], record("b", "q"), base[2]],
        [base[0], record("b", None), base[2]],
        [base[0], record("b", "p", "test"), base[2]],
        base[:2],
    ):
        assert listing_digest(changed) != digest


def test_exact_copies_by_bytes_and_by_pixels_leave_one_and_tell_conflicting_labels() -> None:
    records = [
        record("a", "p", dr_grade=1),
        record("b", "q", dr_grade=3, eye_side=1),
        record("c", "p", eye_side=0),
        record("d", "r"),
    ]
    found = [staged("1"), staged("1"), staged("2", pixels="1"), staged("3")]
    verdicts = Verdicts(records, found)
    assert verdicts.kept == [1, 3], "the copy with more labels stays"
    report = verdicts.report(listing(*records))
    assert report["counts"]["exact_duplicate"] == 2
    first, second = report["images"]
    assert (first["name"], first["twin"], first["conflicts"]) == ("a", "b", {"dr_grade": [3, 1]})
    assert (second["name"], second["conflicts"], second["same_patient"]) == ("c", {"eye_side": [1, 0]}, False)
    rows = final_rows(verdicts, CONFIG, bytes(32))
    assert facts(listing(*records), verdicts, rows)["label_conflicts"] == 2


def test_the_twin_that_is_named_is_one_that_stays() -> None:
    records = [record(name) for name in "abc"]
    verdicts = Verdicts(records, [staged("1", field_px=90), staged("1", field_px=80), staged("2", field_px=300)])
    verdicts.drop_near_duplicates([(0, 2)])
    assert verdicts.kept == [2]
    assert {row["name"]: row["twin"] for row in verdicts.report(listing(*records))["images"]} == {"a": "c", "b": "c"}
    assert verdicts.counts() == dict.fromkeys(ImageRejectionReason, 0) | {"exact_duplicate": 1, "near_duplicate": 1}


def test_label_conflicts_are_between_known_values_only() -> None:
    assert label_conflicts({"is_gc": 1, "is_amd": None}, {"is_gc": 1, "is_amd": 0, "is_rvo": 1}) == {}
    assert label_conflicts({"is_gc": 1}, {"is_gc": 0}) == {"is_gc": [1, 0]}


def test_an_image_without_patient_counts_as_one_and_splits_do_not_depend_on_the_key() -> None:
    records = [record(f"i{n:03d}", None if n % 3 else f"p{n // 6}") for n in range(300)]
    verdicts = Verdicts(records, [staged(f"{n:016x}") for n in range(300)])
    rows, other = (final_rows(verdicts, CONFIG, key) for key in (bytes(32), b"1" * 32))
    assert [r.split for r in rows if r] == [r.split for r in other if r]
    assert not {r.patient for r in rows if r} & {r.patient for r in other if r}
    told = facts(listing(*records), verdicts, rows)
    assert told["images_counted_as_patient"] == 200
    assert sum(told["num_patients"].values()) == 200 + 50
    assert sum(told["num_images"].values()) == 300


def test_facts_count_what_stays_by_source_and_value() -> None:
    records = [record("a", dr_grade=2, is_fundus=1), record("b", is_fundus=0), record("c")]
    verdicts = Verdicts(records, [staged("1"), staged("2"), staged("3", reason=ImageRejectionReason.TRUNCATED)])
    told = facts(listing(*records), verdicts, final_rows(verdicts, CONFIG, bytes(32)))
    assert told["sources"]["dr_grade"] == {"expert": 1, "filled": 0, "unknown": 1}
    assert told["values"]["is_fundus"] == {"0": 1, "1": 1}
    assert told["rejected"]["truncated"] == 1


def test_nothing_left_is_wrong_input_that_says_why() -> None:
    verdicts = Verdicts([record("a.jpg")], [staged("1", reason=ImageRejectionReason.TRUNCATED)])
    with pytest.raises(WrongInputError, match=r"none of 1 images is left \(1 truncated\); first: a\.jpg: broken"):
        verdicts.require_any()

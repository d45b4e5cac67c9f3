"""Accepted and rejected images, and the report about them."""

import pytest

from support.listings import listing, record, staged
from synfundus.errors import WrongInputError
from synfundus.fundus.rejection_report import RejectionReport, SameEye, rejection_report
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.verdicts import Verdicts, label_conflicts


def test_one_of_several_exact_copies_stays_and_label_conflicts_are_reported() -> None:
    records = [
        record("a", "p", dr_grade=1),
        record("b", "q", dr_grade=3, eye_side=1),
        record("c", "p", eye_side=0),
        record("d", "r"),
    ]
    verdicts = Verdicts(records, [staged("1"), staged("1"), staged("2", pixels="1"), staged("3")])
    assert verdicts.accepted == [1, 3], "the copy with more labels is accepted"
    report = rejection_report(verdicts, listing(*records))
    assert report.counts[ImageRejectionReason.EXACT_DUPLICATE] == 2
    first, second = report.images
    assert (first.name, first.twin, first.conflicts) == ("a", "b", {"dr_grade": (3, 1)})
    assert (second.name, second.conflicts, second.same_patient) == ("c", {"eye_side": (1, 0)}, False)


def test_the_reported_twin_is_an_accepted_image() -> None:
    records = [record(name) for name in "abc"]
    verdicts = Verdicts(records, [staged("1", field_px=90), staged("1", field_px=80), staged("2", field_px=300)])
    verdicts.reject_near_duplicates([(0, 2)])
    assert verdicts.accepted == [2]
    report = rejection_report(verdicts, listing(*records))
    assert {image.name: image.twin for image in report.images} == {"a": "c", "b": "c"}
    assert verdicts.counts() == dict.fromkeys(ImageRejectionReason, 0) | {"exact_duplicate": 1, "near_duplicate": 1}


def test_the_report_holds_pairs_of_one_eye_and_reads_back_as_it_was_written() -> None:
    records = [record("a", "p"), record("b", "p"), record("c"), record("d")]
    broken = staged("4", reason=ImageRejectionReason.TRUNCATED)
    verdicts = Verdicts(records, [staged("1"), staged("2"), staged("3"), broken])
    verdicts.same_eye = [(1, 2), (0, 1), (2, 3)]
    report = rejection_report(verdicts, listing(*records))
    assert report.same_eye == (
        SameEye(names=("a", "b"), same_patient=True),
        SameEye(names=("b", "c"), same_patient=False),
    )
    assert RejectionReport.from_json(report.to_json(), "rejected.json") == report


def test_label_conflicts_are_between_known_values_only() -> None:
    assert label_conflicts({"is_gc": 1, "is_amd": None}, {"is_gc": 1, "is_amd": 0, "is_rvo": 1}) == {}
    assert label_conflicts({"is_gc": 1}, {"is_gc": 0}) == {"is_gc": (1, 0)}


def test_a_preparation_without_accepted_image_is_wrong_input_with_the_reasons() -> None:
    verdicts = Verdicts([record("a.jpg")], [staged("1", reason=ImageRejectionReason.TOO_SMALL)])
    with pytest.raises(WrongInputError, match=r"all 1 images are rejected \(1 too small\); first: a\.jpg: broken"):
        verdicts.require_any()

"""The listings of all sources as one."""

import pytest

from support.listings import listing, record
from synfundus.errors import WrongInputError
from synfundus.fundus.listing import listing_digest, merge_listings
from synfundus.fundus.sources import SourceListing


def test_sources_are_merged_by_name_whatever_their_order() -> None:
    one = listing(record("b"), record("a"))
    other = SourceListing([record("a")], ["t.csv row 2: x.jpg"], ["y.jpg"], has_patients=False)
    merged = merge_listings([one, other])
    assert [r.name for r in merged.records] == ["a", "b", "sources.1/a"]
    assert merged.rows_without_image == ["sources.1/t.csv row 2: x.jpg"]
    assert merged.images_without_row == ["sources.1/y.jpg"]
    with pytest.raises(WrongInputError, match="no image found"):
        merge_listings([listing()])


def test_the_digest_depends_on_names_labels_and_grouping_by_patient_but_on_no_id() -> None:
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

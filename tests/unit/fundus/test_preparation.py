"""Patients, splits and the manifest of accepted images."""

from dataclasses import replace

from support.listings import listing, record, staged
from support.origin_example import only, release_origin
from synfundus.fundus.config import PrepareConfig
from synfundus.fundus.manifest import DataManifest, LabelSources
from synfundus.fundus.preparation import data_manifest, final_rows
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.verdicts import Verdicts

CONFIG = PrepareConfig(size_px=64)
KEY = bytes(32)


def manifest_of(verdicts: Verdicts) -> DataManifest:
    rows = final_rows(verdicts, CONFIG, KEY)
    return data_manifest(listing(*verdicts.records), verdicts, rows, CONFIG, "digest", KEY)


def test_an_image_without_patient_counts_as_one_and_splits_do_not_depend_on_the_key() -> None:
    records = [record(f"i{n:03d}", None if n % 3 else f"p{n // 6}") for n in range(300)]
    verdicts = Verdicts(records, [staged(f"{n:016x}") for n in range(300)])
    rows, other = (final_rows(verdicts, CONFIG, key) for key in (KEY, b"1" * 32))
    assert [r.split for r in rows if r] == [r.split for r in other if r]
    assert not {r.patient for r in rows if r} & {r.patient for r in other if r}
    manifest = manifest_of(verdicts)
    assert manifest.images_counted_as_patient == 200
    assert manifest.num_patients.total == 200 + 50
    assert manifest.num_images.total == 300


def test_the_manifest_counts_accepted_images_by_source_and_value() -> None:
    records = [record("a", dr_grade=2, is_fundus=1), record("b", is_fundus=0), record("c")]
    manifest = manifest_of(
        Verdicts(records, [staged("1"), staged("2"), staged("3", reason=ImageRejectionReason.TRUNCATED)])
    )
    assert manifest.sources["dr_grade"] == LabelSources(expert=1, unknown=1)
    assert manifest.values["is_fundus"] == {0: 1, 1: 1}
    assert manifest.rejected[ImageRejectionReason.TRUNCATED] == 1
    assert DataManifest.from_json(manifest.to_json(), "manifest.json") == manifest


def test_the_manifest_names_the_releases_among_the_sources() -> None:
    verdicts = Verdicts([record("a")], [staged("1")])
    of_release = replace(listing(record("a")), origin=only(release_origin()))
    manifest = data_manifest(of_release, verdicts, final_rows(verdicts, CONFIG, KEY), CONFIG, "digest", KEY)
    assert manifest.origin == only(release_origin())
    assert not manifest_of(verdicts).origin.releases


def test_the_manifest_counts_rejected_copies_with_other_labels() -> None:
    records = [record("a", dr_grade=1), record("b", dr_grade=3, eye_side=1), record("c", dr_grade=3)]
    assert manifest_of(Verdicts(records, [staged("1"), staged("1"), staged("1")])).label_conflicts == 1

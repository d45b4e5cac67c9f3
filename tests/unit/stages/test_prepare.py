"""Stage `prepare`: its checks, and a complete dataset whose originals are out of reach or have changed."""

import csv
import shutil
from pathlib import Path

import pytest

from support.data_manifest import data_manifest
from support.listings import listing, record, staged
from support.s3_proxy import Proxy, refuse
from support.s3_store import BUCKET, free_port
from synfundus.digests import digest_of
from synfundus.errors import WrongInputError
from synfundus.fundus.listing import listing_digest, merge_listings
from synfundus.fundus.manifest import REJECTED, SplitCounts
from synfundus.fundus.rejection_report import rejection_report
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.verdicts import Verdicts
from synfundus.stages.prepare import PrepareStage, PrepareSummary
from synfundus.stages.record import start_record
from synfundus.stages.stage import run_stages
from synfundus.storage import Storage, write_manifest
from synfundus.study import Study, load_study

ORIGINALS = f"s3://{BUCKET}/clinic"
STAGE = PrepareStage()


def study_of(folder: Path, text: str) -> Study:
    file = folder / "eyes.yaml"
    file.write_text(f"recipe: phantom-cpu\nname: eyes\nroot: root\n{text}")
    return load_study(file)


@pytest.fixture
def remote(tmp_path: Path) -> Study:
    """Study of photographs on S3."""
    return study_of(tmp_path, f"data:\n  sources: [{{layout: folder, path: {ORIGINALS}}}]\n")


@pytest.fixture
def local(tmp_path: Path) -> Study:
    """Study of two files on this disk."""
    (tmp_path / "clinic/images").mkdir(parents=True)
    with (tmp_path / "clinic/labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file_name", "is_gc"], ["a.png", "0"], ["b.png", "1"]])
    for name in ("a.png", "b.png"):
        (tmp_path / "clinic/images" / name).write_bytes(b"not read")
    return study_of(tmp_path, "data:\n  sources: [{layout: folder, path: clinic}]\n")


def write_complete(study: Study, storage: Storage, images_digest: str = "") -> None:
    """Close the study's dataset without an image."""
    digest = digest_of(STAGE.basis(study, storage))
    manifest = data_manifest([], 32).model_copy(update={"digest": digest, "images_digest": images_digest})
    write_manifest(storage, study.data_folder, [], manifest)


@pytest.fixture(params=["gone", "no bucket", "no right", "no credentials", "no store"])
def unreachable(request: pytest.FixtureRequest, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Make the originals unreachable in this way, and return the message."""
    match request.param:
        case "no bucket":
            proxy.change = refuse("list-type", 404, "NoSuchBucket")
            return f"{ORIGINALS}: there is no bucket {BUCKET!r}"
        case "no right":
            proxy.change = refuse("list-type", 403, "AccessDenied")
            return f"{ORIGINALS}: these credentials may not list and read there (AccessDenied)"
        case "no credentials":
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                monkeypatch.delenv(name)
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
            return f"{ORIGINALS}: no credentials"
        case "no store":
            nowhere = f"http://127.0.0.1:{free_port()}"
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", nowhere)
            return f"{ORIGINALS}: {nowhere} cannot be reached"
    return f"no longer at {ORIGINALS}"


def test_complete_data_is_used_though_its_originals_are_out_of_reach(
    remote: Study, storage: Storage, unreachable: str
) -> None:
    write_complete(remote, storage)
    shown: dict[str, dict[str, str]] = {}
    run_stages([STAGE], remote, storage, lambda name, rows: shown.update({name: dict(rows)}))
    originals = shown["prepare"]["originals"]
    assert originals.startswith(unreachable)
    assert originals.endswith("; the prepared images are used as they are")


def test_incomplete_data_needs_its_originals(remote: Study, storage: Storage, unreachable: str) -> None:
    with pytest.raises(WrongInputError, match=ORIGINALS) as caught:
        STAGE.check(remote, storage)
    assert unreachable.startswith("no longer") or unreachable in str(caught.value)


def test_complete_data_of_other_images_or_labels_is_refused(local: Study, storage: Storage, tmp_path: Path) -> None:
    write_complete(local, storage, listing_digest(merge_listings(STAGE.check(local, storage)).records))
    assert STAGE.compare_sources(local, storage) == []
    shutil.copy(tmp_path / "clinic/images/a.png", tmp_path / "clinic/images/c.png")
    with pytest.raises(WrongInputError, match="prepared from other images or labels"):
        STAGE.compare_sources(local, storage)


def test_a_dry_run_counts_the_images_and_reads_none(local: Study, storage: Storage) -> None:
    rows = dict(STAGE.describe(local, storage, STAGE.check(local, storage)))
    assert rows["folder"] == "2 images, no patient column: each counts as a patient"
    assert rows["write"].startswith("data/eyes below ")


def test_data_prepared_elsewhere_must_be_complete_and_is_not_compared(tmp_path: Path, storage: Storage) -> None:
    study = study_of(tmp_path, "data: {prepared: clinic, sources: []}\n")
    assert STAGE.is_made_elsewhere(study)
    with pytest.raises(WrongInputError, match=r"data\.prepared: data/clinic is not complete.*manifest\.json last"):
        STAGE.check(study, storage)
    write_complete(study, storage)
    assert STAGE.compare_sources(study, storage) == []


def test_a_patient_key_that_is_too_short_is_refused_before_any_work(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(tmp_path, "")
    monkeypatch.setenv("SYNFUNDUS_PATIENT_KEY", "short")
    with pytest.raises(WrongInputError, match="5 characters"):
        STAGE.check(study, storage)
    monkeypatch.delenv("SYNFUNDUS_PATIENT_KEY")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    STAGE.check(study, storage)
    assert not (tmp_path / "none").exists(), "a check makes no key"


def test_the_summary_names_counts_reasons_and_unmatched_rows() -> None:
    rejected = dict.fromkeys(ImageRejectionReason, 0) | {ImageRejectionReason.TOO_SMALL: 3}
    update: dict[str, object] = {
        "rejected": rejected,
        "rows_without_image": 2,
        "images_counted_as_patient": 5,
        "joined_patient_ids": 1,
    }
    rows = dict(PrepareSummary(data_manifest([], 32).model_copy(update=update), None).rows())
    assert rows == {
        "accepted": "train 0 images of 0 patients; validation 0 images of 0 patients; test 0 images of 0 patients",
        "rejected": "3 too small",
        "no judge": "fewer than 750 training patients have an expert's label, so none are set aside for a judge; the"
        " annotator judges the samples that it taught the generator",
        "no patient id": "5 images count as a patient each",
        "patient ids": "1 joined with another id, because both have one image, or photographs of one eye;"
        " listed in rejected.json",
        "tables": "2 rows without image, 0 images without row; listed in rejected.json",
    }
    update["rows_without_image"] = 4
    rows = dict(PrepareSummary(data_manifest([], 32).model_copy(update=update), None).rows())
    assert rows["tables"].startswith("fewer than half of the rows found an image; 4 rows without image")


def test_the_summary_counts_the_judges_photographs() -> None:
    counts = SplitCounts(train=8, judge=2, validation=1, test=1)
    manifest = data_manifest([], 32).model_copy(update={"num_images": counts, "num_patients": counts})
    rows = dict(PrepareSummary(manifest, None).rows())
    assert rows["accepted"].startswith("train 8 images of 8 patients; judge 2 images of 2 patients; validation 1 ")
    assert (counts.total, "no judge" in rows) == (12, False)


def test_the_summary_names_images_that_many_patients_share(local: Study, storage: Storage) -> None:
    records = [record(f"{place}/{i}", f"p{i}") for place in range(5) for i in range(3)]
    verdicts = Verdicts(records, [staged(str(i // 3)) for i in range(15)])
    report = rejection_report(verdicts, listing(*records)).to_json()
    written = storage.write_once(f"{local.data_folder}/{REJECTED}", report)
    manifest = data_manifest([], 32).model_copy(update={"shared_images": 5})
    write_manifest(storage, local.data_folder, [written], manifest)
    rows = STAGE.summary(local, storage).rows()
    assert [value for name, value in rows if name == "shared image"] == [
        f"one image belongs to 3 patients: {place}/0; label it is_fundus 0, or give its patients one id if it shows an"
        " eye"
        for place in range(3)
    ]
    assert ("shared images", "2 more; listed in rejected.json") in rows


def test_a_refusal_names_the_key_as_the_study_spells_it(local: Study, storage: Storage) -> None:
    basis = STAGE.basis(local, storage)
    names = STAGE.names_of_basis
    start_record(storage, STAGE.run_name(local), local.data_folder, basis, names)
    write_complete(local, storage)
    other = load_study(Path(local.root).parent / "eyes.yaml", ["data.prepare.split_seed=5"])
    with pytest.raises(WrongInputError, match=r"\(data\.prepare\.split_seed was 0, is 5\)"):
        run_stages([STAGE], other, storage, lambda *_: None)


def test_a_gpu_that_no_machine_has_is_refused_before_any_work(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    study = study_of(tmp_path, "data: {prepare: {resources: {num_gpus: 1}}}\n")
    with pytest.raises(WrongInputError, match=r"^data\.prepare\.resources\.num_gpus: is 1, but"):
        STAGE.check(study, storage)

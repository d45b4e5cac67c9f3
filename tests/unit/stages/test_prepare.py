"""`synfundus prepare` on data that is complete: its photographs may be out of reach."""

from pathlib import Path

import pytest

from support.s3_proxy import Proxy, refuse
from support.s3_store import BUCKET, free_port
from synfundus.errors import WrongInputError
from synfundus.fundus.splits import SPLITS
from synfundus.storage import Storage, write_manifest
from synfundus.study import Study, load_study
from synfundus_jobs import prepare

ORIGINALS = f"s3://{BUCKET}/clinic"
SUMMARY = {
    "num_images": dict.fromkeys(SPLITS, 4),
    "num_patients": dict.fromkeys(SPLITS, 2),
    "rejected": {},
    "images_counted_as_patient": 0,
    "rows_without_image": 0,
    "images_without_row": 0,
}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    file = tmp_path / "eyes.yaml"
    file.write_text(
        f"recipe: phantom-cpu\nname: eyes\nroot: root\ndata:\n  sources: [{{layout: folder, path: {ORIGINALS}}}]\n"
    )
    return load_study(file)


@pytest.fixture(params=["gone", "no bucket", "no right", "no credentials", "no store"])
def said(request: pytest.FixtureRequest, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """What is told of originals that are out of reach in this way."""
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


def test_complete_data_is_used_as_it_is(study: Study, storage: Storage, said: str) -> None:
    write_manifest(storage, study.data_folder, [], SUMMARY)
    originals = dict(prepare.run(study, storage))["originals"]
    assert originals.startswith(said)
    assert originals.endswith("; the prepared images are used as they are")


def test_data_that_is_not_complete_needs_its_originals(study: Study, storage: Storage, said: str) -> None:
    with pytest.raises(WrongInputError, match=ORIGINALS) as caught:
        prepare.run(study, storage)
    assert said.startswith("no longer") or said in str(caught.value)


def test_a_patient_key_that_is_too_short_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "phantoms.yaml"
    file.write_text("recipe: phantom-cpu\nname: phantoms\nroot: root\n")
    monkeypatch.setenv("SYNFUNDUS_PATIENT_KEY", "short")
    with pytest.raises(WrongInputError, match="5 characters"):
        prepare.check(load_study(file))
    monkeypatch.delenv("SYNFUNDUS_PATIENT_KEY")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    prepare.check(load_study(file))
    assert not (tmp_path / "none").exists(), "none is made by looking"

"""A store behind TLS whose certificate a private authority signed: one setting for boto3, Arrow and Ray Train."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.train._internal.storage import StorageContext

from support.certificates import Certificates, make_certificates
from support.s3_store import BUCKET, Store, running_store
from synfundus.environment import Environment
from synfundus.errors import WrongInputError
from synfundus.storage import open_storage
from synfundus.storage.client import arrow_filesystem, s3_client


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def running(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with running_store(tmp_path_factory.mktemp("tls"), certificates) as store:
        yield store


@pytest.fixture
def store(running: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store behind TLS. The environment of this process points to it, and names no authority."""
    for name in ("SYNFUNDUS_S3_CA_FILE", "AWS_CA_BUNDLE", "SYNFUNDUS_S3_ENDPOINT", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    yield running
    for client in (s3_client, arrow_filesystem):
        client.cache_clear()


def by_profile(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "aws-config"
    config.write_text(f"[default]\nca_bundle = {file}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))


@pytest.mark.parametrize("setting", ["SYNFUNDUS_S3_CA_FILE", "AWS_CA_BUNDLE", "profile"])
def test_both_clients_and_ray_train_trust_the_authority_of_one_setting(
    setting: str, store: Store, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if setting == "profile":
        by_profile(certificates.authority, monkeypatch, tmp_path)
    else:
        monkeypatch.setenv(setting, str(certificates.authority))
    storage = open_storage(f"s3://{BUCKET}/{setting}")  # boto3 writes, overwrites and removes a probe
    storage.write_once("data/a", b"abc")
    assert storage.open_input("data/a").read() == b"abc"  # Arrow
    filesystem, path = storage.arrow_location("runs/run")
    StorageContext(path, "train", storage_filesystem=filesystem)  # Ray Train writes its marker
    assert [name for name in storage.names("runs") if name.endswith(".validate_storage_marker")]


def test_our_setting_takes_precedence_over_that_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/of-aws")
    assert Environment().s3.ca_file == "/of-aws"
    monkeypatch.setenv("SYNFUNDUS_S3_CA_FILE", "/ours")
    assert Environment().s3.ca_file == "/ours"


def test_an_unknown_authority_is_one_line_that_names_the_setting(store: Store) -> None:
    with pytest.raises(
        WrongInputError, match=r"CERTIFICATE_VERIFY_FAILED.*set SYNFUNDUS_S3_CA_FILE to a PEM file"
    ) as it:
        open_storage(f"s3://{BUCKET}/unknown")
    assert "\n" not in str(it.value)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_without_certificates_is_one_line(
    content: str | None, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "authority.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SYNFUNDUS_S3_CA_FILE", str(file))
    with pytest.raises(WrongInputError, match=f"certificates {file}: cannot be read") as caught:
        open_storage(f"s3://{BUCKET}/broken")
    assert "\n" not in str(caught.value)

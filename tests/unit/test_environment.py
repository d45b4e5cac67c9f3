"""What comes from the environment."""

import os
from pathlib import Path

import pytest

from synfundus.distributed.session import FEWER_HELPERS, WORKERS_MALLOC, prepare_ray_environment
from synfundus.environment import Environment, S3Environment
from synfundus.errors import WrongInputError


def test_each_setting_has_its_variable_and_an_empty_one_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNFUNDUS_PATIENT_KEY", "k" * 20)
    monkeypatch.setenv("SYNFUNDUS_REAL_DATA", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/config")
    monkeypatch.setenv("SYNFUNDUS_REVISION", "abc")
    monkeypatch.setenv("SYNFUNDUS_SAMPLING_POOL", "gpu")
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setenv("KUBECONFIG", "")
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert Environment() == Environment(
        "k" * 20, None, Path("/config/synfundus"), S3Environment(), "abc", "gpu", "~/.kube/config", "head:6379"
    )


def test_a_store_is_found_by_our_variables_before_those_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://any")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert Environment().s3 == S3Environment("http://any", "eu-central-1", "path")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3")
    assert Environment().s3.endpoint == "http://s3"
    for name, value in {"ENDPOINT": "http://ours", "REGION": "here", "ADDRESSING": "virtual"}.items():
        monkeypatch.setenv(f"SYNFUNDUS_S3_{name}", value)
    assert Environment().s3 == S3Environment("http://ours", "here", "virtual")


@pytest.mark.parametrize("said", ["auto", "Path", "http://ours"])
def test_an_addressing_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("SYNFUNDUS_S3_ADDRESSING", said)
    with pytest.raises(WrongInputError, match=f"SYNFUNDUS_S3_ADDRESSING: '{said}' is not known; say path or virtual"):
        Environment()


def test_a_local_ray_gets_a_token_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", *WORKERS_MALLOC, *FEWER_HELPERS):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    assert prepare_ray_environment() is None
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    for name, value in (WORKERS_MALLOC | FEWER_HELPERS).items():
        assert os.environ[name] == value
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", *WORKERS_MALLOC, *FEWER_HELPERS):
        monkeypatch.delenv(name)


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert prepare_ray_environment() == "head:6379"
    assert os.environ["RAY_AUTH_MODE"] == "disabled"

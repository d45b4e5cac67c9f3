"""The environment variables of the library."""

import pickle
from pathlib import Path

import pytest

from synfundus.environment import Environment, S3Environment
from synfundus.errors import WrongInputError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = (
        "PATIENT_KEY",
        "PATIENT_KEY_FILE",
        "S3_CA_FILE",
        "REAL_DATA",
        "REVISION",
        "SAMPLING_POOL",
        "S3_ENDPOINT",
        "S3_REGION",
        "S3_ADDRESSING",
    )
    others = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE")
    folders = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "KUBECONFIG")
    for name in (*(f"SYNFUNDUS_{name}" for name in ours), *others, *folders, "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def test_every_field_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "SYNFUNDUS_PATIENT_KEY": "k" * 20,
        "SYNFUNDUS_PATIENT_KEY_FILE": "/secret/key",
        "SYNFUNDUS_REAL_DATA": "/photographs",
        "SYNFUNDUS_REVISION": "abc",
        "SYNFUNDUS_SAMPLING_POOL": "gpu",
        "XDG_CONFIG_HOME": "/config",
        "XDG_CACHE_HOME": "/cache",
        "KUBECONFIG": "/a:/b",
        "RAY_ADDRESS": "head:6379",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    environment = Environment()
    assert environment == Environment(
        patient_key="k" * 20,
        patient_key_file=Path("/secret/key"),
        real_data="/photographs",
        revision="abc",
        sampling_pool="gpu",
        config_home=Path("/config"),
        cache_home=Path("/cache"),
        kubeconfig="/a:/b",
        ray_address="head:6379",
    )
    assert environment.config_folder == Path("/config/synfundus")


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_set = Environment()
    for name in (
        "SYNFUNDUS_REAL_DATA",
        "SYNFUNDUS_S3_ENDPOINT",
        "SYNFUNDUS_S3_ADDRESSING",
        "KUBECONFIG",
        "RAY_ADDRESS",
    ):
        monkeypatch.setenv(name, "")
    assert Environment() == nothing_set
    assert nothing_set.real_data is None
    assert nothing_set.kubeconfig == "~/.kube/config"
    assert nothing_set.s3 == S3Environment(None, None, "virtual")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://any")
    assert Environment().s3.endpoint == "http://any"


def test_a_variable_of_a_like_name_is_another_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_set = Environment()
    for name in (
        "synfundus_patient_key",
        "revision",
        "kubeconfig",
        "ray_address",
        "aws_region",
        "SYNFUNDUS_KUBECONFIG",
    ):
        monkeypatch.setenv(name, "other")
    assert Environment() == nothing_set


def test_our_variables_of_a_store_take_precedence_over_those_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://any")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert Environment().s3 == S3Environment("http://any", "eu-central-1", "path")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3")
    assert Environment().s3.endpoint == "http://s3"
    for name, value in {"ENDPOINT": "http://ours", "REGION": "here", "ADDRESSING": "virtual"}.items():
        monkeypatch.setenv(f"SYNFUNDUS_S3_{name}", value)
    assert Environment().s3 == S3Environment("http://ours", "here", "virtual")


@pytest.mark.parametrize("value", ["auto", "Path", "http://ours"])
def test_a_wrong_value_is_an_error_of_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SYNFUNDUS_S3_ADDRESSING", value)
    with pytest.raises(WrongInputError) as caught:
        Environment()
    assert str(caught.value) == (
        f"SYNFUNDUS_S3_ADDRESSING: {value!r} is not allowed (Input should be 'path' or 'virtual');"
        " correct or unset this variable"
    )


def test_the_environment_can_be_pickled_and_does_not_show_the_patient_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNFUNDUS_PATIENT_KEY", "a secret key of patients")
    environment = Environment()
    assert pickle.loads(pickle.dumps(environment)) == environment
    assert "a secret key" not in repr(environment)

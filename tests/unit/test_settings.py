"""What comes from the environment."""

import os
from pathlib import Path

import pytest

from synfundus.settings import FEWER_HELPERS, WORKERS_MALLOC, Settings, prepare_ray_environment


def test_each_setting_has_its_variable_and_an_empty_one_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNFUNDUS_PATIENT_KEY", "k" * 20)
    monkeypatch.setenv("SYNFUNDUS_REAL_DATA", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/config")
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert Settings() == Settings("k" * 20, None, Path("/config/synfundus"), "head:6379")


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

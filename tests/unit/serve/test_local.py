"""`synfundus serve` refuses what it cannot serve before it starts Ray or loads a model."""

import socket
from pathlib import Path

import pytest

from support.tiny_study import NAME, PHANTOMS, run_here
from synfundus_serve.local import greeting

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a study whose models are complete, on a machine without a GPU."""
    file = tmp_path / "tiny.yaml"
    file.write_text(PHANTOMS)
    for folder in ("generators", "annotators"):
        (tmp_path / "root" / folder / NAME).mkdir(parents=True)
        (tmp_path / "root" / folder / NAME / "manifest.json").write_text("{}")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return file


def refused(capsys: Capture, *argv: object) -> str:
    """Return the one line of a command that is wrong input."""
    outcome = run_here(capsys, "serve", *argv)
    assert (outcome.code, outcome.out) == (2, ""), outcome
    return outcome.error_line


def test_a_model_that_is_not_complete_is_refused_with_the_command_that_makes_it(
    capsys: Capture, study: Path, tmp_path: Path
) -> None:
    root = tmp_path / "another root"
    message = refused(capsys, study, "--set", f"root={root}")
    assert f"generators/{NAME} is not complete" in message
    assert message.endswith(f"run `synfundus train-generator {study} '--set=root={root}'` first")


def test_withholding_copies_needs_the_copy_detector(capsys: Capture, study: Path) -> None:
    message = refused(capsys, study, "--set", "serving.withhold_copies=true")
    assert f"copy_detectors/{NAME} is not complete" in message
    assert "run `synfundus train-copy-detector " in message


@pytest.mark.parametrize("kind", ["generation", "diagnosis"])
def test_a_gpu_that_is_missing_is_refused_with_its_key_in_the_serving_section(
    capsys: Capture, study: Path, kind: str
) -> None:
    message = refused(capsys, study, "--set", f"serving.{kind}.num_gpus=0.5")
    assert f"serving.{kind}.num_gpus: is 0.5, but this machine has no GPU" in message


def test_a_port_that_is_taken_is_refused(capsys: Capture, study: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}: cannot listen" in refused(capsys, study, "--port", port)


def test_a_file_of_keys_that_cannot_be_read_is_refused(capsys: Capture, study: Path, tmp_path: Path) -> None:
    assert ": cannot be read (" in refused(capsys, study, "--keys", tmp_path / "none")


def test_the_greeting_shows_the_key_that_a_request_needs() -> None:
    url = "http://127.0.0.1:8000"
    with_key, without_key = greeting(url, "secret").splitlines(), greeting(url, None).splitlines()
    assert url in with_key[0]
    for line, endpoint in zip(with_key[1:], ("/v1/generate", "/v1/diagnose"), strict=True):
        assert line.startswith(f'curl -s {url}{endpoint} -H "Authorization: Bearer secret" ')
    assert not any("Authorization" in line for line in without_key)

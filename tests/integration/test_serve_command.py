"""`synfundus serve` from start to Ctrl-C, and studies that it refuses."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from support.endpoints import pixels_of
from support.s3_store import free_port
from support.tiny_study import FinishedStudy, finish, run_here, start_process


@contextmanager
def serving(study: FinishedStudy, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str, list[str]]]:
    """Run `synfundus serve`; yields its process, its URL and its greeting."""
    port = free_port()
    process = start_process("serve", study.file, "--port", port, *options)
    try:
        assert process.stdout is not None
        watchdog = threading.Timer(240, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        greeting = [process.stdout.readline() for _ in range(3)]
        watchdog.cancel()
        yield process, f"http://127.0.0.1:{port}", greeting
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_the_command_serves_until_it_is_interrupted(finished_study: FinishedStudy, tmp_path: Path) -> None:
    with serving(finished_study) as (process, url, greeting):
        assert url in greeting[0]
        command = greeting[1].replace("-o sample.png", "")
        generated = subprocess.run(command, shell=True, check=True, capture_output=True).stdout
        assert pixels_of(generated).shape == (32, 32, 3)
        (tmp_path / "sample.png").write_bytes(generated)
        diagnosed = subprocess.run(greeting[2], shell=True, check=True, capture_output=True, cwd=tmp_path).stdout
        assert len(json.loads(diagnosed)["images"]) == 1
        assert httpx.get(f"{url}/v1/labels").status_code == 401
        process.send_signal(signal.SIGINT)
        outcome = finish(process, timeout_s=120)
    assert outcome.code == 0
    assert outcome.complaints == ["loading the generator and the annotator", "stopped"]


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]], ids=["once", "twice"])
def test_requests_finish_after_the_first_signal_and_end_at_the_second(
    finished_study: FinishedStudy, signals: list[signal.Signals]
) -> None:
    with serving(finished_study, "--without-keys") as (process, url, _), ThreadPoolExecutor(1) as pool:
        assert httpx.get(f"{url}/readyz", timeout=60).status_code == 200
        request = {"steps": 500, "n": 2}
        under_way = pool.submit(httpx.post, f"{url}/v1/generate", json=request, timeout=120)
        time.sleep(1)
        process.send_signal(signals[0])
        while (refused := httpx.get(f"{url}/v1/labels", timeout=60)).status_code == 200:
            assert not under_way.done()
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert int(refused.headers["retry-after"]) > 0
        for number in signals[1:]:
            process.send_signal(number)
        error = under_way.exception()
        outcome = finish(process, timeout_s=120)
    assert outcome.code == 0
    assert outcome.complaints[1:] == ["finishing requests for up to 60 s; Ctrl-C ends at once", "stopped"]
    assert isinstance(error, httpx.RemoteProtocolError | httpx.ReadError) == (len(signals) == 2)
    assert error is not None or len(under_way.result().json()["images"]) == request["n"]


def test_a_study_that_cannot_be_served_is_refused_in_one_line(
    finished_study: FinishedStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = run_here(capsys, "serve", finished_study.file, "--set", f"root={tmp_path}/none")
    assert (empty.code, "train-generator" in empty.error_line) == (2, True)
    (tmp_path / "p.csv").write_text("image_id,gc\n0123456789abcdef,0.5\n")
    external = f"external_annotator={{predictions: {tmp_path}/p.csv, columns: {{is_gc: gc}}}}"
    table = run_here(capsys, "serve", finished_study.file, "--set", external)
    assert (table.code, "can neither annotate new images" in table.error_line) == (2, True)
    keyless = run_here(capsys, "serve", finished_study.file, "--keys", tmp_path / "keys")
    assert (keyless.code, ": cannot be read (" in keyless.error_line) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = run_here(capsys, "serve", finished_study.file, "--port", taken.getsockname()[1])
    assert (busy.code, ": cannot listen (" in busy.error_line) == (2, True)

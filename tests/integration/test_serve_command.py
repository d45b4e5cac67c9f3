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
from support.tiny_study import FinishedStudy, Outcome, finish, run_here, start_process


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


def finish_under_way(process: "subprocess.Popen[str]", url: str, key: str, signals: list[signal.Signals]) -> Outcome:
    """Send signals while a request is under way, which finishes after one signal, and is cut by two.

    A request that is cut is long, so that it does not finish before the second signal.
    """
    request = {"steps": 1000, "n": 2 if len(signals) == 1 else 20}
    headers = {"Authorization": f"Bearer {key}"}
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(httpx.post, f"{url}/v1/generate", json=request, headers=headers, timeout=120)
        time.sleep(1)
        process.send_signal(signals[0])
        while (refused := httpx.get(f"{url}/v1/labels", headers=headers, timeout=60)).status_code == 200:
            assert not under_way.done()
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert int(refused.headers["retry-after"]) > 0
        for number in signals[1:]:
            process.send_signal(number)
        error = under_way.exception()
        outcome = finish(process, timeout_s=120)
    assert isinstance(error, httpx.RemoteProtocolError | httpx.ReadError) == (len(signals) == 2)
    assert error is not None or len(under_way.result().json()["images"]) == request["n"]
    return outcome


def test_the_command_serves_and_finishes_requests_after_the_first_signal(
    finished_study: FinishedStudy, tmp_path: Path
) -> None:
    with serving(finished_study) as (process, url, greeting):
        assert url in greeting[0]
        command = greeting[1].replace("-o sample.png", "")
        generated = subprocess.run(command, shell=True, check=True, capture_output=True).stdout
        assert pixels_of(generated).shape == (32, 32, 3)
        (tmp_path / "sample.png").write_bytes(generated)
        diagnosed = subprocess.run(greeting[2], shell=True, check=True, capture_output=True, cwd=tmp_path).stdout
        assert len(json.loads(diagnosed)["images"]) == 1
        assert httpx.get(f"{url}/v1/labels").status_code == 401
        key = command.split("Bearer ")[1].split()[0].strip("'\"")
        outcome = finish_under_way(process, url, key, [signal.SIGTERM])
    assert outcome.code == 0
    drained = "finishing requests for up to 60 s; Ctrl-C ends at once"
    assert outcome.complaints == ["loading the generator and the annotator", drained, "stopped"]


def test_a_second_signal_ends_at_once(finished_study: FinishedStudy) -> None:
    with serving(finished_study, "--without-keys") as (process, url, _):
        assert httpx.get(f"{url}/readyz", timeout=60).status_code == 200
        outcome = finish_under_way(process, url, "none", [signal.SIGINT, signal.SIGINT])
    assert outcome.code == 0
    assert outcome.complaints[1:] == ["finishing requests for up to 60 s; Ctrl-C ends at once", "stopped"]


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

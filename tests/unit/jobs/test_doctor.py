"""`synfundus doctor` with a root on S3: it probes the store once, and compares the clocks."""

import email.utils
import time
from pathlib import Path

import pytest

from support.s3_proxy import Proxy, Response, refuse
from support.s3_store import BUCKET
from support.tiny_study import PHANTOMS, Outcome, run_here

Capture = pytest.CaptureFixture[str]


def doctor(capsys: Capture, folder: Path) -> Outcome:
    """Run `synfundus doctor` on a study whose root is a prefix of its own in the store."""
    file = folder / "tiny.yaml"
    file.write_text(PHANTOMS)
    return run_here(capsys, "doctor", file, "--set", f"root=s3://{BUCKET}/{folder.name}")


def test_a_store_is_listed_once_and_probed_with_two_conditional_puts(
    capsys: Capture, proxy: Proxy, tmp_path: Path
) -> None:
    outcome = doctor(capsys, tmp_path)
    assert outcome.code == 0, outcome.err
    assert "writable, honours the conditional PUT, clock within" in outcome.out
    # The store must refuse the second PUT.
    assert [request.split()[0] for request in proxy.requests] == ["GET", "PUT", "PUT", "DELETE"]


@pytest.mark.parametrize(("offset_s", "code"), [(-200, 0), (200, 0), (-600, 2), (600, 2)])
def test_a_clock_that_differs_is_reported_before_the_store_refuses_it(
    capsys: Capture, proxy: Proxy, tmp_path: Path, offset_s: int, code: int
) -> None:
    def shift(request: str, response: Response) -> None:
        response.headers["Date"] = email.utils.formatdate(time.time() + offset_s, usegmt=True)

    proxy.change = shift
    outcome = doctor(capsys, tmp_path)
    assert outcome.code == code, outcome.err
    if code:
        start = f"error: root: the clock of s3://{BUCKET}/{tmp_path.name} differs by "
        assert outcome.error_line.startswith(start)
        reported_s, _, remedy = outcome.error_line.removeprefix(start).partition(" s; ")
        assert abs(int(reported_s) - offset_s) < 60
        assert remedy == "set this machine's clock"


def test_a_clock_that_the_store_refuses_is_one_line(capsys: Capture, proxy: Proxy, tmp_path: Path) -> None:
    proxy.change = refuse("", 403, "RequestTimeTooSkewed")
    outcome = doctor(capsys, tmp_path)
    assert outcome.code == 2
    assert "this machine's clock differs from the store's; set the clock" in outcome.error_line


def test_answers_without_a_time_are_reported(capsys: Capture, proxy: Proxy, tmp_path: Path) -> None:
    def silence(request: str, response: Response) -> None:
        response.headers.pop("Date")

    proxy.change = silence
    outcome = doctor(capsys, tmp_path)
    assert outcome.code == 0, outcome.err
    assert "writable, honours the conditional PUT, its answers carry no time" in outcome.out

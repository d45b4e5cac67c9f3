"""An error is one line on standard error and an exit code."""

import errno
import os

import pytest

from synfundus.errors import StorageError, WrongInputError
from synfundus_jobs.errors import guarded
from synfundus_jobs.exit_codes import DONE, FAILED, INTERRUPTED, WRONG_INPUT

Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, error: BaseException | None, *, debug: bool = False) -> tuple[int, str]:
    """Return exit code and standard error of a verb that raises `error`."""

    def body() -> None:
        if error is not None:
            raise error

    code = guarded(body, debug=debug)
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (None, DONE, ""),
        (WrongInputError("a.csv, row 3:\n  wrong"), WRONG_INPUT, "error: a.csv, row 3: wrong\n"),
        (StorageError("disk full while writing x"), FAILED, "error: disk full while writing x\n"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/x"),
            FAILED,
            "error: disk full (/tmp/x); free some space and run the same command again\n",
        ),
        (OSError(errno.EIO, "I/O error"), FAILED, "error: OSError: [Errno 5] I/O error\n"),
        (
            KeyboardInterrupt(),
            INTERRUPTED,
            "interrupted; the same command goes on where this one stopped\n",
        ),
        (
            KeyError("a"),
            FAILED,
            "error: KeyError: 'a' (a defect of synfundus; run again with --debug and report the traceback)\n",
        ),
    ],
)
def test_an_error_is_one_line_and_a_code(capsys: Capture, error: BaseException | None, code: int, message: str) -> None:
    assert run(capsys, error) == (code, message)


def test_the_exit_codes_are_those_of_the_documentation() -> None:
    assert (DONE, FAILED, WRONG_INPUT, INTERRUPTED) == (0, 1, 2, 130)


@pytest.mark.parametrize("error", [WrongInputError("wrong"), OSError(errno.ENOSPC, "full"), KeyError("a")])
def test_debug_shows_the_traceback_before_the_same_line_and_code(capsys: Capture, error: Exception) -> None:
    code, line = run(capsys, error)
    debug_code, message = run(capsys, error, debug=True)
    assert debug_code == code
    assert message.startswith("Traceback (most recent call last)")
    assert message.endswith(f"\n{line}")

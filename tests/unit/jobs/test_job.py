"""What every job shares: one line an error, exit codes, arguments, tables that keep what is written in them."""

import errno
import os

import pytest

from synfundus.errors import StorageError, WrongInputError
from synfundus_jobs.job import DONE, FAILED, INTERRUPTED, WRONG_INPUT, OneLineParser, guarded, require_gpu, show_rows


def outcome(capsys: pytest.CaptureFixture[str], error: BaseException | None, *, debug: bool = False) -> tuple[int, str]:
    def body() -> int:
        if error is not None:
            raise error
        return DONE

    code = guarded(body, debug=debug)
    captured = capsys.readouterr()
    assert captured.out == ""
    return code, captured.err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (None, DONE, ""),
        (WrongInputError("a.csv, row 3:\n  wrong"), WRONG_INPUT, "error: a.csv, row 3: wrong\n"),
        (StorageError("disk full while writing x"), FAILED, "error: disk full while writing x\n"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/x"),
            FAILED,
            "error: disk full (/tmp/x); free some space and run the same command again\n",
        ),
        (
            KeyboardInterrupt(),
            INTERRUPTED,
            "interrupted; the same command goes on where this one stopped\n",
        ),
        (
            KeyError("a"),
            FAILED,
            "error: KeyError: 'a' (a defect; run again with --debug for the traceback)\n",
        ),
    ],
)
def test_an_error_is_one_line_and_a_code(
    capsys: pytest.CaptureFixture[str], error: BaseException | None, code: int, said: str
) -> None:
    assert outcome(capsys, error) == (code, said)


def test_debug_shows_the_traceback_before_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = outcome(capsys, WrongInputError("wrong"), debug=True)
    assert code == WRONG_INPUT
    assert said.startswith("Traceback (most recent call last)")
    assert said.endswith("error: wrong\n")


def test_a_mistake_on_the_command_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    parser = OneLineParser(prog="synfundus fill")
    parser.add_argument("study")
    with pytest.raises(SystemExit) as caught:
        parser.parse_args([])
    assert caught.value.code == WRONG_INPUT
    said = capsys.readouterr().err
    assert said == "error: the following arguments are required: study; synfundus fill --help says more\n"


def test_a_table_keeps_brackets_and_long_paths_whole(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/a folder [of mine]/" + "x" * 300 + "/[bold]index.html"
    show_rows("evaluate", [("report", path), ("AUC", "0.91 [0.88, 0.94]")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split(None, 1) == ["report", path]
    assert lines[2].split(None, 1)[1].rstrip() == "0.91 [0.88, 0.94]"


def test_a_gpu_that_is_not_there_is_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    require_gpu("generator", use_gpu=False)
    with pytest.raises(WrongInputError, match=r"generator\.use_gpu: this machine has no GPU"):
        require_gpu("generator", use_gpu=True)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    require_gpu("generator", use_gpu=True)

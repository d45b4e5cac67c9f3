"""Tables keep what is written in them, and a reader that closes the pipe is not an error."""

import subprocess
import sys
from pathlib import Path

import pytest

from synfundus_jobs.screen import show_rows


def test_a_table_keeps_brackets_and_long_paths_whole(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/a folder [of mine]/" + "x" * 300 + "/[bold]index.html"
    show_rows("evaluate", [("report", path), ("AUC", "0.91 [0.88, 0.94]")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "evaluate"
    assert lines[1].split(None, 1) == ["report", path]
    assert lines[2].split(None, 1)[1] == "0.91 [0.88, 0.94]"
    assert all(line == line.rstrip() for line in lines)


def test_work_goes_on_when_the_reader_closes_the_pipe() -> None:
    """Everything after the first line is dropped, and the exit code is that of the command."""
    program = (
        "import sys, time\n"
        "from synfundus_jobs.screen import write, write_bytes\n"
        "write('first\\n')\n"
        "time.sleep(1)\n"
        "write('x' * 1_000_000)\n"
        "assert write_bytes(b'more')\n"
        "sys.stderr.write('finished')\n"
        "sys.exit(3)\n"
    )
    command = f'set -o pipefail; {sys.executable} -c "$PROGRAM" | head -n 1'
    done = subprocess.run(["bash", "-c", command], env={"PROGRAM": program}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "first\n", "finished")


def test_a_reader_that_closes_the_pipe_of_the_help_is_no_error() -> None:
    command = f"set -o pipefail; {sys.executable} -m synfundus_jobs --help | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("stream", ["0<&-", ">&-", "2>&-", "0<&- >&- 2>&-"])
def test_a_closed_stream_is_no_error(tmp_path: Path, stream: str) -> None:
    script = Path(sys.executable).with_name("synfundus")
    for command, code in (("--version", 0), ("study bogus", 2), (f"study init {tmp_path}/{{}}.yaml", 0)):
        words = command.format(len(list(tmp_path.iterdir())))
        done = subprocess.run(["bash", "-c", f"{script} {words} {stream}"], capture_output=True, text=True)
        assert (done.returncode, "Traceback" in done.stderr, "a defect" in done.stderr) == (code, False, False)
    (file,) = tmp_path.iterdir()
    assert file.read_text().startswith("# A study of your own photographs.")


def test_a_help_that_cannot_be_written_is_one_line() -> None:
    command = f"{sys.executable} -m synfundus_jobs --help > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "error: disk full; free some space and run the same command again\n")

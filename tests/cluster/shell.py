"""One bash that lives as long as a person's terminal: exports, functions and background jobs stay."""

import os
import re
import signal
import subprocess
import threading
from pathlib import Path

DONE = "--- command done ---"
_BLOCK = re.compile(r"<!-- cluster: ([a-z-]+) -->\n```bash\n(.*?)```", re.DOTALL)


def readme_blocks(readme: Path) -> dict[str, list[str]]:
    """Commands of the README's section "On a cluster", by the name in the comment before each block."""
    found = {}
    for name, text in _BLOCK.findall(readme.read_text(encoding="utf-8")):
        joined = text.replace("\\\n", " ")
        found[name] = [line for line in map(str.strip, joined.splitlines()) if line and not line.startswith("#")]
    return found


class Shell:
    """Runs commands one after the other, each to its end; the first that fails ends the test."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *commands: str, timeout_s: float = 900) -> str:
        """What the commands print."""
        return "".join(self._run(command, timeout_s) for command in commands)

    def _run(self, command: str, timeout_s: float) -> str:
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{command}\necho; echo '{DONE}' $?\n")
        self._bash.stdin.flush()
        watchdog = threading.Timer(timeout_s, self.close)
        watchdog.start()
        lines: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(DONE):
                break
            lines.append(line)
        else:
            raise AssertionError(f"no end after {timeout_s} s: {command}\n{''.join(lines)}")
        watchdog.cancel()
        said = "".join(lines).rstrip("\n") + "\n"
        print(f"$ {command}\n{said}", flush=True)
        code = int(line.split()[-1])
        assert code == 0, f"exit code {code}: {command}\n{said}"
        return said

    def close(self) -> None:
        """Ends it with all that it started."""
        if self._bash.poll() is None:
            os.killpg(self._bash.pid, signal.SIGTERM)
            self._bash.wait(30)

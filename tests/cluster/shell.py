"""One bash process for all commands of the tests, so that exports, functions and background jobs persist."""

import os
import re
import signal
import subprocess
import threading
from pathlib import Path

DONE = "--- command done ---"
_BLOCK = re.compile(r"<!-- cluster: ([a-z-]+) -->\n```bash\n(.*?)```", re.DOTALL)


def blocks_of(guide: Path) -> dict[str, list[str]]:
    """Return the commands of each block of a guide, by the name in the comment before the block."""
    found = {}
    for name, text in _BLOCK.findall(guide.read_text(encoding="utf-8")):
        joined = text.replace("\\\n", " ")
        found[name] = [line for line in map(str.strip, joined.splitlines()) if line and not line.startswith("#")]
    return found


class Shell:
    """Runs commands one after another. A command that fails raises AssertionError."""

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
        """Run the commands and return their output."""
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
            raise AssertionError(f"still running after {timeout_s} s: {command}\n{''.join(lines)}")
        watchdog.cancel()
        output = "".join(lines).rstrip("\n") + "\n"
        print(f"$ {command}\n{output}", flush=True)
        code = int(line.split()[-1])
        assert code == 0, f"exit code {code}: {command}\n{output}"
        return output

    def close(self) -> None:
        """End bash and every process that it started."""
        if self._bash.poll() is None:
            os.killpg(self._bash.pid, signal.SIGTERM)
            self._bash.wait(30)

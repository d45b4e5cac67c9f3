"""A command in a new process, with what it imported, decoded and cost. Run as `python -m support.watched_command`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

WATCHED = ("ray", "torch", "timm", "diffusers", "safetensors")
"""Modules without which no Ray starts and no weights are loaded."""


@dataclass(frozen=True)
class Watched:
    """A finished command."""

    code: int
    imported: list[str]
    """Modules of `WATCHED` that the process has imported."""
    num_decoded: int
    """Images that Pillow opened."""
    cpu_s: float
    """CPU time of the process in seconds, imports included."""


def watched_command(argv: Sequence[object], result: Path, environment: dict[str, str]) -> Watched:
    """Run `synfundus` with these arguments in a new process.

    Args:
        result: file for the new process to write to; it must not exist.
    """
    folder = Path(__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(folder), environment.get("PYTHONPATH")]))
    subprocess.run(
        [sys.executable, "-m", "support.watched_command", str(result), *map(str, argv)],
        env={**environment, "PYTHONPATH": path},
        check=True,
    )
    return Watched(**json.loads(result.read_text()))


def _main(result: Path, argv: Sequence[str]) -> None:
    from PIL import Image

    from synfundus_jobs import cli

    opened, real_open = [], Image.open

    def counted_open(*arguments: object, **options: object) -> Image.Image:
        opened.append(arguments)
        return real_open(*arguments, **options)  # type: ignore[arg-type]

    Image.open = counted_open  # type: ignore[assignment]
    code = cli.main(argv)
    imported = [name for name in WATCHED if name in sys.modules]
    result.write_text(json.dumps(asdict(Watched(code, imported, len(opened), time.process_time()))))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2:])

"""Peak memory of preparing one photograph. A module of its own, because a new process imports it by name."""

import os
from pathlib import Path

from synfundus.fundus.preprocess import prepare_image


def peak_of_preparing(file: str) -> int:
    """Return by how many bytes the resident memory of a new process grows at most while it prepares a photograph.

    The encoded bytes do not count. The process is a fork of this one, which has imported the library and prepares
    nothing itself, so that no memory is left to use again.
    """
    data = Path(file).read_bytes()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak to the present
        before = _kib("VmRSS:")
        prepare_image(data, 64, is_fundus=False)
        os.write(writing, str(_kib("VmHWM:") - before).encode())
        os._exit(0)
    os.waitpid(child, 0)
    kib = int(os.read(reading, 100))
    os.close(reading)
    os.close(writing)
    return kib * 1024


def _kib(field: str) -> int:
    return int(Path("/proc/self/status").read_text().split(field)[1].split()[0])

"""The folder of a local Ray session: short, private, and removed."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from synfundus.distributed import ray_folder as module
from synfundus.distributed.ray_folder import MAX_SOCKET_CHARS, SOCKET_IN_SESSION, ray_folder
from synfundus.errors import SynfundusError


def long_folder(tmp_path: Path) -> Path:
    """Return a folder with a path of 100 characters or more, as batch systems make them."""
    folder = tmp_path / ("x" * max(1, 99 - len(str(tmp_path))))
    folder.mkdir()
    assert len(str(folder)) >= 100
    return folder


def test_a_short_folder_for_temporary_files_is_used_and_only_its_owner_may_enter() -> None:
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as short, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", short)
        with ray_folder() as folder:
            assert folder.parent.parent == Path(short)
            assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
            folder.mkdir()
            (folder / "log").touch()
        assert list(Path(short).iterdir()) == []


def test_a_long_folder_for_temporary_files_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = long_folder(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with ray_folder() as folder:
        assert len(f"{folder}{SOCKET_IN_SESSION}") <= MAX_SOCKET_CHARS
    assert not folder.parent.exists()
    assert list(long.iterdir()) == []


def test_without_any_short_folder_the_message_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(long_folder(tmp_path)))
    monkeypatch.setattr(module, "SHORT_FOLDERS", ("/missing",))
    with pytest.raises(SynfundusError, match=r"^TMPDIR: .* is too long for Ray's sockets"), ray_folder():
        raise AssertionError("there is no folder")


SESSION = """
from pathlib import Path
from synfundus.distributed.session import ray_session

with ray_session():
    import ray

    assert ray.get(ray.remote(lambda: 42).remote()) == 42
    session = Path(ray._private.worker.global_worker.node.get_session_dir_path())
    sockets = [str(path) for path in session.rglob("*") if path.is_socket()]
    print(session.parent.parent, max(len(path.removeprefix(str(session.parent))) for path in sockets))
"""


def test_ray_starts_with_a_folder_for_temporary_files_of_100_characters(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["TMPDIR"] = str(long_folder(tmp_path))
    command = [sys.executable, "-c", SESSION]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    folder, longest = done.stdout.split()
    assert int(longest) <= len(SOCKET_IN_SESSION)
    assert not Path(folder).exists()

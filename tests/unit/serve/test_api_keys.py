"""API keys: a file holds hashes only, and a request is admitted only with the key itself."""

import stat
from pathlib import Path

import pytest

from synfundus.errors import WrongInputError
from synfundus_jobs import cli
from synfundus_serve.api_keys import new_key, owner_of, read_keys


def test_a_file_holds_hashes_that_admit_their_keys_only(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    first, second = new_key(file, "clinic"), new_key(file, "lab-2")
    assert first != second
    assert first not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    keys = read_keys(file)
    assert [owner_of(key, keys) for key in (first, second, first + "x", "")] == ["clinic", "lab-2", None, None]
    (hash_of_first, _) = keys.values()
    assert owner_of(hash_of_first, keys) is None


@pytest.mark.parametrize("name", ["", "a b", "a:b", "x" * 65, "a\nb"])
def test_a_name_that_would_break_the_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WrongInputError, match="cannot name a key"):
        new_key(tmp_path / "keys", name)
    assert not (tmp_path / "keys").exists()


def test_a_name_is_used_once(tmp_path: Path) -> None:
    new_key(tmp_path / "keys", "clinic")
    with pytest.raises(WrongInputError, match="has a key named 'clinic'"):
        new_key(tmp_path / "keys", "clinic")


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_key_is_added_after_a_last_line_with_or_without_a_newline(tmp_path: Path, end: str) -> None:
    """printf and Kubernetes Secrets may leave the last line without a newline."""
    file = tmp_path / "keys"
    first = new_key(file, "clinic")
    file.write_text(file.read_text().removesuffix("\n") + end)
    second = new_key(file, "lab-2")
    keys = read_keys(file)
    assert [owner_of(key, keys) for key in (first, second)] == ["clinic", "lab-2"]
    assert len(file.read_text().splitlines()) == 2


def test_two_lines_with_one_name_are_refused(tmp_path: Path) -> None:
    """Only one of the two keys would be admitted."""
    (tmp_path / "keys").write_text(f"clinic:{'0' * 64}\nlab-2:{'1' * 64}\nclinic:{'2' * 64}\n")
    with pytest.raises(WrongInputError, match=r"keys, line 3: a second key named 'clinic'; rename or delete one"):
        read_keys(tmp_path / "keys")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"clinic:abc\n", "line 1"), (b"# note\n\nclinic\n", "line 3"), (b"\xff", "UTF-8")],
)
def test_a_file_that_holds_no_keys_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    with pytest.raises(WrongInputError, match=message):
        read_keys(tmp_path / "keys")


def test_the_command_shows_the_key_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["key", str(tmp_path / "keys"), "clinic"]) == 0
    key = capsys.readouterr().out.strip()
    assert owner_of(key, read_keys(tmp_path / "keys")) == "clinic"
    assert cli.main(["key", str(tmp_path / "no" / "keys"), "clinic"]) == 2
    assert ": cannot be written (" in capsys.readouterr().err

"""Fixtures of the tests that run the command line."""

from pathlib import Path

import pytest

from support.clinic import write_clinic
from support.fundus_photographs import encoded, photograph


@pytest.fixture(scope="session")
def six_photographs() -> list[bytes]:
    """PNG files of six photographs."""
    return [encoded(photograph(i)) for i in range(6)]


@pytest.fixture
def clinic(tmp_path: Path, six_photographs: list[bytes]) -> Path:
    """The file of a study of six photographs with a table."""
    return write_clinic(tmp_path, six_photographs)

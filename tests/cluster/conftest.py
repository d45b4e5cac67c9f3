"""Fixtures of the tests on a cluster, which KUBECONFIG and the name of an image identify."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.shell import Shell, blocks_of

REPOSITORY = Path(__file__).parents[2]
IMAGE = "SYNFUNDUS_TEST_IMAGE"


@pytest.fixture(scope="session")
def image() -> str:
    """Name of the pods' image. Without an image or a cluster the tests skip."""
    name = os.environ.get(IMAGE)
    if not name or not os.environ.get("KUBECONFIG"):
        pytest.skip(f"no cluster: set KUBECONFIG and {IMAGE} (docs/cluster.md)")
    return name


@pytest.fixture(scope="session")
def blocks() -> dict[str, list[str]]:
    """Commands of the guide, by the name of their block."""
    return blocks_of(REPOSITORY / "docs" / "cluster.md")


@pytest.fixture(scope="session")
def shell(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A terminal in a folder with the repository's files that the guide uses."""
    folder = tmp_path_factory.mktemp("terminal")
    for name in ("helm", "infra", "studies"):
        (folder / name).symlink_to(REPOSITORY / name)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SYNFUNDUS_", "AWS_"))
    }
    scripts = Path(sys.executable).parent
    shell = Shell(folder, environment | {"PATH": f"{scripts}{os.pathsep}{environment['PATH']}", "IMAGE": image})
    yield shell
    shell.close()

"""A cluster is given by a kubeconfig, the image of the pods by its name; how they came to be is not known here."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.shell import Shell, readme_blocks

REPOSITORY = Path(__file__).parents[2]
IMAGE = "SYNFUNDUS_TEST_IMAGE"


@pytest.fixture(scope="session")
def image() -> str:
    """Of the pods; without one, or without a cluster, there is nothing to test."""
    name = os.environ.get(IMAGE)
    if not name or not os.environ.get("KUBECONFIG"):
        pytest.skip(f"no cluster here: set KUBECONFIG and {IMAGE} (make test-cluster says how)")
    return name


@pytest.fixture(scope="session")
def blocks() -> dict[str, list[str]]:
    return readme_blocks(REPOSITORY / "README.md")


@pytest.fixture(scope="session")
def shell(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A terminal in a folder like the repository's."""
    folder = tmp_path_factory.mktemp("terminal")
    for name in ("helm", "infra", "studies"):
        (folder / name).symlink_to(REPOSITORY / name)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SYNFUNDUS_", "AWS_"))}
    scripts = Path(sys.executable).parent
    shell = Shell(folder, ours | {"PATH": f"{scripts}{os.pathsep}{ours['PATH']}", "IMAGE": image})
    yield shell
    shell.close()

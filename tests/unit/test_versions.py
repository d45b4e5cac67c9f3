"""Each version is decided in one place; every file that repeats one agrees with it."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from synfundus import __version__

REPOSITORY = Path(__file__).parents[2]
FOLDERS = (".ci", "docs", "helm", "infra", "jobs", "platform", "serve", "studies", "tests")
ROOT_FILES = ("CONTRIBUTING.md", "Makefile", "README.md", "SECURITY.md", "pyproject.toml")
HISTORY = ("docs/decisions/", "docs/log.md", "tests/benchmarks/results/", "tests/unit/test_versions.py")
"""Records of the past, which keep their versions, and this file."""
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def texts() -> Iterator[tuple[str, str]]:
    """Yield name and content of each text file of the repository that describes the present."""
    paths = [path for folder in FOLDERS for path in sorted((REPOSITORY / folder).rglob("*"))]
    for path in [REPOSITORY / name for name in ROOT_FILES] + paths:
        name = path.relative_to(REPOSITORY).as_posix()
        if path.is_file() and "__pycache__" not in path.parts and not name.startswith(HISTORY):
            try:
                yield name, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # an image


def locked(package: str) -> str:
    """Return the version of a package in the lock."""
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    found = re.search(rf"^{package}(?:\[[^]]*\])?==(\S+)", lock, re.MULTILINE)
    assert found is not None
    return found[1]


def chart() -> dict[str, str]:
    """Return the version, appVersion, kubeVersion and Ray version of Chart.yaml."""
    loaded = yaml.safe_load((REPOSITORY / "helm" / "synfundus" / "Chart.yaml").read_text(encoding="utf-8"))
    return {**loaded, "ray": loaded["annotations"]["synfundus.io/ray-version"]}


def oldest_and_newest_python() -> tuple[str, str]:
    """Return the first and the last Python version that `requires-python` allows."""
    allowed = [f"3.{minor}" for minor in range(30) if f"3.{minor}.0" in SpecifierSet(PROJECT["requires-python"])]
    return allowed[0], allowed[-1]


def test_the_chart_has_the_version_of_the_product() -> None:
    assert chart()["version"] == chart()["appVersion"] == __version__
    values = yaml.safe_load((REPOSITORY / "helm" / "synfundus" / "values.yaml").read_text(encoding="utf-8"))
    assert values["image"].endswith(f":{__version__}")


def test_the_chart_and_pyproject_have_the_version_of_ray_in_the_lock() -> None:
    assert chart()["ray"] == locked("ray")
    (ray,) = [dependency for dependency in PROJECT["dependencies"] if dependency.startswith("ray[")]
    assert locked("ray") in SpecifierSet(ray.partition("]")[2])


def test_python_versions_agree() -> None:
    oldest, newest = oldest_and_newest_python()
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert f"(3, {oldest[2:]}) <= sys.version_info < (3, {int(newest[2:]) + 1})" in makefile
    classifiers = [text.rpartition(" ")[2] for text in PROJECT["classifiers"] if "Python :: 3." in text]
    assert (classifiers[0], classifiers[-1]) == (oldest, newest)


PATTERNS = {
    "image": (r"localhost/synfundus:([\w.]+)", __version__),
    "Python range": (r"Python (3\.\d+ to 3\.\d+)", " to ".join(oldest_and_newest_python())),
    "oldest Python": (
        r"(?:--python-version |python_version = \"|/library/python:)(3\.\d+)",
        oldest_and_newest_python()[0],
    ),
    "Kubernetes": (r"Kubernetes (1\.\d+) or later", re.findall(r"1\.\d+", chart()["kubeVersion"])[0]),
    "KubeRay": (r"KubeRay\s+operator(?:\]\([^)]*\))?\s+\(?(1\.\d+) or later", None),
    "tried KubeRay": (r"(?:KubeRay\s+|kuberay-operator --version )(\d+\.\d+\.\d+)", None),
    "S3 store": (r"versity/versitygw:(v[\d.]+\d)", None),
}
"""Name -> pattern of a version, and its value; None: all places agree, wherever it is."""


@pytest.mark.parametrize("name", PATTERNS)
def test_every_place_that_repeats_a_version_agrees(name: str) -> None:
    pattern, expected = PATTERNS[name]
    found = {(file, version) for file, text in texts() for version in re.findall(pattern, text)}
    assert found
    assert {version for _, version in found} == {expected or next(iter(found))[1]}, sorted(found)

"""Structure of the packages: no cycle, no import by a string, every room in the contract of layers, light settings."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

REPOSITORY = Path(__file__).parents[2]
ROOTS = {"synfundus": "platform", "synfundus_jobs": "jobs", "synfundus_serve": "serve"}
"""Package -> folder that holds it."""
HEAVY = {"torch", "torchvision", "timm", "diffusers", "ray", "boto3", "matplotlib", "scipy.optimize"}
"""Modules that take too long to import for a command that only reads a study."""


def room_of(module: str) -> str:
    """Return the room of a module: a package or single file of the library, or one of the other two packages."""
    return ".".join(module.split(".")[:2]) if module.startswith("synfundus.") else module.partition(".")[0]


def sources() -> Iterator[Path]:
    for folder in ROOTS.values():
        yield from (REPOSITORY / folder).rglob("*.py")


def rooms_of_library() -> set[str]:
    """Return every package and single file of the library, by its module name."""
    folder = REPOSITORY / "platform" / "synfundus"
    files = {f"synfundus.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"}
    return files | {f"synfundus.{path.parent.name}" for path in folder.glob("*/__init__.py")}


def contracts() -> list[dict[str, list[str]]]:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, list[str]]] = settings["tool"]["importlinter"]["contracts"]
    return found


def test_no_package_is_part_of_a_cycle() -> None:
    graph = grimp.build_graph(*ROOTS, cache_dir=None)
    imports: dict[str, set[str]] = {}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            if room_of(module) != room_of(imported):
                imports.setdefault(room_of(module), set()).add(room_of(imported))
    assert len(imports) > 20  # the graph was read
    try:
        list(TopologicalSorter(imports).static_order())
    except CycleError as error:
        pytest.fail(f"a cycle of imports: {' <- '.join(error.args[1])}")


def test_every_room_has_its_place_in_the_contract_of_layers() -> None:
    layers = " | ".join(contracts()[0]["layers"]).replace(":", "|")
    assert {name.strip() for name in layers.split("|")} == rooms_of_library() | {"synfundus_jobs", "synfundus_serve"}


def test_the_architecture_page_lists_the_layers_of_the_contract() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"```\n(synfundus_jobs\n.*?)```", page, re.DOTALL)
    layers = [layer.replace("synfundus.", "").replace(" :", ",") for layer in contracts()[0]["layers"]]
    assert listed.splitlines() == layers


def test_no_module_is_imported_by_a_string() -> None:
    """The contract of layers cannot see such an import."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import | ast.ImportFrom) else set()
            used = getattr(node, "attr", getattr(node, "id", None))
            assert "importlib" not in names, f"{path}: import importlib"
            assert not names & {"import_module", "runpy"}, f"{path}: {names}"
            assert used not in ("import_module", "__import__", "run_module"), f"{path}:{node.lineno}: {used}"  # type: ignore[attr-defined]


def test_pythons_own_platform_module_is_not_shadowed() -> None:
    assert not (REPOSITORY / "platform" / "__init__.py").exists()


def test_settings_and_manifests_import_nothing_heavy() -> None:
    """A command that only reads a study or finished stages starts in about a second."""
    files = [path for path in sources() if path.stem in ("config", "manifest") or path.parent.name == "study"]
    relative = [path.relative_to(REPOSITORY / "platform").with_suffix("") for path in files]
    modules = sorted({".".join(path.parts).removesuffix(".__init__") for path in relative})
    assert len(modules) > 10
    code = f"import sys\nfor name in {modules}: __import__(name)\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) & HEAVY == set()

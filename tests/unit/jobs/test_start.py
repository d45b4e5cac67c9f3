"""Modules that a command imports before it does anything cost seconds of a person's time."""

import subprocess
import sys
from pathlib import Path

import pytest

SLOW = {"torch", "ray", "scipy", "matplotlib", "timm", "diffusers"}


def modules_after(*argv: str, code: int = 0) -> set[str]:
    """Return the modules that `synfundus` with these arguments has imported at its end, in a new process."""
    program = f"import sys; from synfundus_jobs.cli import main; code = main({list(argv)!r}); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; sys.exit(code)"], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("argv", ["--help", "cluster list --help", "sample --help", "serve --help", "study --help"])
def test_help_imports_nothing_slow(argv: str) -> None:
    assert not modules_after(*argv.split()) & {*SLOW, "kubernetes", "rich.markdown"}


def test_a_command_that_only_reads_a_study_imports_nothing_slow(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("recipe: phantom-cpu\nname: demo\nroot: outputs\n")
    assert not modules_after("study", "show", str(file)) & {*SLOW, "kubernetes", "boto3"}
    assert not modules_after("fetch", str(file), code=2) & {*SLOW, "kubernetes"}
    assert not modules_after("key", str(tmp_path / "keys"), "clinic") & {*SLOW, "kubernetes"}


def test_the_verbs_of_a_cluster_import_nothing_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert not modules_after("cluster", "list", code=2) & SLOW

"""Modules that a command imports before it does anything cost seconds of a person's time."""

import subprocess
import sys
from pathlib import Path

import pytest

SLOW = {"torch", "ray", "scipy", "matplotlib", "timm", "diffusers"}


def modules_after(*commands: str, code: int) -> set[str]:
    """Return the modules that a new process has imported after these commands, which all end with `code`."""
    program = (
        "import sys\n"
        "from synfundus_jobs.cli import main\n"
        "codes = [main(command.split()) for command in sys.argv[1:]]\n"
        "print(*codes)\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *commands], capture_output=True, text=True, check=True)
    codes, modules = done.stdout.splitlines()[-2:]
    assert codes.split() == [str(code)] * len(commands), done.stderr
    return set(modules.split())


def test_help_and_a_command_that_only_reads_a_study_import_nothing_slow(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("recipe: phantom-cpu\nname: demo\nroot: outputs\n")
    modules = modules_after(
        "--help",
        "sample --help",
        "serve --help",
        "cluster list --help",
        f"study show {file}",
        f"study init {tmp_path}/my.yaml",
        f"key {tmp_path}/keys clinic",
        code=0,
    )
    assert modules & {*SLOW, "kubernetes", "boto3"} == set()


def test_a_verb_that_reads_a_root_or_a_cluster_imports_nothing_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither exists here, so each command ends when it opens them."""
    file = tmp_path / "study.yaml"
    file.write_text("recipe: phantom-cpu\nname: demo\nroot: outputs\n")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    modules = modules_after(f"fetch {file}", "cluster list", f"cluster status {file}", code=2)
    assert modules & SLOW == set()

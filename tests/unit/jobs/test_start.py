"""What a command imports before it does anything: seconds of a person's time."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("verb", ["cluster", "fetch", "key", "study"])
def test_a_command_that_only_reads_a_study_imports_no_torch_and_no_ray(verb: str) -> None:
    loaded = f"import sys, synfundus_jobs.{verb}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert f"synfundus_jobs.{verb}" in modules
    assert not modules & {"torch", "ray"}

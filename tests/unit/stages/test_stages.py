"""The table of stages."""

import subprocess
import sys
from pathlib import Path

from synfundus.stages import STAGES, stages_of
from synfundus.study import Study, resolve

HEAVY = ("torch", "ray", "diffusers", "timm", "matplotlib", "pyarrow", "boto3")


def study(text: str = "transfer: {architectures: [resnet10t]}\n") -> Study:
    return resolve(f"recipe: phantom-cpu\nname: tiny\nroot: root\n{text}", "tiny.yaml", Path("/studies"))


def test_stages_run_in_the_order_of_the_loop() -> None:
    names = [
        "prepare",
        "train-annotator",
        "fill",
        "train-copy-detector",
        "train-generator",
        "sample",
        "transfer",
        "evaluate",
        "publish",
    ]
    assert [stage.name for stage in STAGES] == names
    assert all(stage.help.endswith(".") for stage in STAGES)


def test_a_study_without_the_section_skips_transfer_and_nothing_else() -> None:
    assert stages_of(study()) == STAGES
    assert [stage for stage in STAGES if stage not in stages_of(study(""))] == [
        stage for stage in STAGES if stage.name == "transfer"
    ]


def test_each_stage_reads_only_what_earlier_ones_write() -> None:
    written: set[str] = set()
    for stage in STAGES:
        assert set(stage.inputs(study())) <= written, stage.name
        assert stage.output(study()) not in written
        written.add(stage.output(study()))


def test_runs_have_different_names() -> None:
    assert len({stage.run_name(study()) for stage in STAGES}) == len(STAGES)


def test_a_release_is_published_without_ray() -> None:
    assert {stage.name for stage in STAGES if stage.num_workers(study()) == 0} == {"publish"}


def test_the_table_of_stages_imports_nothing_heavy() -> None:
    """A command that only reads a study or finished stages must start quickly."""
    code = f"import sys, synfundus.stages; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"

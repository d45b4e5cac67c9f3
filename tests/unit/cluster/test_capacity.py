"""Studies whose stages need more than the pods hold: the chart and the command line refuse them in the same words."""

from functools import cache
from pathlib import Path

import pytest
import yaml

from support.chart import ROOT, SERVING, STUDY, STUDY_FILE, Document, helm, render_chart
from support.recipe_resources import FILE, recipe_resources
from synfundus.cluster.capacity import require_capacity
from synfundus.errors import WrongInputError
from synfundus.study import load_study

GPU = ["pools.sampling.gpus=1"]
EIGHT = [*GPU, "pools.sampling.logicalCpus=8"]
THIRDS = ["samples.resources.num_gpus=0.3"]
RELEASE = "release={title: x, data_statement: x, date_published: 2026-01-01}"
ON_GPUS = ["recipe=small-128", RELEASE, "samples.shard_rows=64", "generator.num_steps=2000", "annotator.num_steps=500"]


def grid(resources: str) -> str:
    """Return the setting of a study's grid with these resources."""
    return f"transfer={{architectures: [resnet10t], resources: {{{resources}}}}}"


CASES: list[tuple[list[str], list[str], str | None]] = [
    ([], [], None),
    (["samples.resources.pool_size=4"], [], None),
    (
        ["samples.resources.pool_size=5"],
        [],
        "needs 5 x (1 CPU) at once, and the pool sampling can hold 4; lower pool_size,",
    ),
    (["samples.resources.num_gpus=1"], [], "samples.resources: needs 2 x (1 CPU and 1 GPU) at once"),
    (["samples.resources.num_gpus=1"], GPU, None),
    (
        ["samples.resources={num_gpus: 1, pool_size: 5}"],
        GPU,
        "the pool sampling can hold 4; lower pool_size or num_gpus,",
    ),
    ([*THIRDS, "samples.resources.pool_size=12"], EIGHT, None),
    (
        [*THIRDS, "samples.resources.pool_size=13"],
        EIGHT,
        "needs 13 x (1 CPU and 0.3 GPU) at once, and the pool sampling",
    ),
    (["generator.resources.num_gpus=1"], [], "generator.resources: needs 1 x (1 GPU) at once, and head and pools"),
    (["generator.resources={num_gpus: 1, num_workers: 4}"], GPU, None),
    (["generator.resources.num_workers=9"], [], "generator.resources: needs 9 x (1 CPU) at once"),
    (["generator.resources.num_workers=8"], [], None),
    (["data.prepare.resources.num_gpus=1"], [], "data.prepare.resources: needs 1 x (1 CPU and 1 GPU) at once"),
    (["data.prepare.resources.pool_size=500"], [], None),
    (["evaluation.resources.num_gpus=1"], [], "evaluation.resources: needs 1 x (1 CPU and 1 GPU) at once"),
    (["fill.resources.pool_size=9"], [], "fill.resources: needs 9 x (1 CPU) at once"),
    (ON_GPUS, [], "annotator.resources: needs 1 x (1 GPU) at once"),
    (ON_GPUS, GPU, None),
    ([*ON_GPUS, "annotator.resources.num_gpus=0"], [], "fill.resources: needs 1 x (1 CPU and 1 GPU)"),
    ([grid("pool_size: 8")], [], None),
    ([grid("pool_size: 9")], [], "transfer.resources: needs 9 x (1 CPU) at once, and head and pools"),
    ([grid("num_gpus: 0.5")], [], "transfer.resources: needs 2 x (1 CPU and 0.5 GPU) at once"),
    ([grid("num_gpus: 0.5")], GPU, None),
    ([grid("num_workers: 9, pool_size: 1")], [], "transfer.resources: needs 9 x (1 CPU) at once"),
    ([grid("num_workers: 8, pool_size: 20")], [], None),
    (["transfer.architectures=[resnet10t]", "transfer.resources.pool_size=9"], [], "needs 9 x (1 CPU) at once"),
]
"""Settings of the study, values of the chart, and the message; None if the study is accepted."""


def chart_arguments(settings: list[str], values: list[str]) -> list[str]:
    """Return the arguments of helm for a study with these settings."""
    arguments = [word for value in values for word in ("--set", value)]
    for number, setting in enumerate(settings, 1):
        escaped = setting.replace(",", r"\,").replace("{", r"\{").replace("}", r"\}")
        arguments += ["--set-string", f"studies.demo.set[{number}]={escaped}"]
    return arguments


@cache
def job_spec(*values: str) -> Document:
    """Return the specification of jobs that the chart's template gives with these values."""
    documents = render_chart(*(word for value in values for word in ("--set", value)))
    (text,) = [d["data"]["spec.yaml"] for d in documents if d["metadata"]["name"] == "synfundus-job-template"]
    spec: Document = yaml.safe_load(text)
    return spec


@pytest.mark.parametrize(("settings", "values", "message"), CASES)
def test_the_chart_and_the_command_line_refuse_the_same_studies(
    settings: list[str], values: list[str], message: str | None
) -> None:
    arguments = chart_arguments(settings, values)
    study, spec = load_study(STUDY_FILE, [ROOT, *settings]), job_spec(*values)
    outcome = helm(*STUDY, *arguments)
    if message is None:
        require_capacity(study, spec)
        assert outcome.returncode == 0, outcome.stderr
        return
    with pytest.raises(WrongInputError) as caught:
        require_capacity(study, spec)
    assert message in str(caught.value)
    assert outcome.returncode != 0
    assert f"studies.demo: {caught.value}" in outcome.stderr


@pytest.mark.parametrize(
    ("gpus", "settings", "values", "is_accepted"),
    [
        (0, [], [], True),
        (0, ["serving.generation.num_gpus=1"], [], False),
        (1, ["serving.generation.num_gpus=1"], [], True),
        (1, ["serving.generation.num_gpus=1", "serving.diagnosis.num_gpus=0.1"], [], False),
        (1, ["serving.generation.num_gpus=0.8", "serving.diagnosis.num_gpus=0.2"], [], True),
        (1, ["recipe=small-128"], [], True),
        (0, ["recipe=small-128"], [], False),
        (1, ["recipe=small-128"], ["serving.replicas=2"], False),
        (2, ["recipe=small-128"], ["serving.replicas=2"], True),
        (1, ["recipe=small-128"], ["serving.replicas=2", "serving.pool.maxWorkers=2"], True),
        (2, ["serving.generation.num_gpus=0.6"], ["serving.replicas=3"], False),  # 0.6 + 0.6 fits on no GPU
        (1, ["serving.diagnosis.num_gpus=0.25"], ["serving.replicas=4"], True),
    ],
)
def test_replicas_that_find_no_gpu_are_refused(
    gpus: int, settings: list[str], values: list[str], is_accepted: bool
) -> None:
    pools = [f"serving.pool.gpus={gpus}", "serving.pool.logicalCpus=16", "studies.demo.run=false", *values]
    outcome = helm(*SERVING, *chart_arguments(settings, pools))
    assert (outcome.returncode == 0) == is_accepted, outcome.stderr
    assert is_accepted or "do not fit on the" in outcome.stderr


def test_a_prepared_dataset_needs_no_room_for_prepare(tmp_path: Path) -> None:
    settings = ["data.prepared=eyes", "data.prepare.resources.num_gpus=1"]
    file = tmp_path / "study.yaml"
    release = "{title: x, data_statement: x, date_published: 2026-01-01}"
    file.write_text(f"recipe: real-64\nname: eyes\nrelease: {release}\nroot: s3://b/p\n")
    study = load_study(file, settings)
    require_capacity(study, job_spec())
    arguments = ["--set-file", f"studies.demo.file={file}", *chart_arguments(settings, [])]
    assert helm(*arguments, "--set", f"studies.demo.set[0]={ROOT}").returncode == 0


def test_a_grid_in_the_study_file_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(STUDY_FILE.read_text() + "transfer: {architectures: [resnet10t], resources: {pool_size: 9}}\n")
    outcome = helm("--set-file", f"studies.demo.file={file}", "--set", f"studies.demo.set[0]={ROOT}")
    with pytest.raises(WrongInputError) as caught:
        require_capacity(load_study(file, [ROOT]), job_spec())
    assert f"studies.demo: {caught.value}" in outcome.stderr


def test_the_chart_has_the_resources_of_all_recipes() -> None:
    assert FILE.read_text() == recipe_resources(), "run tests/support/recipe_resources.py"


def test_a_template_of_another_chart_is_one_line() -> None:
    with pytest.raises(WrongInputError, match=r"template of jobs: rayClusterSpec: .*; upgrade the chart"):
        require_capacity(load_study(STUDY_FILE, [ROOT]), {"entrypoint": "run"})

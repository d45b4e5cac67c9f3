"""The application: its arguments, and the resources of its deployments."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from synfundus.study import resolve
from synfundus_serve.gateway import Arguments, application

GUIDE = Path(__file__).parents[3] / "docs" / "serving.md"


def num_gpus(folder: Path, overrides: Sequence[str]) -> dict[str, float]:
    """Return the GPUs of a replica of each deployment, by its name."""
    study = resolve("recipe: phantom-cpu\nname: x\nroot: x", "x", folder, overrides)
    bound = [application(study, None, 10)._bound_deployment]
    bound += [part._bound_deployment for part in bound[0].init_args if hasattr(part, "_bound_deployment")]
    return {one.name: one.ray_actor_options["num_gpus"] for one in bound}


def test_each_deployment_asks_ray_for_the_gpus_of_the_study(tmp_path: Path) -> None:
    overrides = ["serving.generation.num_gpus=0.8", "serving.diagnosis.num_gpus=0.2"]
    assert num_gpus(tmp_path, overrides) == {"Gateway": 0, "Generation": 0.8, "Diagnosis": 0.2}


def test_the_resources_in_the_guide_are_settings_of_a_study(tmp_path: Path) -> None:
    (text,) = re.findall("```yaml\n(serving:.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    study = resolve(f"recipe: phantom-cpu\nname: x\nroot: x\n{text}", "x", tmp_path)
    assert (study.serving.generation.num_gpus, study.serving.diagnosis.num_gpus) == (0.8, 0.2)


def test_by_default_no_deployment_asks_for_a_gpu(tmp_path: Path) -> None:
    assert num_gpus(tmp_path, []) == {"Gateway": 0, "Generation": 0, "Diagnosis": 0}
    assert num_gpus(tmp_path, ["samples.resources.num_gpus=1"]) == {"Gateway": 0, "Generation": 0, "Diagnosis": 0}


def test_keys_are_required_unless_they_are_turned_off() -> None:
    with pytest.raises(ValueError, match="without_keys: true"):
        Arguments(study="my.yaml")
    with pytest.raises(ValueError, match="without_keys: true"):
        Arguments(study="my.yaml", keys_file="keys", without_keys=True)
    assert Arguments(study="my.yaml", without_keys=True).keys_file is None

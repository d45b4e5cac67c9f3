"""How the application is put together."""

from pathlib import Path

from synfundus.study import resolve
from synfundus_serve.gateway import application


def test_models_on_a_gpu_ask_ray_for_one(tmp_path: Path) -> None:
    def gpus(use_gpu: bool) -> dict[str, float]:
        study = resolve("recipe: phantom-cpu\nname: x\nroot: x", "x", tmp_path, [f"samples.use_gpu={use_gpu}"])
        bound = [application(study, None, 10)._bound_deployment]
        bound += [part._bound_deployment for part in bound[0].init_args if hasattr(part, "_bound_deployment")]
        return {one.name: one.ray_actor_options["num_gpus"] for one in bound}

    assert gpus(use_gpu=True) == {"Gateway": 0, "Generation": 0.8, "Diagnosis": 0.2}
    assert set(gpus(use_gpu=False).values()) == {0}

"""Checks that several stages share."""

import pytest

from synfundus.errors import WrongInputError
from synfundus.resources import Resources, TrainingResources
from synfundus.stages.requirements import require_even_batch, require_gpu
from synfundus.training.config import OptimisationConfig


def training(batch_size: int, num_workers: int, accumulation_steps: int) -> OptimisationConfig:
    return OptimisationConfig(
        num_steps=1,
        batch_size=batch_size,
        learning_rate=1.0,
        accumulation_steps=accumulation_steps,
        resources=TrainingResources(num_workers=num_workers),
    )


def test_a_gpu_that_this_machine_does_not_have_is_refused_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(WrongInputError, match=r"^samples\.resources\.num_gpus: is 0\.5, but this machine has no GPU"):
        require_gpu("samples.resources", Resources(num_gpus=0.5))
    require_gpu("samples.resources", Resources(num_gpus=0))


def test_a_cluster_may_still_add_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    require_gpu("samples.resources", Resources(num_gpus=1))


def test_a_batch_has_to_divide_among_workers_and_accumulation_steps() -> None:
    require_even_batch("annotator", training(24, 3, 4))
    with pytest.raises(WrongInputError, match=r"^annotator\.batch_size: 20 is not a multiple of 3 workers x 4 accum"):
        require_even_batch("annotator", training(20, 3, 4))

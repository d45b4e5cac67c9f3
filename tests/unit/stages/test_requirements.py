"""The check that several stages share."""

import pytest

from synfundus.errors import WrongInputError
from synfundus.resources import Resources
from synfundus.stages.requirements import require_gpu


def test_a_gpu_that_this_machine_does_not_have_is_refused_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(WrongInputError, match=r"^samples\.resources\.num_gpus: is 0\.5, but this machine has no GPU"):
        require_gpu("samples.resources", Resources(num_gpus=0.5))
    require_gpu("samples.resources", Resources(num_gpus=0))


def test_a_cluster_may_still_add_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    require_gpu("samples.resources", Resources(num_gpus=1))

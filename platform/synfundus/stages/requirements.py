"""A check that several stages share. It refuses, before any work, resources that would fail later."""

from synfundus.environment import Environment
from synfundus.errors import WrongInputError
from synfundus.resources import Resources


def require_gpu(section: str, resources: Resources) -> None:
    """Refuse resources with a GPU on a machine without one, where Ray would wait forever.

    A cluster may add a machine with a GPU later, so nothing is refused there.

    Args:
        section: place of `resources` in the study, such as `samples.resources`.

    Raises:
        WrongInputError: this machine has no GPU.
    """
    if not resources.num_gpus or Environment().ray_address is not None:
        return
    import torch  # takes seconds to import, and most commands need no GPU

    if not torch.cuda.is_available():
        raise WrongInputError(
            f"{section}.num_gpus: is {resources.num_gpus:g}, but this machine has no GPU;"
            " set it to 0, or run the study on a cluster with GPUs"
        )

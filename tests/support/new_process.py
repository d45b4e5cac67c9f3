"""Processes for functions of tests. They are forked from one that has imported the library, so they start quickly."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

PRELOADED = [
    "synfundus.samples.sampler",
    "synfundus.diagnosis.training",
    "synfundus.diffusion.training",
    "timm",
    "diffusers.models.unets.unet_2d_condition",
    "torch._dynamo",  # torch.optim imports it
]


def new_processes(number: int = 1) -> ProcessPoolExecutor:
    """Return a pool of new processes. Functions sent to it must lie in a module that can be imported by name."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return ProcessPoolExecutor(number, mp_context=context)

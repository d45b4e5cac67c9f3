"""Functions run in new processes, forked from one that has imported the library and done nothing: no import is paid."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

PRELOADED = [
    "synfundus.samples.sampler",
    "synfundus.diagnosis.training",
    "synfundus.diffusion.training",
    "timm",
    "diffusers.models.unets.unet_2d_condition",
    "torch._dynamo",  # an optimiser imports it
]


def new_processes(number: int = 1) -> ProcessPoolExecutor:
    """A pool of them. What they are to run lies in a module of its own, which they import by name."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return ProcessPoolExecutor(number, mp_context=context)

"""Images that each worker of a training decodes. A module of its own, because new processes import it by name."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from support.new_process import new_processes
from synfundus.digests import sha256_hex
from synfundus.distributed.task import TrainingTask
from synfundus.fundus.shard import decode_pixels


def decoded_images(task: TrainingTask, meeting_point: Path) -> list[list[str]]:
    """Run all steps of `task`, each worker in a new process; return the digests of the images that each one decoded.

    Args:
        meeting_point: a file that does not exist yet, through which the workers find each other.
    """
    num_workers = task.config.resources.num_workers
    with new_processes(num_workers) as pool:
        workers = [pool.submit(_work, task, rank, meeting_point.as_uri()) for rank in range(num_workers)]
        return [worker.result() for worker in workers]


def _work(task: TrainingTask, rank: int, meeting_point: str) -> list[str]:
    resources = task.config.resources
    torch.set_num_threads(resources.num_threads)
    decoded = list[str]()

    def decode(data: bytes) -> NDArray[np.uint8]:
        decoded.append(sha256_hex(data))
        return decode_pixels(data)

    dist.init_process_group("gloo", init_method=meeting_point, rank=rank, world_size=resources.num_workers)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("synfundus.fundus.dataset.decode_pixels", decode)
            learner = task.build(torch.device("cpu"), rank, resources.num_workers)
            for step in range(task.config.num_steps):
                learner.train_step(step)
            learner.close()
    finally:
        dist.destroy_process_group()
    return decoded

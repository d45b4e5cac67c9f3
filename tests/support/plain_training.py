"""A training in a plain loop without Ray, with which a training on Ray Train is compared."""

from pathlib import Path

import torch
import torch.distributed as dist

from support.new_process import new_processes
from synfundus.distributed.task import TrainingTask


def train_plainly(task: TrainingTask, meeting_point: Path) -> None:
    """Run all steps of `task`, each worker in a new process.

    Args:
        meeting_point: a file that does not exist yet, through which the workers find each other.
    """
    num_workers = task.config.resources.num_workers
    with new_processes(num_workers) as pool:
        for worker in [pool.submit(_work, task, rank, meeting_point.as_uri()) for rank in range(num_workers)]:
            worker.result()


def _work(task: TrainingTask, rank: int, meeting_point: str) -> None:
    config, resources = task.config, task.config.resources
    torch.set_num_threads(resources.num_threads)
    dist.init_process_group("gloo", init_method=meeting_point, rank=rank, world_size=resources.num_workers)
    try:
        learner = task.build(torch.device("cpu"), rank, resources.num_workers)
        losses = []
        for step in range(config.num_steps):
            losses.append(learner.train_step(step))
            done = step + 1
            if rank == 0 and (done % config.checkpoint_every_steps == 0 or done == config.num_steps):
                learner.held_out_losses += filter(None, [learner.held_out_loss(done)])
                learner.memorisation_points += filter(None, [learner.memorisation(done)])
        if rank == 0:
            task.finish(learner, losses)
    finally:
        dist.destroy_process_group()

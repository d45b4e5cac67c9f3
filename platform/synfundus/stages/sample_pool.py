"""The sampling of a plan over a pool of Ray workers. The import of this file loads torch and Ray."""

from collections.abc import Iterator, Sequence

import ray

from synfundus.distributed.map import run_on_pool
from synfundus.environment import Environment
from synfundus.progress import Progress
from synfundus.samples.attempts import sample_plan
from synfundus.samples.manifest import SamplesManifest
from synfundus.samples.sampler import SamplingTask, ShardSampler
from synfundus.samples.verify import copy_reference
from synfundus.samples.work import ShardWork


def sample_on_pool(task: SamplingTask, digest: str, progress: Progress) -> SamplesManifest:
    """Sample a plan over a pool of Ray workers and return the manifest of the finished samples.

    Raises:
        WrongInputError: the folder holds another plan, or the copy detector is not complete.
    """
    config = task.plan.config
    reference = copy_reference(task.storage, task.copy_detector_folder)
    shared = ray.put(reference)

    def sample_shards(work: Sequence[ShardWork]) -> Iterator[int]:
        nodes = Environment().sampling_pool
        return run_on_pool(ShardSampler, (task, shared), work, config.resources, nodes=nodes)

    return sample_plan(task, reference, sample_shards, digest, progress)

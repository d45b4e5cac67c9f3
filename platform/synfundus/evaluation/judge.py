"""The judge: a grader trained on patients that neither annotator nor generator was trained on.

It is a network like the annotator's, trained by the same learner on experts' labels of the split `judge`, calibrated on
`validation` and measured on `test`. `evaluate` trains it once, in its own worker; `judges/<name>/` has the layout of an
annotator, so that later evaluations of the same samples load it.
"""

from contextlib import closing
from dataclasses import dataclass

import torch

from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.manifest import AnnotatorManifest
from synfundus.diagnosis.training import AnnotatorLearner
from synfundus.errors import WrongInputError
from synfundus.fundus.dataset import PreparedImages
from synfundus.storage import Storage, is_complete, read_manifest, refusing_other_content


@dataclass(frozen=True)
class JudgeTask:
    """Training of a judge."""

    data_folder: str
    """Prepared images with a split `judge`; filled labels teach nothing."""
    folder: str
    """Folder of the judge below the root."""
    config: AnnotatorConfig
    """Result of `judge_config`."""
    digest: str
    """Digest of everything that the judge depends on."""


def require_judge(storage: Storage, task: JudgeTask, device: str) -> None:
    """Train the judge unless it is complete.

    Raises:
        WrongInputError: other settings or images made the judge, no label has both values in the split `judge`, or an
            interrupted run left files of a judge that this machine trains differently.
        TrainingDivergedError: loss or gradient is not finite.
    """
    if is_complete(storage, task.folder):
        if read_manifest(storage, task.folder, AnnotatorManifest).digest != task.digest:
            raise WrongInputError(
                f"{task.folder} below {storage.root} is a judge of other settings or images; delete it, or give the"
                " study another name"
            )
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(task.config.resources.num_threads)
    try:
        _train(storage, task, device)
    finally:
        torch.set_num_threads(threads)


def _train(storage: Storage, task: JudgeTask, device: str) -> None:
    images = PreparedImages(storage, task.data_folder)
    with closing(AnnotatorLearner(images, task.config, torch.device(device), split="judge")) as learner:
        images.copy_to_this_machine()  # after the checks of the learner, which open no shard
        for step in range(task.config.num_steps):
            learner.train_step(step)
        with refusing_other_content(task.folder):
            learner.save(storage, task.folder, task.digest)

"""Trainings of the three models, as Ray Train's workers receive them. The import of this file loads torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from synfundus.copies.config import CopyDetectorConfig
from synfundus.copies.detector import load_copy_detector
from synfundus.copies.reference import read_reference
from synfundus.copies.training import CopyLearner
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.training import AnnotatorLearner
from synfundus.diffusion.config import GeneratorConfig
from synfundus.diffusion.memorisation import NearestTrainingImage
from synfundus.diffusion.training import GeneratorLearner
from synfundus.fundus.dataset import PreparedImages
from synfundus.measures.copies import COPY_SPACE
from synfundus.measures.nearest import nearest
from synfundus.storage import Storage
from synfundus.training.config import OptimisationConfig
from synfundus.training.learner import Learner
from synfundus.training.metadata import StepMetrics

AnyConfig = TypeVar("AnyConfig", bound=OptimisationConfig)


@dataclass(frozen=True)
class _Task(Generic[AnyConfig]):
    """Settings, input and output of a training."""

    config: AnyConfig
    storage: Storage
    run_name: str
    data_folder: str
    output_folder: str
    digest: str
    """Digest of everything that the training depends on."""

    def images(self) -> PreparedImages:
        """Return the dataset to train on."""
        return PreparedImages(self.storage, self.data_folder)


class AnnotatorTask(_Task[AnnotatorConfig]):
    """Training of the annotator."""

    def build(self, device: torch.device, rank: int, world_size: int) -> AnnotatorLearner:
        """Return a learner at step 0, with the shards on this machine's disk."""
        images = self.images()
        learner = AnnotatorLearner(images, self.config, device, rank, world_size)
        images.copy_to_this_machine()  # after the checks of the learner, which open no shard
        return learner

    def finish(self, learner: Learner, losses: Sequence[StepMetrics]) -> None:  # noqa: ARG002  not stored with it
        """Calibrate and write the trained annotator."""
        assert isinstance(learner, AnnotatorLearner)
        learner.save(self.storage, self.output_folder, self.digest)


class CopyDetectorTask(_Task[CopyDetectorConfig]):
    """Training of the copy detector's encoder."""

    def build(self, device: torch.device, rank: int, world_size: int) -> CopyLearner:
        """Return a learner at step 0, with its photographs in memory."""
        return CopyLearner(self.images(), self.config, device, rank, world_size)

    def finish(self, learner: Learner, losses: Sequence[StepMetrics]) -> None:  # noqa: ARG002  not stored with it
        """Write the trained encoder; the stage describes the photographs and completes the folder."""
        assert isinstance(learner, CopyLearner)
        learner.save(self.storage, self.output_folder)


def nearest_training_image(storage: Storage, copy_detector_folder: str) -> NearestTrainingImage:
    """Return the search for copies of training images, by which a training records how near its samples come."""
    detector = load_copy_detector(storage, copy_detector_folder)
    reference = read_reference(storage, copy_detector_folder).on("cpu")
    return NearestTrainingImage(COPY_SPACE, lambda images_BHWC: nearest(detector.descriptors(images_BHWC), reference))


@dataclass(frozen=True)
class GeneratorTask(_Task[GeneratorConfig]):
    """Training of the generator."""

    copy_detector_folder: str | None = None
    """Detector by which the training records how near its samples come to training images; None records nothing."""

    def build(self, device: torch.device, rank: int, world_size: int) -> GeneratorLearner:
        """Return a learner at step 0, with the shards on this machine's disk."""
        images = self.images()
        learner = GeneratorLearner(images, self.config, device, rank, world_size)
        images.copy_to_this_machine()  # after the checks of the learner, which open no shard
        if rank == 0 and self.copy_detector_folder is not None:
            learner.nearest = nearest_training_image(self.storage, self.copy_detector_folder)
        return learner

    def finish(self, learner: Learner, losses: Sequence[StepMetrics]) -> None:
        """Write the trained generator with its loss curve."""
        assert isinstance(learner, GeneratorLearner)
        data = self.images().manifest
        learner.save(self.storage, self.output_folder, losses, self.digest, data.origin, data.images_digest)

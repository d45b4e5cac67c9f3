"""Two training sets as one."""

import numpy as np
from numpy.typing import NDArray

from synfundus.diagnosis.counts import LabelCounts
from synfundus.diagnosis.training_set import TrainingSet
from synfundus.errors import WrongInputError
from synfundus.fundus.batches import ImageBatch


class JoinedSet:
    """The images of `first`, then those of `second`, as one `TrainingSet`."""

    def __init__(self, first: TrainingSet, second: TrainingSet) -> None:
        self.first, self.second = first, second

    @property
    def name(self) -> str:
        return f"{self.first.name} and {self.second.name}"

    @property
    def num_images(self) -> int:
        return self.first.num_images + self.second.num_images

    def count(self) -> LabelCounts:
        first, second = self.first.count(), self.second.count()
        expert_NK = np.concatenate([first.expert_NK, second.expert_NK])
        return LabelCounts(expert_NK, first.positive_V + second.positive_V)

    def batch(self, indices: NDArray[np.int64]) -> ImageBatch:
        of_first = indices < self.first.num_images
        if of_first.all():
            return self.first.batch(indices)
        if not of_first.any():
            return self.second.batch(indices - self.first.num_images)
        return self._joined(indices, of_first)

    def _joined(self, indices: NDArray[np.int64], of_first: NDArray[np.bool_]) -> ImageBatch:
        """Return images of both sets, in the order of `indices`.

        Raises:
            WrongInputError: the images of both sets differ in size.
        """
        parts = self.first.batch(indices[of_first]), self.second.batch(indices[~of_first] - self.first.num_images)
        sizes = {part.images_BHWC.shape[1:] for part in parts}
        if len(sizes) > 1:
            shown = " and ".join(f"{height} x {width} px" for height, width, _ in sorted(sizes))
            raise WrongInputError(f"{self.name}: images of {shown} cannot be joined; make both in one size")
        place = np.argsort(np.concatenate([np.flatnonzero(of_first), np.flatnonzero(~of_first)]))
        ids, patients = ([text for part in parts for text in getattr(part, name)] for name in ("image_ids", "patients"))
        return ImageBatch(
            np.concatenate([part.p_BV for part in parts])[place],
            np.concatenate([part.known_BK for part in parts])[place],
            np.concatenate([part.expert_BK for part in parts])[place],
            [ids[i] for i in place],
            [patients[i] for i in place],
            images_BHWC=np.concatenate([part.images_BHWC for part in parts])[place],
        )

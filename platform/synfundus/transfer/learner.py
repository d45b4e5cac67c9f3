"""A cell in training: the learner of the annotator, with the validation AUC and the best weights so far."""

from collections.abc import Mapping

import torch
from torch import Tensor

from synfundus.diagnosis.annotator import NetworkScorer
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.measuring import predict_split
from synfundus.diagnosis.training import DiagnosisLearner
from synfundus.diagnosis.training_set import TrainingSet
from synfundus.fundus.dataset import PreparedImages
from synfundus.training.metadata import HeldOutLoss
from synfundus.transfer.records import CurvePoint
from synfundus.transfer.selection import mean_auc

BEST, CURVE = "best.", "curve"
"""Names of the tensors that `state` adds: the best weights, and the points of the curve."""


class CellLearner(DiagnosisLearner):
    """One trial of a cell."""

    def __init__(
        self,
        training: TrainingSet,
        held_out: PreparedImages,
        config: AnnotatorConfig,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
        *,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Build the network.

        Args:
            held_out: dataset whose validation split selects the step.
            start: initial weights; None for a start from scratch.

        Raises:
            WrongInputError: no label has both values in the training set, or no initial weight fits the network.
        """
        super().__init__(training, config, device, rank, world_size, start=start)
        self.held_out = held_out
        self.curve: list[CurvePoint] = []
        self.best: dict[str, Tensor] = {}
        """Weights at the point of the curve with the largest AUC, the earliest among equal ones."""

    def validate(self, step: int) -> CurvePoint:
        """Measure the validation AUC after `step` steps, and keep the weights if they are the best so far.

        Raises:
            WrongInputError: no label of the validation split has both classes.
        """
        scorer = NetworkScorer(self.network, self.spec, self.device)
        point = CurvePoint(step=step, auc=mean_auc(predict_split(scorer, self.held_out, "validation")))
        if not self.curve or point.auc > max(before.auc for before in self.curve):
            weights = self.network.state_dict().items()
            self.best = {
                name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in weights
            }
        self.curve.append(point)
        return point

    def held_out_loss(self, step: int) -> HeldOutLoss | None:
        """Validate at each checkpoint of Ray Train; there is no held-out loss."""
        self.validate(step)
        return None

    def state(self) -> dict[str, Tensor]:
        best = {f"{BEST}{name}": value for name, value in self.best.items()}
        points = torch.tensor([[point.step, point.auc] for point in self.curve], dtype=torch.float64)
        return {**super().state(), **best, CURVE: points.reshape(-1, 2)}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        super().load_state(tensors)
        self.best = {name.removeprefix(BEST): value for name, value in tensors.items() if name.startswith(BEST)}
        self.curve = [CurvePoint(step=int(step), auc=float(auc)) for step, auc in tensors[CURVE].tolist()]

"""The annotator in use: images in, calibrated probabilities and annotations out.

A scorer gives the logits: our network, an external network, or a table of predictions. Calibration, operating points
and rules are the same for all three.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synfundus.diagnosis.calibration import Calibration
from synfundus.diagnosis.config import NO_NEW_IMAGES, Column, OutputMapConfig
from synfundus.diagnosis.model import ModelSpec, preprocess
from synfundus.diagnosis.operating_points import OperatingPoints
from synfundus.diagnosis.outputs import head_logits
from synfundus.errors import WrongInputError
from synfundus.labels import NUM_VALUES, FloatArray, label_probabilities

MICRO_BATCH = 16
"""Images per forward pass. The number is fixed, so that the result of a row does not depend on its neighbours."""


class Scorer(Protocol):
    """Source of the raw logits of images."""

    sees_images: bool
    """True for a network, which accepts any image; False for a table of predictions."""

    def logits(self, images_BHWC: NDArray[np.uint8], image_ids: Sequence[str] | None = None) -> FloatArray:
        """Return the raw logits (B, 19) of uint8 images of any size; NaN where there is no logit."""
        ...

    def features(self, images_BHWC: NDArray[np.uint8]) -> FloatArray:
        """Return the pooled features (B, D) before the head."""
        ...


class NetworkScorer:
    """A timm network, in float32 and evaluation mode, in micro-batches of one fixed shape."""

    sees_images = True

    def __init__(
        self,
        network: nn.Module,
        spec: ModelSpec,
        device: torch.device | str = "cpu",
        output_map: OutputMapConfig | None = None,
    ) -> None:
        """Move `network` to `device`. `output_map` is that of an external network; None means our 19 logits."""
        self.device = torch.device(device)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.spec, self.output_map = spec, output_map

    def _forward(self, images_BHWC: NDArray[np.uint8], function: Callable[[Tensor], Tensor]) -> FloatArray:
        """Return `function` of the preprocessed images; black images fill up the last micro-batch."""
        spec, rows = self.spec, []
        self.network.eval()
        for start in range(0, len(images_BHWC), MICRO_BATCH):
            micro_BHWC = images_BHWC[start : start + MICRO_BATCH]
            full_BHWC = np.zeros((MICRO_BATCH, *images_BHWC.shape[1:]), np.uint8)
            full_BHWC[: len(micro_BHWC)] = micro_BHWC
            # cuDNN's default, TF32, moved probabilities by 6e-4 on an H200; without it GPU and CPU agree within 1e-6.
            with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                x_BCHW = preprocess(
                    torch.from_numpy(full_BHWC).to(self.device), spec.image_size_px, spec.mean, spec.std
                )
                rows.append(function(x_BCHW)[: len(micro_BHWC)].float().cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)

    def logits(
        self,
        images_BHWC: NDArray[np.uint8],
        image_ids: Sequence[str] | None = None,  # noqa: ARG002  a network needs pixels only
    ) -> FloatArray:
        raw_BR = self._forward(images_BHWC, self.network)
        if not len(raw_BR):
            return np.zeros((0, NUM_VALUES), np.float32)
        if self.output_map is None:
            return raw_BR
        order: list[Column] = list(range(self.spec.num_classes))
        return head_logits(self.output_map, raw_BR, order)

    def features(self, images_BHWC: NDArray[np.uint8]) -> FloatArray:
        network = self.network

        def pooled(x_BCHW: Tensor) -> Tensor:
            out: Tensor = network.forward_head(network.forward_features(x_BCHW), pre_logits=True)  # type: ignore[operator]
            return out

        return self._forward(images_BHWC, pooled)


class TableScorer:
    """A table of predictions for known images, made elsewhere."""

    sees_images = False

    def __init__(self, logits: Mapping[str, FloatArray]) -> None:
        """Take the logits (19,) of each image id."""
        self._logits = logits

    def logits(
        self,
        images_BHWC: NDArray[np.uint8],  # noqa: ARG002  a table needs ids only
        image_ids: Sequence[str] | None = None,
    ) -> FloatArray:
        if image_ids is None:
            raise WrongInputError(NO_NEW_IMAGES)
        unknown_V = np.full(NUM_VALUES, np.nan, np.float32)
        return np.stack([self._logits.get(image_id, unknown_V) for image_id in image_ids])

    def features(self, images_BHWC: NDArray[np.uint8]) -> FloatArray:  # noqa: ARG002  a table has no features
        raise WrongInputError(NO_NEW_IMAGES)


@dataclass(frozen=True)
class AnnotatorOutput:
    """Annotations of B images."""

    probability_BV: FloatArray
    """Calibrated probabilities (B, 19); NaN where a label is unusable."""
    annotations: list[dict[str, int | None]]
    """All 16 labels of each image: grade or 0/1 at the operating point; None where unusable or ruled out."""

    def probabilities(self, row: int) -> dict[str, float | list[float] | None]:
        """Return each label's calibrated probability, None if unusable; for `dr_grade` the distribution over 0 to 4."""
        return label_probabilities(self.probability_BV[row])


class Annotator:
    """A scorer with its calibration and operating points; `checkpoint.load_annotator` loads one."""

    def __init__(self, scorer: Scorer, calibration: Calibration, points: OperatingPoints, digest: str) -> None:
        """Take a scorer, its calibration and operating points, and the digest of all but the operating points."""
        self.scorer, self.calibration, self.points, self.digest = scorer, calibration, points, digest

    def predict(self, images_BHWC: NDArray[np.uint8], image_ids: Sequence[str] | None = None) -> AnnotatorOutput:
        """Annotate uint8 images (B, H, W, 3) of any size.

        Raises:
            WrongInputError: the annotator is a table and no `image_ids` are given.
        """
        p_BV = self.calibration.probabilities(self.scorer.logits(images_BHWC, image_ids))
        return AnnotatorOutput(p_BV, self.points.annotate(p_BV))

    def features(self, images_BHWC: NDArray[np.uint8]) -> FloatArray:
        """Return the pooled features (B, D), float32, of uint8 images; D depends on the network."""
        return self.scorer.features(images_BHWC)

    def require_new_images(self) -> None:
        """Refuse an annotator that cannot annotate new images.

        Raises:
            WrongInputError: the annotator is a table of predictions.
        """
        if not self.scorer.sees_images:
            raise WrongInputError(NO_NEW_IMAGES)

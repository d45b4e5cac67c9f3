"""The annotator in use: images in, calibrated probabilities and annotations out.

What gives the logits is a scorer, our network or an external one or a table of predictions; calibration, thresholds
and rules are the same for all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synfundus.diagnosis.calibration import Calibration
from synfundus.diagnosis.external_config import NO_NEW_IMAGES
from synfundus.diagnosis.model import ModelSpec, preprocess
from synfundus.diagnosis.outputs import Column, OutputMap
from synfundus.errors import WrongInputError
from synfundus.labels import HEADS, LABEL_NAMES, NUM_VALUES, FloatArray, grade_distribution

MICRO_BATCH = 16
"""Images a forward pass, always: at a fixed shape a row's result does not depend on its neighbours."""


class Scorer(Protocol):
    """Gives the raw logits of images."""

    sees_images: bool
    """Whether it can judge an image that it was not made for."""

    def logits(self, images_BHWC: NDArray[np.uint8], image_ids: Sequence[str] | None = None) -> FloatArray:
        """Raw logits (B, 19) of uint8 images of any size; NaN where there is none."""
        ...

    def features(self, images_BHWC: NDArray[np.uint8]) -> FloatArray:
        """Pooled features (B, D) before the head."""
        ...


class NetworkScorer:
    """A timm network, in float32 and evaluation mode, in micro-batches of one fixed shape."""

    sees_images = True

    def __init__(
        self, network: nn.Module, spec: ModelSpec, device: torch.device | str = "cpu", outputs: OutputMap | None = None
    ) -> None:
        """`outputs` says what the outputs of an external network mean; None: they are our 19 logits."""
        self.device = torch.device(device)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.spec, self.outputs = spec, outputs

    def _forward(self, images_BHWC: NDArray[np.uint8], function: Callable[[Tensor], Tensor]) -> FloatArray:
        """`function` of the preprocessed images; the last micro-batch is filled up with black ones."""
        spec, rows = self.spec, []
        self.network.eval()
        for start in range(0, len(images_BHWC), MICRO_BATCH):
            part_BHWC = images_BHWC[start : start + MICRO_BATCH]
            full_BHWC = np.zeros((MICRO_BATCH, *images_BHWC.shape[1:]), np.uint8)
            full_BHWC[: len(part_BHWC)] = part_BHWC
            with torch.inference_mode():
                x_BCHW = preprocess(
                    torch.from_numpy(full_BHWC).to(self.device), spec.image_size_px, spec.mean, spec.std
                )
                rows.append(function(x_BCHW)[: len(part_BHWC)].float().cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)

    def logits(
        self,
        images_BHWC: NDArray[np.uint8],
        image_ids: Sequence[str] | None = None,  # noqa: ARG002  a network looks at pixels alone
    ) -> FloatArray:
        raw_BR = self._forward(images_BHWC, self.network)
        if not len(raw_BR):
            return np.zeros((0, NUM_VALUES), np.float32)
        if self.outputs is None:
            return raw_BR
        order: list[Column] = list(range(self.spec.num_classes))
        return self.outputs.head_logits(raw_BR, order)

    def features(self, images_BHWC: NDArray[np.uint8]) -> FloatArray:
        network = self.network

        def pooled(x_BCHW: Tensor) -> Tensor:
            out: Tensor = network.forward_head(network.forward_features(x_BCHW), pre_logits=True)  # type: ignore[operator]
            return out

        return self._forward(images_BHWC, pooled)


class TableScorer:
    """Predictions that somebody else made for these very images."""

    sees_images = False

    def __init__(self, logits: Mapping[str, FloatArray]) -> None:
        """`logits`: image id -> (19,)."""
        self._logits = logits

    def logits(
        self,
        images_BHWC: NDArray[np.uint8],  # noqa: ARG002  a table knows names alone
        image_ids: Sequence[str] | None = None,
    ) -> FloatArray:
        if image_ids is None:
            raise WrongInputError(NO_NEW_IMAGES)
        unknown_V = np.full(NUM_VALUES, np.nan, np.float32)
        return np.stack([self._logits.get(image_id, unknown_V) for image_id in image_ids])

    def features(self, images_BHWC: NDArray[np.uint8]) -> FloatArray:  # noqa: ARG002  there are none
        raise WrongInputError(NO_NEW_IMAGES)


@dataclass(frozen=True)
class AnnotatorOutput:
    """What the annotator says of B images."""

    probability_BV: FloatArray
    """(B, 19) calibrated; NaN where a label is unusable."""
    annotations: list[dict[str, int | None]]
    """All 16 labels an image: grade or 0/1 after the thresholds, None where unusable or where it does not arise."""

    def probabilities(self, row: int) -> dict[str, float | list[float] | None]:
        """Per label the calibrated probability, for `dr_grade` its distribution over 0 to 4; None where unusable."""
        p_V = self.probability_BV[row]
        out: dict[str, float | list[float] | None] = {}
        for name in LABEL_NAMES:
            p = p_V[HEADS[name]]
            if not np.isfinite(p).all():
                out[name] = None
            else:
                out[name] = grade_distribution(p[None])[0].tolist() if name == "dr_grade" else float(p[0])
        return out


class Annotator:
    """A scorer with its calibration; `checkpoint.load_annotator` makes one."""

    def __init__(self, scorer: Scorer, calibration: Calibration, digest: str) -> None:
        """`digest`: SHA-256 of what determines the output (weights, input, calibration)."""
        self.scorer, self.calibration, self.digest = scorer, calibration, digest

    def predict(self, images_BHWC: NDArray[np.uint8], image_ids: Sequence[str] | None = None) -> AnnotatorOutput:
        """Annotate uint8 images (B, H, W, 3) of any size.

        Raises:
            WrongInputError: the annotator is a table and no `image_ids` are given.
        """
        return AnnotatorOutput(*self.calibration.annotate(self.scorer.logits(images_BHWC, image_ids)))

    def features(self, images_BHWC: NDArray[np.uint8]) -> FloatArray:
        """Pooled features (B, D), float32, of uint8 images; the network's size decides D."""
        return self.scorer.features(images_BHWC)

    def require_new_images(self) -> None:
        """Raises WrongInputError, before any work is done, when the annotator cannot judge new images."""
        if not self.scorer.sees_images:
            raise WrongInputError(NO_NEW_IMAGES)

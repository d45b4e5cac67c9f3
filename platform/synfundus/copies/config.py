"""Settings of the copy detector."""

from pydantic import Field, field_validator

from synfundus.training.config import OptimisationConfig


class CopyDetectorConfig(OptimisationConfig):
    """Settings of the encoder and of its training. All of them are part of the detector's digest."""

    image_size_px: int = 64
    """Height and width to which images are resized: 16, 32, 64 or 128."""
    width: int = Field(default=32, ge=4)
    """Channels of the encoder's first level; each further level has twice as many."""
    num_steps: int = Field(default=2000, ge=1)
    """Optimiser steps."""
    batch_size: int = Field(default=128, ge=2)
    """Photographs per step; each is seen in two altered views, and all others of the step are counter-examples."""
    learning_rate: float = Field(default=2e-3, gt=0.0)
    """Peak of the learning-rate curve, reached after warm-up."""
    warmup_steps: int = Field(default=100, ge=0)
    """Steps of linear warm-up from 0."""
    weight_decay: float = Field(default=0.05, ge=0.0)
    """AdamW's decoupled weight decay; not applied to norms and biases."""
    temperature: float = Field(default=0.07, gt=0.0)
    """Temperature of the contrastive loss."""
    false_rejection_rate: float = Field(default=0.01, gt=0.0, lt=0.5)
    """Largest share of photographs of other people that may count as copies; it sets the threshold."""

    @field_validator("image_size_px")
    @classmethod
    def _is_a_power_of_two(cls, size_px: int) -> int:
        if size_px not in (16, 32, 64, 128):
            raise ValueError("expected 16, 32, 64 or 128")
        return size_px

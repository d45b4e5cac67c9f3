"""The network of the generator: diffusers' `UNet2DConditionModel`, conditioned by its class embedding alone.

The label embedder is part of the saved U-Net (`class_embed_type="projection"`), so that diffusers by itself can load
and use a checkpoint: `unet(x_t_BCHW, t_B, encoder_hidden_states=None, class_labels=condition_BD)`.
"""

from typing import Any

import torch
from pydantic import Field, model_validator
from torch import nn

from synfundus.config import Config
from synfundus.labels import CONDITION_DIM

IMAGE_CHANNELS = 3
_CONDITION_GAIN = 3.0
"""By how much both layers of the label embedder are larger at the start than torch draws them. Otherwise one label
moves the features by some per cent, and one that shows by its place alone (the side) is not found in 2,000 steps:
its gradient, the product of two small numbers, drowns in that of the others."""
_ATTENTION_HEADS = 8
"""Heads of the middle. diffusers calls this number `attention_head_dim`; in `AttnDownBlock2D` it is what it says."""


class UNetConfig(Config):
    """Shape of the U-Net; level 0 is the full resolution and each level halves it."""

    size_px: int = Field(ge=8, le=1024)
    """Height and width of the images."""
    channels: tuple[int, ...] = Field(min_length=1)
    """Channels of each level, from the full resolution down."""
    layers_per_block: int = Field(default=1, ge=1)
    """Residual layers of each level on the way down; one more on the way up."""
    attention_levels: tuple[int, ...] = ()
    """Levels with self-attention; the middle always has it."""
    norm_num_groups: int = Field(default=8, ge=1)
    """Groups of each group norm; each channel count is a multiple. Groups of 16 channels or more are faster on CPUs."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout probability of the residual layers."""

    @model_validator(mode="after")
    def _levels_fit(self) -> "UNetConfig":
        factor = 2 ** (len(self.channels) - 1)
        if self.size_px % factor:
            raise ValueError(
                f"size_px {self.size_px} does not halve {len(self.channels) - 1} times; make it a multiple of {factor}"
                " or give fewer channels"
            )
        for channels in self.channels:
            if channels < 1 or channels % self.norm_num_groups or channels % _ATTENTION_HEADS:
                raise ValueError(
                    f"channels {channels} must be a multiple of norm_num_groups ({self.norm_num_groups})"
                    f" and of {_ATTENTION_HEADS}"
                )
        for level in self.attention_levels:
            if not 0 <= level < len(self.channels):
                raise ValueError(f"attention_levels {level} is no level; the levels are 0 to {len(self.channels) - 1}")
        return self


def build_unet(config: UNetConfig, seed: int = 0, *, gradient_checkpointing: bool = False) -> nn.Module:
    """The U-Net with weights drawn from `seed`, the same whatever was drawn before; torch's own state is left alone.

    The last convolution starts at zero (Dhariwal and Nichol 2021, arXiv 2105.05233, published code), so that the first
    output is 0, not noise.
    """
    from diffusers import UNet2DConditionModel  # takes seconds to import: left to those who build or load a network

    attention = [level in config.attention_levels for level in range(len(config.channels))]
    settings: dict[str, Any] = {
        "sample_size": config.size_px,
        "in_channels": IMAGE_CHANNELS,
        "out_channels": IMAGE_CHANNELS,
        "down_block_types": tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attention),
        # UNetMidBlock2D has no attention here; the cross-attention one attends to itself where it is given nothing
        # else, for which the width of "the other" must be its own.
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "cross_attention_dim": config.channels[-1],
        "up_block_types": tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attention)),
        "block_out_channels": config.channels,
        "layers_per_block": config.layers_per_block,
        "attention_head_dim": _ATTENTION_HEADS,
        "norm_num_groups": config.norm_num_groups,
        "dropout": config.dropout,
        "resnet_time_scale_shift": "scale_shift",  # adaptive group norm (Dhariwal and Nichol 2021, section 3.1)
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": CONDITION_DIM,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(**settings)
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    with torch.no_grad():
        for layer in (unet.class_embedding.linear_1, unet.class_embedding.linear_2):
            layer.weight.mul_(_CONDITION_GAIN)
    if gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    network: nn.Module = unet
    return network

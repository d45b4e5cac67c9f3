"""The network of the generator: diffusers' `UNet2DConditionModel`, conditioned through its class embedding only.

The saved U-Net contains the label embedder (`class_embed_type="projection"`), so that diffusers alone can load and use
a checkpoint: `unet(x_t_BCHW, t_B, encoder_hidden_states=None, class_labels=condition_BD)`.
"""

from typing import Any

import torch
from torch import nn

from synfundus.diffusion.config import ATTENTION_HEADS, UNetConfig
from synfundus.labels import CONDITION_DIM

IMAGE_CHANNELS = 3
_CONDITION_GAIN = 3.0
"""Factor applied to the label embedder's initial weights (both layers). Without it, one label changes the features by a
few per cent only. A label that only moves things (the side moves the disc) is then not learnt in 2,000 steps: its
gradient is the product of two small numbers, and the gradients of the other labels hide it."""


def _middle(config: UNetConfig) -> dict[str, Any]:
    """Return diffusers' settings of the middle block and of the attention heads.

    diffusers' `attention_head_dim` is the number of heads in `UNetMidBlock2DCrossAttn`, and the channels per head in
    `UNetMidBlock2DSimpleCrossAttn` and in the levels. `UNetMidBlock2D` has no attention in a U-Net of this class.
    Without another input, a cross-attention block attends to itself, so `cross_attention_dim` is its own width.
    """
    width = {"cross_attention_dim": config.channels[-1]}
    if config.attention_head_dim is None:
        return {"mid_block_type": "UNetMidBlock2DCrossAttn", "attention_head_dim": ATTENTION_HEADS, **width}
    return {
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "mid_block_only_cross_attention": True,  # one set of keys; the block has a second one for other inputs
        "attention_head_dim": config.attention_head_dim,
        **width,
    }


def build_unet(config: UNetConfig, seed: int = 0, *, gradient_checkpointing: bool = False) -> nn.Module:
    """Build the U-Net with initial weights that depend only on `seed`; torch's global generator is not changed.

    The last convolution starts at zero (Dhariwal and Nichol 2021, arXiv 2105.05233, published code), so that the first
    output is 0, not noise.
    """
    from diffusers import UNet2DConditionModel  # takes seconds to import, and few modules build a network

    attention = [level in config.attention_levels for level in range(len(config.channels))]
    arguments: dict[str, Any] = {
        "sample_size": config.size_px,
        "in_channels": IMAGE_CHANNELS,
        "out_channels": IMAGE_CHANNELS,
        "down_block_types": tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attention),
        **_middle(config),
        "up_block_types": tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attention)),
        "block_out_channels": config.channels,
        "layers_per_block": config.layers_per_block,
        "norm_num_groups": config.norm_num_groups,
        "dropout": config.dropout,
        "resnet_time_scale_shift": "scale_shift",  # adaptive group norm (Dhariwal and Nichol 2021, section 3.1)
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": CONDITION_DIM,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(**arguments)
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    with torch.no_grad():
        for layer in (unet.class_embedding.linear_1, unet.class_embedding.linear_2):
            layer.weight.mul_(_CONDITION_GAIN)
    if gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    network: nn.Module = unet
    return network

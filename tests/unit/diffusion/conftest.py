"""A small U-Net for tests of the engine."""

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from support.rows import SHAPE


@pytest.fixture(scope="module")
def unet() -> Any:
    """A small U-Net of the generator's architecture, with weights so large that the condition shows in the image."""
    torch.manual_seed(0)
    model: Any = UNet2DConditionModel(
        sample_size=SHAPE[1],
        in_channels=3,
        out_channels=3,
        block_out_channels=(32, 64),
        norm_num_groups=8,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("UpBlock2D", "UpBlock2D"),
        cross_attention_dim=64,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=36,
    )
    with torch.no_grad():
        model.conv_out.weight.mul_(2.0)
        model.class_embedding.linear_2.weight.mul_(10.0)
    return model

"""The generator's network: refused settings, initial weights, influence of each number of the condition."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from pydantic import ValidationError
from torch import Tensor, nn

from synfundus.diffusion.config import UNetConfig
from synfundus.diffusion.unet import build_unet
from synfundus.labels import CONDITION_DIM, null_condition
from synfundus.study.recipes import read_recipe

RECIPES = ("phantom-cpu", "real-64", "small-128")

TINY = UNetConfig(size_px=16, channels=(8, 16), norm_num_groups=4)


def inputs(num_rows: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Return x_t, timesteps and conditions."""
    generator = torch.Generator().manual_seed(1)
    x_t_BCHW = torch.randn(num_rows, 3, 16, 16, generator=generator)
    condition_BD = torch.rand(num_rows, CONDITION_DIM, generator=generator) * 2.0 - 1.0
    return x_t_BCHW, torch.linspace(0, 999, num_rows).long(), condition_BD


def output_of(unet: Any, x_t_BCHW: Tensor, t_B: Tensor, condition_BD: Tensor) -> Tensor:
    with torch.no_grad():
        output: Tensor = unet(x_t_BCHW, t_B, encoder_hidden_states=None, class_labels=condition_BD).sample
    return output


def perturbed(unet: nn.Module) -> nn.Module:
    """Give the last convolution weights other than zero, as after some training."""
    generator = torch.Generator().manual_seed(2)
    last: Any = unet.conv_out
    with torch.no_grad():
        last.weight.copy_(0.1 * torch.randn(last.weight.shape, generator=generator))
    return unet


def attention_by_block(unet: nn.Module) -> dict[str, int]:
    """Count the attention modules of each block of the network."""
    names = [name for name, module in unet.named_modules() if isinstance(module, Attention)]
    blocks = {".".join(name.split(".")[: 1 if name.startswith("mid") else 2]) for name in names}
    return {block: sum(name.startswith(block) for name in names) for block in sorted(blocks)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size_px": 18, "channels": (8, 16, 24)}, "size_px: 18 does not halve 2 times; make it a multiple of 4"),
        ({"size_px": 4}, "greater than or equal to 8"),
        ({"channels": ()}, "at least 1 item"),
        ({"channels": (8, 20)}, r"channels: 20 must be a multiple of norm_num_groups \(4\) and of 8"),
        ({"channels": (8, 16), "norm_num_groups": 3}, r"channels: 8 must be a multiple of norm_num_groups \(3\)"),
        ({"channels": (0, 16)}, "channels: 0 must be a multiple"),
        ({"attention_levels": (2,)}, "attention_levels: 2 is not a level; the levels are 0 to 1"),
        ({"attention_levels": (-1,)}, "attention_levels: -1 is not a level"),
        ({"attention_head_dim": 12}, "attention_head_dim: the 16 channels of level 1 are not a multiple of 12; give a"),
        ({"attention_head_dim": 16, "attention_levels": (0,)}, "attention_head_dim: the 8 channels of level 0 are not"),
        ({"attention_head_dim": 0}, "greater than or equal to 1"),
        ({"dropout": 1.0}, "less than 1"),
        ({"chanels": (8,)}, "unknown key 'chanels'; did you mean 'channels'"),
    ],
)
def test_settings_without_a_possible_network_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        UNetConfig.model_validate(TINY.model_dump() | changes)


def test_unusual_settings_give_a_network_of_the_configured_size() -> None:
    config = UNetConfig(size_px=12, channels=(8, 24, 16), norm_num_groups=8, attention_levels=(1,), layers_per_block=2)
    x_t_BCHW = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    _, t_B, condition_BD = inputs(2)
    assert output_of(perturbed(build_unet(config)), x_t_BCHW, t_B, condition_BD).shape == x_t_BCHW.shape


def test_the_first_output_is_zero_because_of_the_last_convolution_only() -> None:
    unet = build_unet(TINY)
    assert torch.equal(output_of(unet, *inputs()), torch.zeros(4, 3, 16, 16))
    assert float(output_of(perturbed(unet), *inputs()).std()) > 0.1


def test_each_of_the_36_numbers_and_the_timestep_reach_the_output() -> None:
    unet = perturbed(build_unet(TINY))
    x_t_BCHW, t_B, condition_BD = inputs(1)
    reference = output_of(unet, x_t_BCHW, t_B, condition_BD)
    for d in range(CONDITION_DIM):
        changed_BD = condition_BD.clone()
        changed_BD[0, d] += 0.5
        assert float((output_of(unet, x_t_BCHW, t_B, changed_BD) - reference).abs().max()) > 1e-4, d
    assert float((output_of(unet, x_t_BCHW, t_B + 50, condition_BD) - reference).abs().max()) > 1e-4
    # "Nothing is known" and the null condition of guidance are two states.
    nothing_BD, null_BD = torch.zeros(1, CONDITION_DIM), torch.from_numpy(null_condition())[None]
    difference = output_of(unet, x_t_BCHW, t_B, nothing_BD) - output_of(unet, x_t_BCHW, t_B, null_BD)
    assert float(difference.abs().max()) > 1e-3


def test_a_row_depends_on_its_own_condition_only() -> None:
    unet = perturbed(build_unet(TINY))
    x_t_BCHW, t_B, condition_BD = inputs(3)
    changed_BD = condition_BD.clone()
    changed_BD[1] = torch.from_numpy(null_condition())
    difference = output_of(unet, x_t_BCHW, t_B, changed_BD) - output_of(unet, x_t_BCHW, t_B, condition_BD)
    assert torch.equal(difference[[0, 2]], torch.zeros(2, 3, 16, 16))
    assert float(difference[1].abs().max()) > 1e-3


def test_weights_depend_only_on_the_seed_and_the_global_generator_is_unchanged() -> None:
    torch.manual_seed(5)
    first = build_unet(TINY, 3).state_dict()
    after_first = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), after_first)
    second, other = build_unet(TINY, 3).state_dict(), build_unet(TINY, 4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["conv_in.weight"], other["conv_in.weight"])


def test_the_initial_weights_of_the_label_embedder_are_three_times_torchs() -> None:
    """torch draws weights uniformly up to 1 / sqrt(inputs), so their standard deviation is 1 / sqrt(3 inputs)."""
    embedder: Any = build_unet(TINY).class_embedding
    for layer in (embedder.linear_1, embedder.linear_2):
        num_weights = layer.weight.numel()
        expected = 3.0 / (3.0 * layer.in_features) ** 0.5
        # The standard error of this standard deviation is sqrt(0.2 / n) of it.
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=4.0 * (0.2 / num_weights) ** 0.5)
        assert float(layer.bias.detach().abs().max()) <= layer.in_features**-0.5


def test_attention_is_only_in_the_middle_unless_levels_are_named() -> None:
    # The middle block attends to itself twice.
    assert attention_by_block(build_unet(TINY)) == {"mid_block": 2}
    config = TINY.model_copy(update={"channels": (8, 16, 24), "attention_levels": (1,)})
    # One layer on the way down and two on the way up, where the levels have the reverse order.
    assert attention_by_block(build_unet(config)) == {"down_blocks.1": 1, "mid_block": 2, "up_blocks.1": 2}


def test_heads_are_8_in_the_middle_and_8_channels_wide_at_a_level() -> None:
    """diffusers reads `attention_head_dim` as the number of heads in one block and as their width in the other."""
    unet = build_unet(TINY.model_copy(update={"attention_levels": (1,)}))
    heads = {
        name: (module.heads, module.to_q.out_features // module.heads)
        for name, module in unet.named_modules()
        if isinstance(module, Attention)
    }
    assert {value for name, value in heads.items() if name.startswith("mid")} == {(8, 2)}
    assert {value for name, value in heads.items() if not name.startswith("mid")} == {(2, 8)}


@pytest.mark.parametrize("levels", [(), (0, 1), (1,)])
def test_attention_head_dim_is_the_width_of_every_head(levels: tuple[int, ...], tmp_path: Path) -> None:
    config = UNetConfig(
        size_px=16, channels=(16, 32), norm_num_groups=4, attention_levels=levels, attention_head_dim=16
    )
    unet: Any = perturbed(build_unet(config))
    heads = {(module.heads, module.to_q.out_features) for module in unet.modules() if isinstance(module, Attention)}
    assert heads == {(config.channels[level] // 16, config.channels[level]) for level in (*levels, 1)}
    assert attention_by_block(unet)["mid_block"] == 1
    # diffusers alone loads the saved U-Net and uses it.
    unet.save_pretrained(tmp_path)
    loaded = UNet2DConditionModel.from_pretrained(tmp_path)
    assert torch.equal(output_of(loaded.eval(), *inputs()), output_of(unet.eval(), *inputs()))
    # Every weight takes part.
    x_t_BCHW, t_B, condition_BD = inputs()
    unet(x_t_BCHW, t_B, encoder_hidden_states=None, class_labels=condition_BD).sample.square().mean().backward()
    assert all(bool(value.grad.abs().max() > 0.0) for name, value in unet.named_parameters() if "to_q" in name)
    assert all(value.grad is not None for value in unet.parameters())


def test_the_recipe_for_128_px_has_heads_of_64_channels_and_the_others_the_networks_of_before() -> None:
    dims = {name: yaml.safe_load(read_recipe(name))["generator"]["unet"].get("attention_head_dim") for name in RECIPES}
    assert dims == {"phantom-cpu": None, "real-64": None, "small-128": 64}


def _gradients(*, checkpointing: bool) -> tuple[dict[str, Tensor], int]:
    """Return the gradients of a loss with dropout, and the number of runs of residual blocks."""
    config = TINY.model_copy(update={"dropout": 0.3, "attention_levels": (1,)})
    unet: Any = perturbed(build_unet(config, gradient_checkpointing=checkpointing)).train()
    runs: list[int] = []
    for module in unet.modules():
        if isinstance(module, ResnetBlock2D):
            # A pre-hook, because recomputation stops inside the forward as soon as it has all it needs.
            module.register_forward_pre_hook(lambda *_: runs.append(1))
    torch.manual_seed(8)
    x_t_BCHW, t_B, condition_BD = inputs()
    output = unet(x_t_BCHW, t_B, encoder_hidden_states=None, class_labels=condition_BD).sample
    output.square().mean().backward()
    gradients = {name: value.grad for name, value in unet.named_parameters()}
    return {name: grad for name, grad in gradients.items() if grad is not None}, len(runs)


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    plain, runs_plain = _gradients(checkpointing=False)
    saved, runs_saved = _gradients(checkpointing=True)
    # Each block runs again in the backward pass, except the first of the middle, which diffusers does not checkpoint.
    assert runs_saved == 2 * runs_plain - 1
    assert plain.keys() == saved.keys()
    assert float(plain["conv_in.weight"].abs().max()) > 1e-4
    assert float(plain["class_embedding.linear_1.weight"].abs().max()) > 1e-4
    for name, gradient in plain.items():
        torch.testing.assert_close(saved[name], gradient, rtol=1e-5, atol=1e-7)

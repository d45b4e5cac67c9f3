"""Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").

A number is a pure function of (seed, stream, position): it depends on no state, no order of calls and no batch. torch's
own generators cannot be used, because CPU and CUDA give different numbers for the same seed, and the first numbers of
a longer draw differ from those of a shorter one.

The 64-bit seed of a row is Philox's key. The 128-bit counter is four 32-bit words: block number within the draw,
purpose (normal or uniform, so that the two never share bits), low and high half of the stream.
"""

import math

import torch
from torch import Tensor

from synfundus.seeds import derive_seed

_MULTIPLIER_0, _MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85
_MASK_32 = 0xFFFFFFFF
_NUM_ROUNDS = 10
_NORMAL, _UNIFORM = 0, 1

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def sample_seed(plan_seed: int, sample_id: int, attempt: int) -> int:
    """Return the seed of one sample of a plan, in [0, 2^53); `attempt` counts the replacements, from 0."""
    return derive_seed("sample", plan_seed, sample_id, attempt)


def philox_4x32(counter: Words, key_0: Tensor, key_1: Tensor) -> Words:
    """Run ten rounds of Philox4x32 on int64 tensors that hold 32-bit words; all arguments broadcast.

    Returns:
        Four int64 tensors with values in [0, 2^32).
    """
    c0, c1, c2, c3 = counter
    for r in range(_NUM_ROUNDS):
        # An int64 product wraps, but its 64 bits equal those of the unsigned product. Only c0 and c2 are multiplied,
        # so only they need zeros above bit 31 between rounds.
        product_0, product_1 = c0 * _MULTIPLIER_0, c2 * _MULTIPLIER_1
        c0 = ((product_1 >> 32) ^ c1 ^ (key_0 + r * _WEYL_0)) & _MASK_32
        c2 = ((product_0 >> 32) ^ c3 ^ (key_1 + r * _WEYL_1)) & _MASK_32
        c1, c3 = product_1, product_0
    return c0, c1 & _MASK_32, c2, c3 & _MASK_32


def _random_words(seeds_B: Tensor, stream_B: int | Tensor, num_blocks: int, purpose: int) -> Words:
    """Return four int64 tensors (B, num_blocks) of 32-bit words."""
    seeds_B1 = seeds_B[:, None]
    stream_B1 = torch.as_tensor(stream_B, dtype=torch.int64, device=seeds_B.device).expand(len(seeds_B))[:, None]
    block_BN = torch.arange(num_blocks, device=seeds_B.device).expand(len(seeds_B), -1)
    purpose_11 = torch.full((1, 1), purpose, dtype=torch.int64, device=seeds_B.device)
    counter = (block_BN, purpose_11, stream_B1 & _MASK_32, (stream_B1 >> 32) & _MASK_32)
    return philox_4x32(counter, seeds_B1 & _MASK_32, (seeds_B1 >> 32) & _MASK_32)


def normal(seeds_B: Tensor, stream_B: int | Tensor, shape_CHW: tuple[int, ...]) -> Tensor:
    """Draw standard normal numbers, float32 (B, *shape_CHW), on the device of `seeds_B`.

    Row b depends only on (seeds_B[b], stream_B[b]), and its first n numbers are those of any longer draw. In sampling,
    stream 0 is the initial noise, and stream i is the noise that the i-th step adds, counted from 1.

    Box-Muller is computed in float64 and rounded to float32. The logarithm and the sine of CPU and CUDA differ in the
    last bits of a float64; such a difference survives the rounding with a probability of about 1e-8 per number.

    Args:
        seeds_B: int64 (B,); all 64 bits are used.
        stream_B: one stream for all rows, or int64 (B,).
        shape_CHW: shape of a row.
    """
    num_values = math.prod(shape_CHW)
    w0, w1, w2, w3 = _random_words(seeds_B, stream_B, -(-num_values // 4), _NORMAL)
    radius_2BN = torch.stack((w0, w2)).double().add_(0.5).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
    angle_2BN = torch.stack((w1, w3)).double().mul_(2.0 * math.pi * 2.0**-32)
    cosine_2BN, sine_2BN = radius_2BN * angle_2BN.cos(), radius_2BN.mul_(angle_2BN.sin_())
    blocks_BN4 = torch.stack((cosine_2BN[0], sine_2BN[0], cosine_2BN[1], sine_2BN[1]), dim=-1).float()
    return blocks_BN4.flatten(1)[:, :num_values].reshape(len(seeds_B), *shape_CHW)


def uniform(seeds_B: Tensor, stream_B: int | Tensor, num_values: int) -> Tensor:
    """Draw uniform numbers in [0, 1) with 53 random bits, float64 (B, num_values), bit-equal on every device.

    They are independent of `normal` at the same seed and stream. Rows and prefixes have the properties of `normal`.
    """
    words = _random_words(seeds_B, stream_B, -(-num_values // 2), _UNIFORM)
    high_BN2, low_BN2 = torch.stack(words[::2], dim=-1), torch.stack(words[1::2], dim=-1)
    bits_BN2 = (high_BN2 << 21) | (low_BN2 >> 11)
    return bits_BN2.flatten(1)[:, :num_values].double() * 2.0**-53

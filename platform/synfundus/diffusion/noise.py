"""Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").

A number is a pure function of (seed, stream, position): no state, no order of calls, no batch. torch's own generators
do not serve: CPU and CUDA give different numbers for one seed, and a longer draw does not begin with the shorter one.

The 64-bit seed of a row is Philox's key. Its 128-bit counter is four 32-bit words: block number within the draw,
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
    """Seed of one sample of a plan, in [0, 2^53); `attempt` is 0, and one more for each replacement."""
    return derive_seed("sample", plan_seed, sample_id, attempt)


def philox_4x32(counter: Words, key_0: Tensor, key_1: Tensor) -> Words:
    """Ten rounds of Philox4x32 on int64 tensors that hold 32-bit words; all arguments broadcast.

    Returns four int64 tensors with values in [0, 2^32).
    """
    c0, c1, c2, c3 = counter
    for r in range(_NUM_ROUNDS):
        # An int64 product wraps, but its 64 bits are those of the unsigned product. Only c0 and c2 are multiplied, so
        # only they must be clean above bit 31 between rounds.
        product_0, product_1 = c0 * _MULTIPLIER_0, c2 * _MULTIPLIER_1
        c0 = ((product_1 >> 32) ^ c1 ^ (key_0 + r * _WEYL_0)) & _MASK_32
        c2 = ((product_0 >> 32) ^ c3 ^ (key_1 + r * _WEYL_1)) & _MASK_32
        c1, c3 = product_1, product_0
    return c0, c1 & _MASK_32, c2, c3 & _MASK_32


def _random_words(seeds_B: Tensor, stream_B: int | Tensor, num_blocks: int, purpose: int) -> Words:
    """Four int64 tensors (B, num_blocks) of 32-bit words."""
    seeds_B1 = seeds_B[:, None]
    stream_B1 = torch.as_tensor(stream_B, dtype=torch.int64, device=seeds_B.device).expand(len(seeds_B))[:, None]
    block_BN = torch.arange(num_blocks, device=seeds_B.device).expand(len(seeds_B), -1)
    purpose_11 = torch.full((1, 1), purpose, dtype=torch.int64, device=seeds_B.device)
    counter = (block_BN, purpose_11, stream_B1 & _MASK_32, (stream_B1 >> 32) & _MASK_32)
    return philox_4x32(counter, seeds_B1 & _MASK_32, (seeds_B1 >> 32) & _MASK_32)


def normal(
    seeds_B: Tensor, stream_B: int | Tensor, shape_CHW: tuple[int, ...], device: torch.device | str | None = None
) -> Tensor:
    """Standard normal numbers, float32 (B, *shape_CHW).

    Row b depends on (seeds_B[b], stream_B[b]) alone, and its first n numbers are those of any longer draw. In sampling,
    stream 0 is the initial noise and stream i the noise that the i-th step adds, i from 1.

    Box-Muller is computed in float64 and then rounded to float32: the logarithm and the sine of CPU and CUDA differ in
    the last bits of a float64, and such a difference survives the rounding with a probability of about 1e-8 a number.

    Args:
        seeds_B: int64 (B,), all 64 bits count.
        stream_B: one stream for all rows, or int64 (B,).
        shape_CHW: shape of a row.
        device: where to compute; where `seeds_B` lies if not given.
    """
    seeds_B = seeds_B if device is None else seeds_B.to(device)
    num_values = math.prod(shape_CHW)
    w0, w1, w2, w3 = _random_words(seeds_B, stream_B, -(-num_values // 4), _NORMAL)
    radius_2BN = torch.stack((w0, w2)).double().add_(0.5).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
    angle_2BN = torch.stack((w1, w3)).double().mul_(2.0 * math.pi * 2.0**-32)
    cosine_2BN, sine_2BN = radius_2BN * angle_2BN.cos(), radius_2BN.mul_(angle_2BN.sin_())
    blocks_BN4 = torch.stack((cosine_2BN[0], sine_2BN[0], cosine_2BN[1], sine_2BN[1]), dim=-1).float()
    return blocks_BN4.flatten(1)[:, :num_values].reshape(len(seeds_B), *shape_CHW)


def uniform(seeds_B: Tensor, stream_B: int | Tensor, num_values: int) -> Tensor:
    """Uniform numbers in [0, 1) with 53 random bits, float64 (B, num_values), exactly equal on every device.

    Independent of `normal` at the same seed and stream; rows and prefixes as there.
    """
    words = _random_words(seeds_B, stream_B, -(-num_values // 2), _UNIFORM)
    high_BN2, low_BN2 = torch.stack(words[::2], dim=-1), torch.stack(words[1::2], dim=-1)
    bits_BN2 = (high_BN2 << 21) | (low_BN2 >> 11)
    return bits_BN2.flatten(1)[:, :num_values].double() * 2.0**-53

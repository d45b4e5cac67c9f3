"""Philox against its published vectors; moments and independence of the noise; a row is a pure function of its seed."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from synfundus.diffusion.noise import normal, philox_4x32, sample_seed, uniform
from synfundus.seeds import derive_seed

# Random123's tests/kat_vectors, philox4x32 with 10 rounds: counter, key, output.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]

PINNED_SEED = 3658185015026864
PINNED_NORMAL = [0.0064584548, -1.2463285, -0.99929911, -0.9167375]
PINNED_UNIFORM = [0.3903696351055741, 0.9444273276356051]


def words(*values: int) -> list[torch.Tensor]:
    return [torch.tensor([value]) for value in values]


def seeds(num_rows: int) -> torch.Tensor:
    return torch.tensor([derive_seed("test", b) for b in range(num_rows)])


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(
    counter: tuple[int, int, int, int], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    c0, c1, c2, c3 = words(*counter)
    assert tuple(word.item() for word in philox_4x32((c0, c1, c2, c3), *words(*key))) == expected


def test_a_number_is_the_documented_function_of_seed_stream_and_position() -> None:
    """The test repeats Box-Muller in plain Python floats, from single Philox blocks."""
    seed, stream, count = 2**52 + 12345, 2**33 + 7, 10
    numbers = normal(torch.tensor([seed]), stream, (count,))[0].tolist()
    expected: list[float] = []
    for block in range(3):
        c0, c1, c2, c3 = words(block, 0, stream & 0xFFFFFFFF, stream >> 32)
        w = [word.item() for word in philox_4x32((c0, c1, c2, c3), *words(seed & 0xFFFFFFFF, seed >> 32))]
        for u, v in ((w[0], w[1]), (w[2], w[3])):
            radius, angle = math.sqrt(-2.0 * math.log((u + 0.5) / 2**32)), 2.0 * math.pi * v / 2**32
            expected += [radius * math.cos(angle), radius * math.sin(angle)]
    np.testing.assert_allclose(numbers, expected[:count], rtol=2e-7, atol=1e-9)


def test_normal_has_the_moments_and_the_distribution_of_a_standard_normal() -> None:
    z = normal(seeds(32), 0, (3, 64, 64)).double().flatten().numpy()
    n = len(z)
    # Five standard errors of mean, variance, third and fourth moment.
    for power, moment, variance in ((1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)):
        assert abs((z**power).mean() - moment) < 5.0 * math.sqrt(variance / n), power
    assert stats.kstest(z, "norm").pvalue > 1e-4
    assert 4.0 < np.abs(z).max() < 6.8


def test_neighbouring_numbers_rows_and_streams_are_uncorrelated() -> None:
    a = normal(torch.arange(32), 0, (12288,)).double()
    b = normal(torch.arange(32), 1, (12288,)).double()
    bound = 5.0 / math.sqrt(a.numel())
    assert abs((a[:, 1:] * a[:, :-1]).mean()) < bound
    assert abs((a[1:] * a[:-1]).mean()) < bound
    assert abs((a * b).mean()) < bound
    # Four numbers come from one block; their squares must be uncorrelated, too.
    squares = a.reshape(32, -1, 4) ** 2 - 1.0
    for i, j in ((0, 1), (0, 2), (1, 3), (2, 3)):
        assert abs((squares[..., i] * squares[..., j]).mean()) < 5.0 * 2.0 / math.sqrt(squares[..., 0].numel())


def test_a_row_does_not_depend_on_its_batch() -> None:
    together = normal(seeds(7), torch.arange(7), (3, 17, 19))
    for b in range(7):
        assert torch.equal(normal(seeds(7)[b : b + 1], b, (3, 17, 19))[0], together[b])
    order = torch.tensor([4, 2, 6, 0])
    assert torch.equal(normal(seeds(7)[order], order, (3, 17, 19)), together[order])


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    long = normal(seeds(3), 5, (1000,))
    for n in (1, 2, 3, 4, 5, 999):
        assert torch.equal(normal(seeds(3), 5, (n,)), long[:, :n])
    assert torch.equal(uniform(seeds(3), 5, 7), uniform(seeds(3), 5, 100)[:, :7])


def test_numbers_depend_on_seed_stream_and_purpose() -> None:
    draws = [normal(torch.tensor([seed]), stream, (8,)) for seed in (0, 1, 2**32, 2**52) for stream in (0, 1, 2**32)]
    for i, a in enumerate(draws):
        for b in draws[:i]:
            assert not torch.isclose(a, b).any()
    radius = (-2.0 * torch.log(uniform(torch.tensor([1]), 0, 4))).sqrt()
    pairs = normal(torch.tensor([1]), 0, (8,)).reshape(4, 2).double().norm(dim=1)
    assert not torch.isclose(radius[0], pairs, rtol=1e-4).any()


def test_uniform_is_uniform_with_53_bits() -> None:
    u = uniform(seeds(16), 3, 4096).flatten().numpy()
    assert u.min() >= 0.0
    assert u.max() < 1.0
    assert stats.kstest(u, "uniform").pvalue > 1e-4
    bits = (u * 2.0**53).astype(np.int64)
    assert np.array_equal(bits * 2.0**-53, u)
    set_bits = ((bits[:, None] >> np.arange(53)) & 1).mean(axis=0)
    assert np.abs(set_bits - 0.5).max() < 5.0 * 0.5 / math.sqrt(len(u))


def test_numbers_are_pinned() -> None:
    """The first numbers of two streams. The samples of a release depend on them, so they must never change."""
    numbers = normal(torch.tensor([sample_seed(7, 123456, 0)]), torch.tensor([0]), (4,))[0]
    np.testing.assert_allclose(numbers.tolist(), PINNED_NORMAL, rtol=3e-7)
    assert uniform(torch.tensor([sample_seed(7, 123456, 0)]), 2, 2)[0].tolist() == PINNED_UNIFORM


def test_seeds_of_samples_differ_by_every_part() -> None:
    assert len({sample_seed(plan, i, a) for plan in range(5) for i in range(200) for a in range(3)}) == 3000
    assert sample_seed(7, 123456, 0) == PINNED_SEED


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_numbers_of_the_cpu() -> None:
    """Numbers may differ by one float32 step, very rarely, because the last bits of a float64 differ."""
    on_cpu, on_cuda = normal(seeds(64), 0, (3, 64, 64)), normal(seeds(64).cuda(), 0, (3, 64, 64)).cpu()
    different = (on_cpu != on_cuda).double().mean()
    assert different < 1e-6
    torch.testing.assert_close(on_cuda, on_cpu, rtol=2e-7, atol=1e-9)
    assert torch.equal(uniform(seeds(64), 0, 100), uniform(seeds(64).cuda(), 0, 100).cpu())

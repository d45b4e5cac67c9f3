"""Derived seeds: every part counts, and JSON keeps them exactly."""

import numpy as np

from synfundus.seeds import derive_seed, random_numbers


def test_derived_seeds_fit_json_and_differ_by_every_part() -> None:
    parts: list[tuple[int | str, ...]] = [
        (1, 2), (2, 1), (12,), ("12",), ("1", 2), (1, "2"), ("a", "bc"), ("ab", "c"), ("",), (), (-1, 2), (0,),
    ]  # fmt: skip
    derived = [derive_seed(*part) for part in parts]
    assert len(set(derived)) == len(parts)
    assert all(0 <= seed < 2**53 for seed in derived)


def test_numpy_integers_are_integers() -> None:
    """A position from an array gives the same seed as the equal Python number."""
    assert derive_seed("order", np.int64(7)) == derive_seed("order", 7)  # type: ignore[arg-type]


def test_random_numbers_are_a_function_of_the_parts() -> None:
    a, b = random_numbers("x", 1).random(4), random_numbers("x", 1).random(4)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, random_numbers("x", 2).random(4))

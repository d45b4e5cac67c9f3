"""Search for copies: all copies of a photograph are found, and no other photograph is lost."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from support.fundus_photographs import cropped, encoded, photograph
from synfundus.fundus.codes import CODE_BITS, CODE_RADIUS, TILE, VIEWS, Codes, candidates, codes
from synfundus.fundus.copies import Entry, choose
from synfundus.fundus.likeness import SAME_EXPOSURE_LEVELS, compare_patterns, pattern
from synfundus.fundus.preprocess import ByteImage, Prepared, prepare_image

Change = Callable[[Image.Image], bytes]


def shrunk(image: Image.Image, scale: float) -> Image.Image:
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


CHANGES: dict[str, Change] = {
    "same pixels as PNG": lambda image: encoded(image),
    "JPEG quality 40": lambda image: encoded(image, "JPEG", quality=40),
    "JPEG quality 90": lambda image: encoded(image, "JPEG", quality=90),
    "half size": lambda image: encoded(shrunk(image, 0.5), "JPEG", quality=90),
    "four fifths of the size": lambda image: encoded(shrunk(image, 0.8), "JPEG", quality=90),
    "2 % cropped": lambda image: encoded(cropped(image, 0.02, 0.5, 0.5), "JPEG", quality=90),
    "6 % cropped": lambda image: encoded(cropped(image, 0.06, 0.5, 0.5), "JPEG", quality=90),
    "6 % cropped in a corner": lambda image: encoded(cropped(image, 0.06, 1.0, 0.0), "JPEG", quality=90),
    "small, cropped, coarse": lambda image: encoded(cropped(shrunk(image, 0.6), 0.04, 0.0, 1.0), "JPEG", quality=60),
    "darker": lambda image: encoded(ImageEnhance.Brightness(image).enhance(0.7), "JPEG", quality=80),
    "brighter": lambda image: encoded(ImageEnhance.Brightness(image).enhance(1.3), "JPEG", quality=80),
}


def twin(data: bytes) -> ByteImage:
    result = prepare_image(data, 64)
    assert isinstance(result, Prepared)
    return result.twin_HW


def all_codes(twins: list[ByteImage]) -> Codes:
    found = [codes(image) for image in twins]
    return np.stack([code for code in found if code is not None])


def proposed(one: Codes, other: Codes) -> bool:
    """Return true if the views of either image find the other."""
    return any(len(candidates(a[None], np.ascontiguousarray(b[:1]))) for a, b in ((one, other), (other, one)))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_proposed_and_found(change: str) -> None:
    for index in range(3):
        original = photograph(index)
        one, other = twin(encoded(original, "JPEG", quality=95)), twin(CHANGES[change](original))
        first, second = codes(one), codes(other)
        assert first is not None
        assert second is not None
        assert proposed(first, second)
        likeness = compare_patterns(pattern(one), pattern(other))
        assert likeness.same_photograph, likeness


def test_other_eyes_are_never_the_same_photograph() -> None:
    patterns = [pattern(twin(encoded(photograph(index)))) for index in range(8)]
    for i, one in enumerate(patterns):
        for other in patterns[:i]:
            assert not compare_patterns(one, other).same_photograph


def test_another_photograph_of_the_same_eye_is_no_copy() -> None:
    """The eye is turned by a degree and lit from another side: registered vessels agree, the exposure does not."""
    original = photograph(0)
    turned = np.asarray(original.rotate(1.0, Image.Resampling.BICUBIC)).astype(float)
    light = np.linspace(0.75, 1.2, turned.shape[1])[None, :, None]
    again = Image.fromarray(np.clip(turned * light, 0, 255).astype(np.uint8))
    likeness = compare_patterns(pattern(twin(encoded(original))), pattern(twin(encoded(again))))
    assert likeness.only_same_eye, likeness
    assert likeness.residual_levels > 1.5 * SAME_EXPOSURE_LEVELS


def test_comparison_does_not_depend_on_which_image_comes_first() -> None:
    one, other = (pattern(twin(encoded(photograph(0), "JPEG", quality=quality))) for quality in (95, 60))
    forward, backward = compare_patterns(one, other), compare_patterns(other, one)
    assert forward.same_photograph
    assert backward.same_photograph
    assert forward.vessels == pytest.approx(backward.vessels, abs=0.02)


def test_dark_images_have_no_code_and_match_nothing() -> None:
    dark = np.zeros((128, 128), np.uint8)
    assert codes(dark) is None
    assert not compare_patterns(pattern(dark), pattern(dark)).same_eye


def test_candidates_are_exactly_the_pairs_within_the_radius() -> None:
    """The pairs equal the definition on random codes of two tiles, with neighbours around the radius."""
    rng = np.random.default_rng(0)
    unmoved = rng.integers(0, 2**63, (TILE + 200, 4), dtype=np.uint64)
    neighbours = [q + TILE * (q % 2) for q in range(60)]
    views = rng.integers(0, 2**63, (60, len(VIEWS), 4), dtype=np.uint64)
    for q in range(60):
        bits = np.unpackbits(unmoved[neighbours[q]].view(np.uint8))
        # Spread evenly over the words, as the sampling points are.
        places = np.arange(CODE_RADIUS - 30 + q) * 5 % CODE_BITS
        bits[places] ^= 1
        views[q, q % len(VIEWS)] = np.packbits(bits).view(np.uint64)
    found = {(int(q), int(n)) for q, n in candidates(views, unmoved)}
    distance = np.bitwise_count(views[:, :, None] ^ unmoved[None, None]).sum(axis=3).min(axis=1)
    assert found == {(int(q), int(n)) for q, n in np.argwhere(distance <= CODE_RADIUS)}
    assert found == set(enumerate(neighbours[:31]))


def test_the_copy_with_larger_field_stays_then_more_labels_then_the_first_name() -> None:
    entries = {
        0: Entry("b", 100, 3),
        1: Entry("a", 100, 3),
        2: Entry("c", 200, 0),
        3: Entry("d", 100, 4),
    }
    assert choose(entries, [(0, 1)]) == {0: 1}
    assert choose(entries, [(1, 3), (0, 3)]) == {0: 3, 1: 3}
    assert choose(entries, [(2, 3), (1, 3), (0, 1)]) == {3: 2, 0: 1}, (
        "the end of a chain is no copy of the other end, so both are accepted"
    )
    assert choose(entries, [(0, 1), (1, 3), (2, 3)]) == choose(entries, [(3, 2), (3, 1), (1, 0)])


@pytest.mark.real_data
def test_no_distinct_real_photograph_is_lost_and_copies_are_found(real_data: Path) -> None:
    files = sorted((real_data / "images").iterdir())
    assert len(files) > 800
    twins = [twin(file.read_bytes()) for file in files]
    found = all_codes(twins)
    assert len(found) == len(files)
    pairs = {(int(q), int(n)) for q, n in candidates(found, np.ascontiguousarray(found[:, 0])) if q < n}
    assert pairs, "the real photographs have pairs that the comparison must decide"
    lost = [
        (files[i].name, files[j].name)
        for i, j in pairs
        if compare_patterns(pattern(twins[i]), pattern(twins[j])).same_photograph
    ]
    assert lost == []
    sample = range(0, len(files), 24)
    missed = []
    for i in sample:
        with Image.open(io.BytesIO(files[i].read_bytes())) as image:
            original = image.convert("RGB")
        for name, change in CHANGES.items():
            other = twin(change(original))
            code = codes(other)
            assert code is not None
            if not (proposed(found[i], code) and compare_patterns(pattern(twins[i]), pattern(other)).same_photograph):
                missed.append((files[i].name, name))
    assert len(missed) <= 0.005 * len(sample) * len(CHANGES), missed

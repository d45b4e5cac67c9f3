"""The contact sheet: choice of images, captions, grid of tiles."""

import io
from collections import Counter

import numpy as np
from PIL import Image

from synfundus.fundus.contact_sheet import pick_by_reason, pick_evenly, short_labels
from synfundus.fundus.png import encode_png
from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.fundus.tile_grid import ALARM, COLUMNS, TILE_PX, Tile, render_grid
from synfundus.labels import LABEL_NAMES


def flat(colour: tuple[int, int, int]) -> bytes:
    return encode_png(np.full((32, 32, 3), colour, np.uint8))


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def test_every_image_is_on_the_sheet_and_rejected_ones_are_framed() -> None:
    colours = [(10 * i + 5, 200 - 10 * i, 60) for i in range(COLUMNS + 2)]
    accepted = [Tile(flat(colour), (f"image {i}", "train")) for i, colour in enumerate(colours)]
    rejected = [
        Tile(flat((1, 2, 250)), ("copy.jpg", "near duplicate", "copy of x.jpg"), rejected=True),
        Tile(None, ("b",)),
    ]
    sheet = pixels(render_grid("title", [("accepted", accepted), ("rejected", rejected)]))
    counts = Counter(map(tuple, sheet.reshape(-1, 3).tolist()))
    for colour in colours:
        assert counts[colour] >= 0.99 * TILE_PX**2
    assert counts[(1, 2, 250)] >= 0.9 * TILE_PX**2
    assert counts[ALARM] >= 4 * (TILE_PX - 2) * 2
    assert sheet.shape[1] >= COLUMNS * TILE_PX


def test_equal_tiles_give_equal_bytes_and_captions_are_rendered() -> None:
    tiles = [Tile(flat((90, 50, 30)), ("a name that is far too long for the width of one tile.jpg", "test"))]
    one = render_grid("t", [("accepted", tiles)])
    assert one == render_grid("t", [("accepted", tiles)])
    retitled = [Tile(tiles[0].png, (tiles[0].lines[0], "train"))]
    assert one != render_grid("t", [("accepted", retitled)])
    assert pixels(render_grid("t", [("accepted", []), ("rejected", [])])).shape[0] > 100


def test_picks_are_spread_and_rare_reasons_are_among_them() -> None:
    assert pick_evenly(list(range(100)), 5) == [0, 20, 40, 60, 80]
    assert pick_evenly([3, 4], 5) == [3, 4]
    items = [(i, ImageRejectionReason.NEAR_DUPLICATE) for i in range(50)]
    items += [(99, ImageRejectionReason.TRUNCATED), (98, ImageRejectionReason.UNREADABLE)]
    picked = pick_by_reason(items, 10)
    assert picked == [98, 99, 0, 1, 2, 3, 4, 5, 6, 7]


def test_known_labels_are_abbreviated() -> None:
    row: dict[str, int | None] = dict.fromkeys(LABEL_NAMES)
    assert short_labels(row) == "no labels"
    assert short_labels({**row, "is_fundus": 1}) == "a fundus"
    assert short_labels({**row, "is_fundus": 0}) == "not a fundus"
    known = {"dr_grade": 2, "eye_side": 1, "is_dme": 1, "is_gc": 0, "is_fundus": 1, "is_macular_readable": 0}
    assert short_labels({**row, **known}) == "DR 2, left, dme, not gc, macular unreadable"

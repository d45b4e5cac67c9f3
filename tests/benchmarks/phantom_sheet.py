"""Render docs/images/phantom_sheet.png: every label of the phantom by itself, and one eye at four sizes.

python tests/benchmarks/phantom_sheet.py
"""

from pathlib import Path

from PIL import Image, ImageDraw

from synfundus.labels import DISEASES, LabelRow
from synfundus.phantom.render import render

SHEET = Path(__file__).parents[2] / "docs" / "images" / "phantom_sheet.png"
TILE_PX = 176
TITLE_PX = 14
COLUMNS = 5

RIGHT: LabelRow = {"eye_side": 0}
MANY: LabelRow = {"eye_side": 1, "dr_grade": 2, "is_pm": 1, "is_dme": 1}
TILES: list[tuple[str, LabelRow, int, int]] = [
    ("healthy right eye", RIGHT, 11, 256),
    ("healthy left eye", {"eye_side": 1}, 2, 256),
    *((f"dr_grade {grade}", {**RIGHT, "dr_grade": grade}, 20 + grade, 256) for grade in (1, 2, 3, 4)),
    *((name, {**RIGHT, name: 1}, 39 + i, 256) for i, name in enumerate(DISEASES[1:])),
    ("is_macular_readable 0", {**RIGHT, "is_macular_readable": 0}, 1, 256),
    ("is_optic_disc_readable 0", {**RIGHT, "is_optic_disc_readable": 0}, 5, 256),
    ("is_retinal_region_readable 0", {**RIGHT, "is_retinal_region_readable": 0}, 2, 256),
    ("is_fundus 0", {"is_fundus": 0}, 3, 256),
    ("is_fundus 0", {"is_fundus": 0}, 4, 256),
    *((f"one eye at {size_px} px", MANY, 3, size_px) for size_px in (256, 128, 64, 32)),
]
"""Title, labels, seed and size in pixels. Each has a seed of its own, to show that eyes differ."""


def main() -> None:
    rows = -(-len(TILES) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE_PX, rows * (TILE_PX + TITLE_PX)))
    draw = ImageDraw.Draw(sheet)
    for i, (title, labels, seed, size_px) in enumerate(TILES):
        x, y = i % COLUMNS * TILE_PX, i // COLUMNS * (TILE_PX + TITLE_PX)
        resampling = Image.Resampling.LANCZOS if size_px > TILE_PX else Image.Resampling.NEAREST
        phantom = Image.fromarray(render(labels, seed, size_px)).resize((TILE_PX, TILE_PX), resampling)
        sheet.paste(phantom, (x, y + TITLE_PX))
        draw.text((x + 4, y + 1), title, fill="white")
    SHEET.parent.mkdir(parents=True, exist_ok=True)
    # Six bits per channel: the difference is invisible, and the file is half as large.
    sheet.point([value & 0xFC for value in range(256)] * 3).save(SHEET, optimize=True)
    print(f"{SHEET}: {SHEET.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()

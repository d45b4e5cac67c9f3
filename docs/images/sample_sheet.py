"""Make a sheet of the first released samples of each request, for README and docs.

    python docs/images/sample_sheet.py ROOT NAME OUT.png

It reads the release, so every image has passed the check against the training images.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from synfundus.evaluation.examples import EXAMPLES_PER_FINDING, Examples
from synfundus.fundus.shard import decode_pixels
from synfundus.labels import LABEL_NAMES

TILE_PX, TITLE_PX, COLUMNS = 96, 15, 2


def read_sheets(release: Path) -> dict[str, list[np.ndarray]]:
    """Return the images of each request, in the order of the files."""
    sheets = Examples()
    for file in sorted((release / "data").glob("*.parquet")):
        table = pq.read_table(file)
        requested = [table.column(f"condition_{name}").fill_null(-1).to_numpy() for name in LABEL_NAMES]
        pixels = np.stack([decode_pixels(cell["bytes"]) for cell in table.column("image").to_pylist()])
        sheets.add(np.stack(requested, axis=1).astype(np.int8), pixels)
    return sheets.by_finding()


def make_sheet(sheets: dict[str, list[np.ndarray]]) -> Image.Image:
    """Return two columns of titled rows."""
    rows = -(-len(sheets) // COLUMNS)
    width, height = EXAMPLES_PER_FINDING // 2 * TILE_PX, TITLE_PX + TILE_PX
    page = Image.new("RGB", (COLUMNS * (width + 8), rows * (height + 4)), "black")
    for number, (title, images) in enumerate(sheets.items()):
        left, top = (number % COLUMNS) * (width + 8), (number // COLUMNS) * (height + 4)
        ImageDraw.Draw(page).text((left + 2, top + 2), title, "white")
        for column, pixels in enumerate(images[: EXAMPLES_PER_FINDING // 2]):
            tile = Image.fromarray(pixels).resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC)
            page.paste(tile, (left + column * TILE_PX, top + TITLE_PX))
    return page


if __name__ == "__main__":
    root, name, out = sys.argv[1:]
    make_sheet(read_sheets(Path(root) / "releases" / name)).save(out, optimize=True)

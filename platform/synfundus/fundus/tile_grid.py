"""Render captioned tiles in titled sections as one PNG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

TILE_PX = 176
COLUMNS = 8
GAP_PX = 10
LINE_PX = 15
MARGIN_PX = 20
HEADING_PX = 40
PAPER, INK, FAINT, ALARM = (250, 250, 248), (20, 20, 20), (110, 110, 110), (176, 30, 30)
WIDTH_PX = 2 * MARGIN_PX + COLUMNS * (TILE_PX + GAP_PX) - GAP_PX

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Tile:
    """One image of the grid."""

    png: bytes | None
    """None: the image could not be decoded."""
    lines: tuple[str, ...]
    """Caption; the first line is the name."""
    rejected: bool = False


def render_grid(title: str, sections: Sequence[tuple[str, Sequence[Tile]]]) -> bytes:
    """Return a PNG with a title and, for each section, a heading and a grid of tiles, or the word `none`."""
    big, font = ImageFont.load_default(20), ImageFont.load_default(12)
    layouts = [_Section(heading, tiles, font) for heading, tiles in sections]
    height = MARGIN_PX + HEADING_PX + sum(section.height_px for section in layouts) + MARGIN_PX
    sheet = Image.new("RGB", (WIDTH_PX, height), PAPER)
    ImageDraw.Draw(sheet).text((MARGIN_PX, MARGIN_PX), title, fill=INK, font=big)
    y = MARGIN_PX + HEADING_PX
    for section in layouts:
        section.paste(sheet, y, big)
        y += section.height_px
    sink = io.BytesIO()
    sheet.save(sink, "PNG", compress_level=4)
    return sink.getvalue()


class _Section:
    """A heading and rows of tiles, which are as high as their longest caption."""

    def __init__(self, heading: str, tiles: Sequence[Tile], font: Font) -> None:
        self.heading, self.tiles, self.font = heading, tiles, font
        measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
        self.captions = [
            [
                _fit(measure, tile.lines[0], font),
                *(part for line in tile.lines[1:] for part in _wrap(measure, line, font)),
            ]
            for tile in tiles
        ]
        rows = [self.captions[i : i + COLUMNS] for i in range(0, len(tiles), COLUMNS)]
        self.row_heights_px = [TILE_PX + LINE_PX * max(map(len, row)) + GAP_PX for row in rows]

    @property
    def height_px(self) -> int:
        return HEADING_PX + (sum(self.row_heights_px) or 30)

    def paste(self, sheet: Image.Image, y: int, heading_font: Font) -> None:
        """Put the section on the sheet at height `y`."""
        draw = ImageDraw.Draw(sheet)
        draw.text((MARGIN_PX, y), self.heading, fill=INK, font=heading_font)
        y += HEADING_PX
        if not self.tiles:
            draw.text((MARGIN_PX, y - 10), "none", fill=FAINT, font=self.font)
        for number, tile in enumerate(self.tiles):
            row, column = divmod(number, COLUMNS)
            place = (MARGIN_PX + column * (TILE_PX + GAP_PX), y + sum(self.row_heights_px[:row]))
            _paste_tile(sheet, draw, tile, self.captions[number], place, self.font)


def _fit(draw: ImageDraw.ImageDraw, text: str, font: Font) -> str:
    """Cut `text` at its start to the width of a tile: names differ at their end."""
    if draw.textlength(text, font=font) <= TILE_PX:
        return text
    while text and draw.textlength("…" + text, font=font) > TILE_PX:
        text = text[1:]
    return "…" + text


def _wrap(draw: ImageDraw.ImageDraw, text: str, font: Font) -> list[str]:
    """Break `text` into lines of a tile's width."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font=font) <= TILE_PX:
            lines[-1] = longer
        elif lines[-1]:
            lines.append(_fit(draw, word, font))
        else:
            lines[-1] = _fit(draw, word, font)
    return lines


def _paste_tile(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    tile: Tile,
    caption: Sequence[str],
    place: tuple[int, int],
    font: Font,
) -> None:
    x, y = place
    if tile.png is None:
        draw.rectangle((x, y, x + TILE_PX - 1, y + TILE_PX - 1), fill=(232, 232, 228))
        draw.text((x + TILE_PX // 2, y + TILE_PX // 2), "no image", fill=FAINT, font=font, anchor="mm")
    else:
        with Image.open(io.BytesIO(tile.png)) as image:
            scale = TILE_PX / max(image.size)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            sheet.paste(image.convert("RGB").resize(size, Image.Resampling.LANCZOS), (x, y))
    if tile.rejected:
        draw.rectangle((x, y, x + TILE_PX - 1, y + TILE_PX - 1), outline=ALARM, width=2)
    for number, line in enumerate(caption):
        colour = INK if number == 0 else ALARM if tile.rejected and number == 1 else FAINT
        draw.text((x, y + TILE_PX + 2 + number * LINE_PX), line, fill=colour, font=font)

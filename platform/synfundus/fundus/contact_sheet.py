"""One picture of accepted and rejected images, so that a person sees what the numbers say. It is private."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from synfundus.fundus.rejections import ImageRejectionReason
from synfundus.labels import LABELS, LabelRow

TILE_PX = 176
COLUMNS = 8
GAP_PX = 10
LINE_PX = 15
MARGIN_PX = 20
PAPER, INK, FAINT, ALARM = (250, 250, 248), (20, 20, 20), (110, 110, 110), (176, 30, 30)


@dataclass(frozen=True)
class Tile:
    """One image of the sheet."""

    png: bytes | None
    """None: nothing could be decoded."""
    lines: tuple[str, ...]
    """Caption; the first line is the name."""
    rejected: bool = False


def short_labels(labels: LabelRow) -> str:
    """What is known, in few letters: `DR 2, left, dme, not gc`; unknown labels are left out."""
    if labels.get("is_fundus") == 0:
        return "not a fundus"
    words = []
    for label in LABELS:
        value = labels.get(label.name)
        if value is None or (label.kind == "readability" and value == 1):
            continue
        if label.name == "dr_grade":
            words.append(f"DR {value}")
        elif label.kind == "side":
            words.append("left" if value else "right")
        else:
            short = label.name.removeprefix("is_").removesuffix("_readable").replace("_", " ")
            words.append(f"{short} unreadable" if label.kind == "readability" else short if value else f"not {short}")
    return ", ".join(words) or ("a fundus" if labels.get("is_fundus") else "no labels")


def pick_evenly(items: Sequence[int], most: int) -> list[int]:
    """At most `most` of the items, evenly spread and always the same ones."""
    if len(items) <= most:
        return list(items)
    return [items[i * len(items) // most] for i in range(most)]


def pick_by_reason(items: Sequence[tuple[int, ImageRejectionReason]], most: int) -> list[int]:
    """At most `most` rejected images, in turns over the reasons, so that a rare one is seen too; grouped by reason."""
    seen: dict[ImageRejectionReason, int] = dict.fromkeys(ImageRejectionReason, 0)
    order = list(ImageRejectionReason)
    turns = []
    for index, reason in items:
        turns.append((seen[reason], order.index(reason), index))
        seen[reason] += 1
    return [index for _, _, index in sorted(sorted(turns)[:most], key=lambda turn: (turn[1], turn[2]))]


def _fit(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """`text` cut at its start (names end in what tells them apart) to the width of a tile."""
    if draw.textlength(text, font=font) <= TILE_PX:
        return text
    while text and draw.textlength("…" + text, font=font) > TILE_PX:
        text = text[1:]
    return "…" + text


def _wrap(draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """Words in lines of a tile's width."""
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


def contact_sheet(title: str, sections: Sequence[tuple[str, Sequence[Tile]]]) -> bytes:
    """A PNG with a title and a grid of captioned tiles for each section; sections without tiles say so."""
    big, font = ImageFont.load_default(20), ImageFont.load_default(12)
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    captions = [
        [
            [
                _fit(measure, tile.lines[0], font),
                *(part for line in tile.lines[1:] for part in _wrap(measure, line, font)),
            ]
            for tile in tiles
        ]
        for _, tiles in sections
    ]
    heights = []
    for texts in captions:
        lines = [max(map(len, texts[i : i + COLUMNS])) for i in range(0, len(texts), COLUMNS)]
        heights.append([TILE_PX + LINE_PX * number + GAP_PX for number in lines])
    width = 2 * MARGIN_PX + COLUMNS * (TILE_PX + GAP_PX) - GAP_PX
    height = MARGIN_PX + 40 + sum(40 + (sum(rows) or 30) for rows in heights) + MARGIN_PX
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN_PX, MARGIN_PX), title, fill=INK, font=big)
    y = MARGIN_PX + 40
    for (heading, tiles), texts, rows in zip(sections, captions, heights, strict=True):
        draw.text((MARGIN_PX, y), heading, fill=INK, font=big)
        y += 40
        if not tiles:
            draw.text((MARGIN_PX, y - 10), "none", fill=FAINT, font=font)
            y += 30
        for number, tile in enumerate(tiles):
            row, column = divmod(number, COLUMNS)
            x = MARGIN_PX + column * (TILE_PX + GAP_PX)
            _draw_tile(sheet, draw, tile, texts[number], (x, y + sum(rows[:row])), font)
        y += sum(rows)
    sink = io.BytesIO()
    sheet.save(sink, "PNG", compress_level=4)
    return sink.getvalue()


def _draw_tile(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    tile: Tile,
    caption: Sequence[str],
    place: tuple[int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    x, y = place
    if tile.png is None:
        draw.rectangle((x, y, x + TILE_PX - 1, y + TILE_PX - 1), fill=(232, 232, 228))
        draw.text((x + TILE_PX // 2, y + TILE_PX // 2), "no picture", fill=FAINT, font=font, anchor="mm")
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

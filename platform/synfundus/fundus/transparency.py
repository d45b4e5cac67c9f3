"""Blend transparent pixels with black, and ignore an alpha channel that is not used."""

from PIL import Image, ImageFile


def is_transparent(image: Image.Image) -> bool:
    """Return whether an image has an alpha channel, or a transparent colour."""
    return image.mode in ("RGBA", "LA", "PA", "La") or "transparency" in image.info


def keep_premultiplied(image: ImageFile.ImageFile) -> bool:
    """Return whether the colours of a TIFF are premultiplied by alpha; if so, let Pillow load them as they are stored.

    Premultiplied colours are the colours blended with black. Pillow would divide them by alpha, and lose them where an
    unused alpha channel is 0.
    """
    found = False
    for i, tile in enumerate(image.tile):
        if isinstance(tile.args, tuple) and isinstance(tile.args[0], str) and tile.args[0].startswith("RGBa"):
            raw_mode = "RGBA" + tile.args[0].removeprefix("RGBa")
            image.tile[i] = tile._replace(args=(raw_mode, *tile.args[1:]))
            found = True
    return found or image.mode == "La"


def blended_with_black(image: Image.Image) -> Image.Image:
    """Return RGB. The alpha channel counts as unused if it has one value throughout (some writers leave it 0)."""
    if image.mode not in ("RGBA", "LA"):
        image = image.convert("RGBA")
    lowest, highest = image.getchannel("A").getextrema()
    if lowest == highest:
        return image.convert("RGB")
    blended = Image.new("RGB", image.size)
    blended.paste(image, mask=image)
    return blended

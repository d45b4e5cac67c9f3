"""Turn a photograph upright by its orientation: EXIF tag 0x0112, values 1 to 8 (Exif 2.32, section 4.6.4)."""

from PIL import Image

ORIENTATION_TAG = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def remaining_orientation(loaded: Image.Image) -> int:
    """Return the orientation, 1 to 8, that a loaded image still has; 1 if its EXIF is broken.

    Pillow's TIFF decoder turns the pixels itself while it loads them, and removes the tag. The other decoders do not.
    """
    try:
        return int(loaded.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # Pillow raises any exception on a hostile EXIF block
        return 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image turned upright; unknown orientations change nothing."""
    return image.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else image

"""What an image file kept of its pixels: nothing lost, or JPEG of which quality."""

from functools import lru_cache

from PIL import Image

LOSSLESS = ("PNG", "BMP", "PPM")

# The luminance table of ITU-T T.81, annex K.1, row by row.
LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)


def encoding(image: Image.Image) -> str:
    """Name the encoding of an opened file: "lossless", "JPEG q75", "JPEG" (unusual tables) or the format's name."""
    if image.format == "JPEG":
        quality = jpeg_quality(tuple(getattr(image, "quantization", {}).get(0, ())))
        return f"JPEG q{quality}" if quality else "JPEG"
    return "lossless" if image.format in LOSSLESS else str(image.format)


@lru_cache
def jpeg_quality(table: tuple[int, ...]) -> int | None:
    """The quality (1..100) for which libjpeg writes this luminance quantisation table; None if there is none."""
    return next((quality for quality in range(1, 101) if luminance_table(quality) == table), None)


def luminance_table(quality: int) -> tuple[int, ...]:
    """Scale the standard table as libjpeg does (jcparam.c, jpeg_quality_scaling)."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(min(max((entry * scale + 50) // 100, 1), 255) for entry in LUMINANCE)

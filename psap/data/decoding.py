"""Opening one image file: of five formats and no other, upright, in eight bits; what is wrong with it is one line."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from psap.errors import PsapError, raise_out_of_memory
from psap.utils.files import regular

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp")
# Whatever a file is called: Pillow would try all that it knows, and hand PostScript to another program.
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "WEBP")
LARGEST = 2**30  # bytes of a file, far beyond every image that can be decoded
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_CHUNK = 256  # images a task: enough to hide the cost of a task, few enough for a lively progress bar
_NAMED = 10  # of many bad images, the first

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # large, not yet refused
warnings.filterwarnings("ignore", message="(Possibly c|C)orrupt EXIF", category=UserWarning)  # real photographs have it


class BadImage(PsapError):
    """A file that cannot be used as an image, and why."""

    def __init__(self, file: Path, why: str) -> None:
        super().__init__(f"{file}: {why}; replace or remove it")
        self.told = f"{file}: {why}"


def refuse(bad: Sequence[BadImage]) -> None:
    """Raise PsapError if there are bad images: the first few in one line, so that they can be fixed together."""
    if len(bad) == 1:
        raise bad[0]
    if bad:
        more = f"; and {len(bad) - _NAMED:,} more" if len(bad) > _NAMED else ""
        told = "; ".join(image.told for image in bad[:_NAMED])
        raise PsapError(f"{len(bad):,} files cannot be used as images; replace or remove them: {told}{more}")


@contextmanager
def opened(file: Path, content: bytes | None = None) -> Iterator[Image.Image]:
    """The image in `file`, or in its `content`, to be decoded within. Raises BadImage for all that is wrong with it."""
    try:
        with Image.open(regular(file, LARGEST) if content is None else BytesIO(content), formats=FORMATS) as image:
            if image.mode not in EIGHT_BIT_MODES:
                raise BadImage(file, f"more than 8 bits a channel (mode {image.mode}), where 8-bit RGB is wanted")
            yield image
    except PsapError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, zlib.error, ...
        raise_out_of_memory(error)
        raise BadImage(file, _why(error)) from None


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    if isinstance(error, Image.DecompressionBombError):
        return f"claims to have more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels"
    unknown = isinstance(error, UnidentifiedImageError)
    reason = "no JPEG, PNG, BMP, PPM or WebP" if unknown else str(error).strip().partition("\n")[0]
    return f"damaged, truncated or not an image ({reason or type(error).__name__})"


def upright(image: Image.Image) -> Image.Image:
    """Decode to RGB, turned as the camera says; as it lies where that is damaged."""
    decoded = image.convert("RGB")
    with suppress(Exception):
        ImageOps.exif_transpose(decoded, in_place=True)
    return decoded


def for_each(files: Sequence[Path], work: Callable[[int, Path], None], what: str, threads: int) -> None:
    """Call `work` with the number and path of every file. Raises PsapError with all BadImage that it raised.

    Any other error cancels what has not begun.
    """
    from rich.console import Console
    from rich.progress import track

    starts, console = range(0, len(files), _CHUNK), Console(stderr=True)

    def chunk(start: int) -> list[BadImage]:
        bad = []
        for number, file in enumerate(files[start : start + _CHUNK], start):
            try:
                work(number, file)
            except BadImage as error:
                bad.append(error)
        return bad

    pool = ThreadPoolExecutor(threads)
    try:
        found = track(pool.map(chunk, starts), what, len(starts), console=console, disable=len(starts) < 10)
        refuse([image for bad in found for image in bad])
    finally:
        pool.shutdown(cancel_futures=True)

from pathlib import Path

import pytest
from folders_helpers import pixels
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from psap.data.encoding import jpeg_quality


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 90, 95, 100])
def test_jpeg_quality_is_read_from_the_tables(tmp_path: Path, quality: int) -> None:
    file = tmp_path / "x.jpg"
    Image.fromarray(pixels(0, 16, 16)).save(file, quality=quality)
    with Image.open(file) as image:
        assert isinstance(image, JpegImageFile)
        assert jpeg_quality(tuple(image.quantization[0])) == quality
    assert jpeg_quality((1,) * 63 + (2,)) is None

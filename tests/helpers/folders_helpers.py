"""Small folders of random images."""

from pathlib import Path

import numpy as np
from PIL import Image


def pixels(number: int, width: int = 5, height: int = 4) -> np.ndarray:
    return np.random.default_rng(number).integers(256, size=(height, width, 3), dtype=np.uint8)


def make_folder(root: Path, classes: list[str], suffix: str = ".png", side: tuple[int, int] = (5, 4)) -> Path:
    number = 0
    for split, images in (("train", 3), ("test", 1)):
        for name in classes:
            for i in range(images):
                file = root / split / name / f"{i}{suffix}"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels(number, *side)).save(file)
                number += 1
    return root

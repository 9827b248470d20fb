"""A saved network for MLflow: `mlflow.pyfunc.load_model` finds this module by its name in the model's MLmodel file."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from psap.errors import PsapError
from psap.models.architecture import DESCRIPTION, PREPROCESSING, read
from psap.models.saved import load


class Predictor:
    """A network with the preprocessing that it was trained with.

    Attributes:
        network: The network itself, on the CPU in evaluation mode.
    """

    def __init__(self, folder: Path) -> None:
        told = read(folder).extra.get(PREPROCESSING)
        if not told:
            raise PsapError(
                f"{folder / DESCRIPTION}: does not say how an image becomes the network's input; "
                "psap.load loads the network itself"
            )
        self.network = load(folder).eval()
        self._mean, self._std = torch.tensor(told["mean"]), torch.tensor(told["std"])

    def predict(self, images: NDArray[np.uint8], params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """Score images.

        Args:
            images: Pixels in 0..255, shape (N, H, W, C). Photographs are resized and cut to the network's size before.
            params: Not used; MLflow passes it.

        Returns:
            A score for each image and class (the logits), shape (N, classes).
        """
        pixels = torch.as_tensor(np.asarray(images)).float() / 255
        with torch.no_grad():
            scores: NDArray[np.float32] = self.network(((pixels - self._mean) / self._std).permute(0, 3, 1, 2)).numpy()
        return scores


def _load_pyfunc(path: str) -> Predictor:
    """What MLflow calls with the model's folder."""
    return Predictor(Path(path))

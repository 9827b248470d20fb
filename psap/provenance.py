"""Where a number comes from: versions, commit and hardware of the process that makes it."""

import os
import platform
import subprocess
import time
from importlib.metadata import version
from typing import Any

import psutil
import torch

# Of the checkout; results are not among them, since every run changes some.
_MAKERS = (":/psap", ":/params", ":/workflow", ":/profiles", ":/Snakefile")
_PACKAGES = ("torch", "torchvision", "timm", "torch-pruning", "numpy", "pillow", "safetensors")


def provenance(device: torch.device) -> dict[str, Any]:
    """Versions, git commit and whether what makes a result differs from it, hardware and device."""
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", *_MAKERS)),
        "hardware": hardware(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def now() -> str:
    """The time, in UTC: "2023-03-21T12:00:00Z"."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def hardware() -> str:
    """Processor type, cores that this process may use, and memory: "x86_64, 2 cores, 24 GiB"."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.machine()}, {cores} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB"


def _git(*arguments: str) -> str:
    """Output of a git command, empty outside a checkout."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()

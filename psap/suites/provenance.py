"""Where a number comes from: versions, commit and hardware of the process that makes it."""

import os
import platform
import re
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

from psap.training.precision import resolve
from psap.utils.bounds import Precision
from psap.utils.mappings import JsonObject

# Of the checkout; results are not among them, since every run changes some.
_MAKERS = (":/psap", ":/params", ":/workflow", ":/profiles", ":/Snakefile")
_PACKAGES = ("torch", "torchvision", "timm", "torch-pruning", "numpy", "scipy", "pillow", "safetensors")
# Variables by which libraries choose other instructions, so that sums come out in another order.
_SETTINGS = (
    "OPENBLAS_CORETYPE",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "NVIDIA_TF32_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
)


def provenance(device: torch.device, precision: Precision) -> JsonObject:
    """Versions, git commit and whether what makes a result differs from it, hardware, device, what `precision` was.

    `dirty` is None where git does not say.
    """
    changes = _git("status", "--porcelain", "--", *_MAKERS)
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "commit": _git("rev-parse", "HEAD") or "",
        "dirty": None if changes is None else bool(changes),
        "hardware": hardware(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": resolve(precision, device),
        "machine": machine(device),
    }


def machine(device: torch.device) -> JsonObject:
    """What decides the last bits of a result, and by them the whole of a training: two machines seldom agree in them.

    The processor, the instructions that torch uses of it, its threads, and settings of the libraries below torch; on a
    GPU its driver and CUDA.
    """
    found: JsonObject = {
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        **{name: os.environ[name] for name in _SETTINGS if name in os.environ},
    }
    return found | ({"driver": _driver(), "cuda": torch.version.cuda} if device.type == "cuda" else {})


def arithmetic(device: torch.device, precision: Precision) -> str:
    """What a training in `precision` can be resumed with, and end with the same bits.

    On a GPU, whose sums differ anyway, its type.
    """
    computed = f"{device.type} {resolve(precision, device)}"
    if device.type == "cuda":
        return computed
    known = machine(device)
    return " ".join([computed, *(f"{name} {value}" for name, value in known.items() if name != "processor")])


def now() -> str:
    """The time, in UTC: "2023-03-21T12:00:00Z"."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def hardware() -> str:
    """Processor type, cores that this process may use, and memory: "x86_64, 2 cores, 24 GiB"."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.machine()}, {cores} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB"


def processor() -> str:
    """The processor's model, as the system names it: "AMD EPYC 9R14"."""
    found = _first(r"^model name\s*: (.*)$", Path("/proc/cpuinfo"))
    if platform.system() == "Darwin":
        found = _said("sysctl", "-n", "machdep.cpu.brand_string") or ""
    return found or platform.processor() or platform.machine()


def _driver() -> str:
    return _first(r"(\d+\.\d+[.\d]*)", Path("/proc/driver/nvidia/version")) or "unknown"


def _first(pattern: str, file: Path) -> str:
    try:
        found = re.search(pattern, file.read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found[1] if found else ""


def _git(*arguments: str) -> str | None:
    """Output of a git command; None outside a checkout, or without git."""
    return _said("git", *arguments)


def _said(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()

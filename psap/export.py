"""Networks for other programs: ONNX and torch.export files, which appear only if they compute what the network does."""

import copy
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from psap.errors import PsapError
from psap.utils.files import atomic
from psap.utils.mappings import JsonObject

Format = Literal["onnx", "torch"]
Run = Callable[[Tensor], Tensor]
Save = Callable[[Path, JsonObject], None]
TOLD = "psap.json"

BATCHES = (1, 2, 7)
_TOLERANCE = 1e-4
_INPUT, _OUTPUT = "images", "logits"


@dataclass(frozen=True)
class Difference:
    """Largest difference between the outputs of a file and of its network.

    Attributes:
        absolute: In the unit of the outputs.
        relative: As a share of the largest output.
    """

    absolute: float
    relative: float


def export(model: nn.Module, images: Tensor, file: Path, format: Format, told: JsonObject | None = None) -> Difference:
    """Write a network in evaluation mode to a file, for batches of any size.

    The file is read again and compared with the network, on random normal inputs in batches of 1, 2 and 7.

    Args:
        model: The network, from images to scores; it is left alone.
        images: A batch of the size that it takes, shape (N, C, H, W).
        file: Where to write.
        format: `"onnx"`, or `"torch"` for a program of torch.export.
        told: What a reader of the file should know, in plain values. An ONNX file has it in its metadata, each value as
            JSON; a program of torch.export in the extra file `psap.json`.

    Returns:
        The largest difference between the outputs of the file and of the network.

    Raises:
        PsapError: When the difference is above 1e-4 of the largest output, the network cannot be exported or returns
            more than a tensor, or packages are missing. What was at `file` before then stays.
    """
    if packages := missing(format):
        raise PsapError(f"{format} needs {', '.join(packages)}, not installed here: pip install {' '.join(packages)}")
    how = _FORMATS[format]
    network = copy.deepcopy(model).cpu().eval()
    with atomic(file) as temporary, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _converted(how, network, images)(temporary, told or {})
        found = difference(network, how.read(temporary), images)
        if not found.relative <= _TOLERANCE:
            raise PsapError(
                f"{file}: not written: its outputs differ from the network's by {found.absolute:.1e}, which is "
                f"{found.relative:.1e} of the largest output (allowed: {_TOLERANCE:g})"
            )
    return found


def difference(network: Run, other: Run, images: Tensor) -> Difference:
    """Compare two networks on random normal inputs like `images`, (N, C, H, W), in batches of 1, 2 and 7."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(batch, *images.shape[1:], generator=generator) for batch in BATCHES]
    pairs = [(network(x), other(x)) for x in inputs]
    gap = torch.stack([(expected - found).abs().max() for expected, found in pairs]).max()
    largest = torch.stack([expected.abs().max() for expected, _ in pairs]).max()
    return Difference(float(gap), float(gap / largest) if gap else 0.0)


def missing(format: Format) -> list[str]:
    """The packages that a format needs and that are not installed."""
    return [package for package in _FORMATS[format].needs if find_spec(package) is None]


def suffix(format: Format) -> str:
    """The usual ending of a file of this format."""
    return _FORMATS[format].suffix


def onnx_session(model: Path | bytes, threads: int = 0) -> Run:
    """Load an ONNX file, or its content, into ONNX Runtime on the CPU, with `threads` threads (0: as many as cores)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that wait for the next call by spinning would take the cores from whatever runs beside this session.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {_INPUT: images.numpy()})[0])


def _onnx(program: ExportedProgram) -> Save:
    converted = torch.onnx.export(program, input_names=[_INPUT], output_names=[_OUTPUT], verbose=False)
    assert converted is not None

    def save(file: Path, told: JsonObject) -> None:
        converted.model.metadata_props.update({name: json.dumps(value) for name, value in told.items()})
        converted.save(file, external_data=False)

    return save


def _torch(program: ExportedProgram) -> Save:
    return lambda file, told: torch.export.save(program, file, extra_files={TOLD: json.dumps(told)})


def _read_torch(file: Path) -> Run:
    module: Run = torch.export.load(file).module()
    return module


@dataclass(frozen=True)
class _Format:
    """`convert` turns a traced network into what writes the file; `needs` are packages beside torch."""

    suffix: str
    needs: tuple[str, ...]
    convert: Callable[[ExportedProgram], Save]
    read: Callable[[Path], Run]


_FORMATS: dict[Format, _Format] = {
    "onnx": _Format(".onnx", ("onnx", "onnxruntime", "onnxscript"), _onnx, onnx_session),
    "torch": _Format(".pt2", (), _torch, _read_torch),
}


def _converted(how: _Format, network: nn.Module, images: Tensor) -> Save:
    pair = torch.zeros(2, *images.shape[1:])  # a batch of one would be taken for a size that never changes
    try:
        if not isinstance(output := network(pair), Tensor):
            raise TypeError(f"its output is a {type(output).__name__}; wrap it so that it returns one tensor")
        return how.convert(torch.export.export(network, (pair,), dynamic_shapes=({0: torch.export.Dim("batch")},)))
    except Exception as error:  # the exporters raise whatever the network makes them stumble over
        first = " ".join(str(error).strip().splitlines()[:1]) or type(error).__name__
        raise PsapError(f"{type(network).__name__} cannot be exported: {first}") from error

"""What several tests share. One thread each: the tests run side by side, and one thread is what jobs get."""

import os
from pathlib import Path

import pytest
import torch
from fixture_types import Psap, Randomise
from torch import Tensor, nn

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def randomise() -> Randomise:
    """Give a network the batch-norm scales, shifts, statistics and biases that a fresh one hides mistakes behind."""

    def change(model: nn.Module, seed: int = 0) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)

        def draw(like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)

        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.dim() == 1:
                    parameter.copy_(0.5 * draw(parameter) + (1.0 if name.endswith("weight") else 0.0))
            for name, buffer in model.named_buffers():
                if name.endswith("running_mean"):
                    buffer.copy_(0.3 * draw(buffer))
                elif name.endswith("running_var"):
                    buffer.copy_(0.5 + draw(buffer).abs())
        return model

    return change


@pytest.fixture
def psap(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Psap:
    """Run a command line; returns its exit code and what it wrote to stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        from psap.cli.main import main

        monkeypatch.setattr("sys.argv", ["psap", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    return run


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long tests first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.path.parent.name != "workflow")

"""A small network, a batch for it, and a prune-training loop in two calls."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.utils.mappings import JsonObject

X = torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(5))
Y = torch.arange(16) % 5
AFTER = {
    "when": "after",
    "signal": "weight_gradient",
    "scope": "group",
    "quantile": 0.7,
    "share": 0.3,
    "pulse": 0.0,
    "immunity": 1,
    "rest": "free",
}
# Both mechanisms at once: ratios follow folded weights, protection goes across the network, and the pulse brings back.
ACROSS: JsonObject = {
    "schedule": {"kind": "cubic", "freeze": 0.6},
    "allocation": "sparsity",
    "sparsity": {"weights": "folded", "scale": "model", "quantile": 0.5, "alpha": 0.25},
    "protection": {
        "when": "before",
        "signal": "gate_gradient",
        "scope": "network",
        "quantile": 0.8,
        "share": 0.7,
        "pulse": 0.03,
        "immunity": 1,
        "rest": "fix",
    },
    "window": 20,
}
CONSTANT = {"kind": "constant", "start": 0.0, "freeze": 0.8, "interval": 1}


class Small(nn.Module):
    """Convolution, batch-norm, ReLU, twice, and a classifier; `beta` is the shift of the first batch-norm."""

    def __init__(self, beta: float = 0.5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.norm1 = nn.Conv2d(3, 10, 3, bias=False), nn.BatchNorm2d(10)
        self.conv2, self.norm2 = nn.Conv2d(10, 8, 3), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)
        nn.init.constant_(self.norm1.bias, beta)
        nn.init.uniform_(self.norm1.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.conv1(x)).relu()
        out: Tensor = self.head(self.norm2(self.conv2(x)).relu().mean((2, 3)))
        return out


def iterate(model: nn.Module, optimizer: torch.optim.Optimizer, pruner: Pruner) -> None:
    F.cross_entropy(model(X), Y).backward()
    pruner.after_backward()
    optimizer.step()
    optimizer.zero_grad()
    pruner.after_step()


def start(
    model: nn.Module, epochs: int = 10, target: float = 0.5, **parameters: Any
) -> tuple[Pruner, torch.optim.Optimizer]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    parameters = {"schedule": CONSTANT, "allocation": "uniform", "window": 1, **parameters}
    parameters["protection"] = AFTER | parameters.get("protection", {})
    method = Method.model_validate(parameters)
    return Pruner(model, X, target, epochs, optimizer, method), optimizer

"""The same under Lightning: the callback makes the pruner's calls, and its state is in Lightning's checkpoints.

It needs the package lightning: pip install lightning
python examples/lightning_loop.py
"""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

from psap.lightning import PruningCallback


class Classifier(LightningModule):
    """A small network, trained as Lightning has it: nothing in here knows of pruning."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(64, 10),
        )  # fmt: skip

    def training_step(self, batch: list[Tensor]) -> Tensor:
        images, labels = batch
        return F.cross_entropy(self.network(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
train, test = random_split(TensorDataset(images, torch.tensor(digits.target)), [1400, 397])

module = Classifier()
callback = PruningCallback(images[:1], target=0.5, network="network")
quiet: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
trainer = Trainer(max_epochs=12, accelerator="cpu", callbacks=[callback], gradient_clip_val=1.0, **quiet)
trainer.fit(module, DataLoader(train, 64, shuffle=True, drop_last=True))

small = callback.compact().eval()
tested, labels = next(iter(DataLoader(test, len(test))))
with torch.no_grad():
    accuracy = 100 * float((small(tested).argmax(1) == labels).float().mean())
print(f"multiply-adds -{100 * callback.pruner.reduction():.1f} %, accuracy {accuracy:.1f} %")

"""Prune a classifier of sequences: half of its multiply-adds, on digits read pixel by pixel as tokens.

python examples/sequence.py
"""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from psap import Pruner

EPOCHS, BATCH = 8, 32
torch.manual_seed(0)
digits, classes = load_digits(return_X_y=True)
tokens, labels = torch.tensor(digits).long(), torch.tensor(classes)  # (N, 64): shades 0 to 16
padding = tokens.flip(1).cumsum(1).flip(1) == 0  # what follows the last stroke
order = torch.randperm(len(tokens))
train, test = order[:1408], order[1408:]


@dataclass
class Output:
    """What the classifier gives: scores of the classes (B, 10), and of each sequence its features (B, C)."""

    logits: Tensor
    features: Tensor


class Classifier(nn.Module):
    """Embedded tokens, two convolutions over neighbours, two layers of attention, the mean over what is no padding."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(17, width)
        self.place = nn.Parameter(torch.randn(1, 64, width))
        self.near = nn.Sequential(nn.Conv1d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.Conv1d(2 * width, width, 1))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classes = nn.Linear(width, 10)

    def forward(self, tokens: Tensor, padding: Tensor) -> Output:
        x = self.near((self.embedding(tokens) + self.place).mT).mT
        x = self.encoder(x, src_key_padding_mask=padding)
        seen = (~padding).to(x.dtype).unsqueeze(-1)
        features = (x * seen).sum(1) / seen.sum(1)
        return Output(self.classes(features), features)


def accuracy(model: nn.Module) -> float:
    model.eval()
    with torch.no_grad():
        return 100 * float((model(tokens[test], padding[test]).logits.argmax(1) == labels[test]).float().mean())


model = Classifier()
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, EPOCHS * (len(train) // BATCH))
pruner = Pruner(model, (tokens[:2], padding[:2]), target=0.5, epochs=EPOCHS, optimizer=optimizer)
for epoch in range(EPOCHS):
    model.train()
    pruner.step(epoch)
    for batch in train[torch.randperm(len(train))].split(BATCH):
        F.cross_entropy(model(tokens[batch], padding[batch]).logits, labels[batch]).backward()
        pruner.after_backward()
        optimizer.step()
        optimizer.zero_grad()
        pruner.after_step()
        schedule.step()

small = pruner.compact()
print(f"{len(pruner.groups)} groups pruned, {len(pruner.unprunable)} whole: {pruner.unprunable[0].reason}")
print(f"multiply-adds -{100 * pruner.reduction():.1f} %, parameters -{100 * pruner.reduction('params'):.1f} %")
print(f"accuracy: masked {accuracy(model):.1f} %, compacted {accuracy(small):.1f} %")

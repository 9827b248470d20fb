"""Protective Self-Adaptive Pruning (arXiv:2303.11881) in one file, for CIFAR ResNets with shortcuts of option B.

    python examples/psap_in_one_file.py

S1, S2 and S3 are statements of the paper's abstract. It gives no formula: these are psap's own (docs/method.md), and
`psap.Pruner` prunes the same channels. As S4 says, nothing is read but the network's own weights and gradients.
"""

from collections.abc import Callable, Iterator

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from psap.models.cifar_resnet import CifarResNet

FREEZE, WINDOW = 0.6, 20  # S1: share of the epochs before the last step; iterations whose gradients supervise a step
QUANTILE, ALPHA, MAX_RATIO = 0.5, 0.25, 0.9  # S2: share of weights called small at first; exponent; largest ratio
PROTECTED, OF_GROUP, PULSE = 0.2, 0.7, 0.03  # S3: share of channels to protect, at most of a group; share to give back


class Groups:
    """Channels that go together: those inside a block, or of a stage's residual stream. Masks are flat, by group."""

    def __init__(self, network: CifarResNet, side: int) -> None:
        stream, outside = 0, -1  # a layer: modules, multiply-adds for one channel in and one out, groups in and out
        layers = [(network.conv1, network.bn1, 9 * side**2 * network.conv1.in_channels, outside, stream)]
        for block in [*network.layer1, *network.layer2, *network.layer3]:
            side, source, inner = -(-side // block.conv1.stride[0]), stream, 1 + max(made for *_, made in layers)
            if block.conv1.stride != (1, 1):  # a convolution in the shortcut begins the next stage's stream
                stream = inner + 1
                layers.append((*block.shortcut, side**2, source, stream))
            layers.append((block.conv1, block.bn1, 9 * side**2, source, inner))
            layers.append((block.conv2, block.bn2, 9 * side**2, inner, stream))
        widths = {made: conv.out_channels for conv, *_, made in layers}
        self.sizes = torch.tensor([widths[group] for group in sorted(widths)])
        self.of = torch.arange(len(widths)).repeat_interleave(self.sizes)  # the group of each channel
        self.layers = [(conv, norm, self.of == made) for conv, norm, *_, made in layers]
        self.costs = [*(layer[2:] for layer in layers), (network.linear.out_features, stream, outside)]

    def reduction(self, lost: Tensor) -> float:
        """Share of the multiply-adds that goes when each group loses so many channels."""
        widths = ([*(self.sizes - n).tolist(), 1] for n in (lost, 0 * lost))
        left, whole = (sum(cost * kept[read] * kept[made] for cost, read, made in self.costs) for kept in widths)
        return 1 - left / whole

    def total(self, read: Callable[[nn.Conv2d, nn.BatchNorm2d], Tensor]) -> Tensor:
        """What is read of each channel, summed over the layers that make it."""
        total = torch.zeros(len(self.of))
        for conv, norm, own in self.layers:
            total[own] += read(conv, norm).detach()
        return total

    def place(self, *keys: Tensor) -> Tensor:
        """Each channel's place in its group, from 1, by the last key, then by the one before."""
        order = torch.arange(len(self.of))
        for key in (*keys, self.of):
            order = order[key[order].argsort(stable=True)]
        return order.argsort() + 1 - (self.sizes.cumsum(0) - self.sizes)[self.of]


# S1. Filters are pruned in an iterative prune-train process; between its steps, pruned weights are reconstructed.
def prune(network: CifarResNet, side: int, optimizer, loader, epochs: int, target: float) -> Iterator[tuple]:
    """Remove `target` of the multiply-adds; tells of every epoch. `loader` has more than WINDOW batches."""
    groups, last, tau = Groups(network, side), round(FREEZE * epochs), None
    filters = [(conv.weight, own) for conv, _, own in groups.layers]
    owned = filters + [(t, own) for _, n, own in groups.layers for t in [*n.parameters(), *n.buffers()] if t.dim()]
    pruned = restored = selected = groups.of < 0
    for epoch in range(epochs):
        norms, gates, shielded = 0, 0, groups.of < 0
        for i, (x, y) in enumerate(loader):
            cross_entropy(network.train()(x), y).backward()
            if epoch <= last and i < WINDOW:
                norms = norms + groups.total(lambda conv, _: conv.weight.square().sum((1, 2, 3))).sqrt()
                # |dL/da| of an open gate a behind batch-norm and ReLU: by the chain rule, from scale and shift.
                gates = gates + groups.total(lambda _, n: n.weight * n.weight.grad + n.bias * n.bias.grad).abs()
            if epoch < last and i == WINDOW:  # the pulse: gradients of the zeroed filters, magnified by batch-norm
                pulse = groups.total(lambda conv, _: conv.weight.grad.square().sum((1, 2, 3))).sqrt()
                restored = strongest(groups, pulse, selected & ~pruned, PULSE)
            optimizer.step()
            optimizer.zero_grad()
            if epoch <= last and i == WINDOW - 1:  # what came back after the last step is safe from this one
                aim = target * (1 - (1 - (epoch + 1) / (last + 1)) ** 3)  # rises fast at first, gently at the end
                protected = strongest(groups, gates, ~pruned, PROTECTED) | restored
                selected, shielded, tau = select(groups, tau, norms, protected, pruned, aim)
                backup, restored = [tensor.clone() for tensor, _ in owned], restored & False
                for weight, own in filters:
                    weight.data[selected[own]] = 0
                pruned = selected if epoch == last else pruned
            if epoch < last and i == WINDOW:  # nothing is lost beyond recovery
                for (tensor, own), old in zip(owned, backup, strict=True):
                    tensor.data[restored[own]] = old[restored[own]]
                    for momentum in optimizer.state.get(tensor, {}).values():
                        momentum[restored[own]] = 0
                pruned = selected & ~restored
            for tensor, own in owned:  # what did not come back stays at zero for good
                tensor.data[pruned[own]] = 0
        yield aim, groups.reduction(groups.of.bincount(pruned.double())), pruned, shielded, restored


# S2. Before each step the pruning ratio of each layer is adapted, by the network's own weight sparsity ratio.
def select(groups: Groups, tau, norms: Tensor, protected: Tensor, pruned: Tensor, aim: float) -> tuple:
    """Of each group the share kappa (s / mean s)^ALPHA with the lowest norms, kappa being such that the aim is met."""

    def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:  # weights as inference sees them
        return conv.weight.abs() * (norm.weight.abs() / (norm.running_var + norm.eps).sqrt())[:, None, None, None]

    weights = torch.cat([folded(conv, norm).flatten() for conv, norm, _ in groups.layers])
    tau = weights.kthvalue(round(QUANTILE * len(weights))).values if tau is None else tau  # fixed at the first step
    small = groups.total(lambda *layer: (folded(*layer) <= tau).sum((1, 2, 3))) * ~pruned
    every = groups.total(lambda conv, _: torch.tensor(conv.weight[0].numel())) * ~pruned
    s = groups.of.bincount(small) / groups.of.bincount(every)  # weight sparsity ratios
    gone, spared = (groups.of.bincount(mask.double()) for mask in (pruned, protected))
    bounds = (groups.sizes - tenths * spared // 10 for tenths in range(10, -1, -1))  # all protected stay, or fewer
    bounds = (bound.minimum((MAX_RATIO * groups.sizes + 1e-9).floor()).maximum(gone) for bound in bounds)
    most = next(bound for bound in bounds if groups.reduction(bound) >= aim)
    place, lost = groups.place(norms, protected.int()), gone.clone()  # those at zero go first, protected ones last
    kappa = place / (groups.sizes * (s / s.mean()).clamp(min=1e-3) ** ALPHA)[groups.of]  # at which each channel goes
    for channel in kappa.argsort(stable=True):
        group = groups.of[channel]
        if gone[group] < place[channel] <= most[group] and groups.reduction(lost) < aim:
            lost[group] += 1
    one = torch.eye(len(lost))  # what the last channels took too much is given back
    while spare := [(r, g) for g, n in enumerate(lost - gone) if n and (r := groups.reduction(lost - one[g])) >= aim]:
        lost -= one[min(spare)[1]]
    lost = lost[groups.of]
    return place <= lost, (place > lost) & (groups.place(norms) <= lost), tau


# S3. Supervising gradients keep important filters from being pruned: of gates before a step, of zeroed filters after.
def strongest(groups: Groups, signal: Tensor, candidates: Tensor, share: float) -> Tensor:
    """The `share` of all channels with the strongest signals, at most OF_GROUP of a group; never silent ones."""
    signal = signal * candidates
    signal = signal * (groups.place(-signal) <= OF_GROUP * groups.sizes[groups.of] + 1e-9)
    return ((-signal).argsort(stable=True).argsort() < int(share * len(signal) + 1e-9)) & (signal > 0)


if __name__ == "__main__":
    torch.manual_seed(0)
    digits, network = load_digits(), CifarResNet(8, "B", classes=10, in_channels=1)
    images, labels = torch.tensor(digits.images).float()[:, None] / 8 - 1, torch.tensor(digits.target)
    loader = list(zip(images[:1400].split(64), labels[:1400].split(64), strict=True))
    for target, epochs in ((0.0, 4), (0.7, 10)):  # dense, then pruned
        print("epoch   target  multiply-adds  pruned  shielded  restored  accuracy")
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
        for epoch, (aim, cut, *masks) in enumerate(prune(network, 8, optimizer, loader, epochs, target)):
            right = network.eval()(images[1400:]).argmax(1) == labels[1400:]
            row = (epoch, aim, -cut, *(int(mask.sum()) for mask in masks), right.double().mean())
            print("{:5} {:8.1%} {:14.1%} {:7} {:9} {:9} {:9.1%}".format(*row))

"""Criteria: the score of each channel of a group, from its weights and gradients. The lowest are pruned first."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from psap.pruning.registry import Registry


@dataclass(frozen=True)
class Channels:
    """What a criterion may look at: a group of C channels, each with D weights.

    Attributes:
        weights: Each channel's filters laid side by side, with their biases, shape (C, D).
        gradients: The derivative of the loss with respect to `weights`, shape (C, D); None where the criterion does not
            ask for it.
        scales: Sum over the group's batch-norms of |scale|, shape (C,); None in a group without batch-norm.
        gate_gradients: The derivative of the loss with respect to a gate behind batch-norm, shape (C,), as in
            Taylor-FO-BN (arXiv:1906.10771, section 3.2); None without gradients, and in a group without batch-norm.
        generator: The pruner's own random numbers, on the CPU; None where the criterion is asked outside a pruner.
    """

    weights: Tensor
    gradients: Tensor | None = None
    scales: Tensor | None = None
    gate_gradients: Tensor | None = None
    generator: torch.Generator | None = None


Score = Callable[[Channels], Tensor]


@dataclass(frozen=True)
class Criterion:
    """How channels are scored, the lowest being pruned first.

    Attributes:
        score: From the `Channels` of a group to their scores, shape (C,), of any unit.
        comparable: Whether scores of different groups can be ranked together as they are.
        needs_gradients: Whether it is asked after each backward pass of the method's window; its scores are added up.
        needs_scales: Whether it cannot judge a group without batch-norm, which so stays whole.
    """

    score: Score
    comparable: bool = False
    needs_gradients: bool = False
    needs_scales: bool = False


def l1(channels: Channels) -> Tensor:
    """Sum of absolute weights (Li et al., arXiv:1608.08710, section 3.1)."""
    return channels.weights.abs().sum(1)


def l2(channels: Channels) -> Tensor:
    """Euclidean norm of the weights (SFP, He et al., arXiv:1808.06866, equation 2 with p = 2)."""
    norm: Tensor = torch.linalg.vector_norm(channels.weights, dim=1)
    return norm


def fpgm(channels: Channels) -> Tensor:
    """Sum of distances to the group's other filters (He et al., arXiv:1811.00250, equation 6)."""
    weights = channels.weights
    return torch.cdist(weights, weights, compute_mode="use_mm_for_euclid_dist").sum(1)


def bn_scale(channels: Channels) -> Tensor:
    """Absolute batch-norm scale (network slimming, Liu et al., arXiv:1708.06519, section 3).

    A channel without batch-norm scores infinity: this criterion cannot judge it, so it stays.
    """
    if channels.scales is None:
        return channels.weights.new_full((len(channels.weights),), torch.inf)
    return channels.scales


def taylor(channels: Channels) -> Tensor:
    """Squared first-order change of the loss when the channel goes (Molchanov et al., arXiv:1906.10771, equation 8).

    Behind batch-norm it is nearly zero, since the size of those weights changes nothing: see taylor_bn.
    """
    assert channels.gradients is not None
    return (channels.weights * channels.gradients).sum(1).square()


def taylor_bn(channels: Channels) -> Tensor:
    """The same by a gate behind batch-norm (Taylor-FO-BN, Molchanov et al., arXiv:1906.10771, section 3.2)."""
    gates = channels.gate_gradients
    return taylor(channels) if gates is None else gates.square()


def random(channels: Channels) -> Tensor:
    """Uniform noise in [0, 1): the baseline that every criterion has to beat."""
    noise = torch.rand(len(channels.weights), generator=channels.generator, dtype=torch.float64)
    return noise.to(channels.weights)


CRITERIA = Registry(
    {
        "l1": Criterion(l1),
        "l2": Criterion(l2),
        "fpgm": Criterion(fpgm),
        "bn_scale": Criterion(bn_scale, comparable=True, needs_scales=True),
        "taylor": Criterion(taylor, comparable=True, needs_gradients=True),
        "taylor_bn": Criterion(taylor_bn, comparable=True, needs_gradients=True),
        "random": Criterion(random, comparable=True),
    }
)

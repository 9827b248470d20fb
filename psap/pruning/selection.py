"""Which channels a pruning step selects: scores, weight sparsity ratios, allocation and budget put together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from psap.pruning.allocation import Allocation, AllocationInputs, Ratios
from psap.pruning.budget import ChannelBounds, Reduction, spare
from psap.pruning.cost import CostModel
from psap.pruning.criteria import Channels, Criterion
from psap.pruning.graph.groups import Group
from psap.pruning.sparsity import NoSparsity
from psap.utils.bounds import Measure
from psap.utils.mappings import StateDict


def pruning_order(scores: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Channels in the order in which they are pruned, shape (C,): `first`, then by score, `last` at the end.

    Protected channels go last rather than never, so that a step meets its target even where protection is wide.
    """
    by_score = scores.argsort(stable=True)
    rank = torch.ones_like(by_score)
    rank[first], rank[last & ~first] = 0, 2
    return by_score[rank[by_score].argsort(stable=True)]


@dataclass(frozen=True)
class Constraints:
    """What a selection must respect beside scores: masks (C_g,), one for each group.

    first: channels that are selected before all others. last: those that are selected after all others. spared: those
    that stay as long as the target can be met without them, so that other groups make up for it. staying: those that
    no step gives back.
    """

    first: Sequence[Tensor]
    last: Sequence[Tensor]
    spared: Sequence[Tensor]
    staying: Sequence[Tensor]

    @classmethod
    def none(cls, sizes: Sequence[int]) -> "Constraints":
        """For groups of so many channels, nothing but scores."""
        free = [torch.zeros(size, dtype=torch.bool) for size in sizes]
        return cls(free, free, free, free)

    def __bool__(self) -> bool:
        """Whether there is anything to respect."""
        return any(bool(mask.any()) for masks in vars(self).values() for mask in masks)

    def counts(self) -> tuple[Tensor, Tensor]:
        """How many channels of each group are spared, and how many stay pruned: int64 (G,) each."""
        spared = [int((keep & ~first).sum()) for keep, first in zip(self.spared, self.first, strict=True)]
        return torch.tensor(spared), torch.tensor([int(mask.sum()) for mask in self.staying])


@dataclass(frozen=True)
class Selection:
    """Channels to prune, bool masks (C_g,), and the groups' weight sparsity ratios (empty if not asked).

    `plain`: the channels that scores alone would select, had none been pruned or protected before.
    """

    masks: list[Tensor]
    plain: list[Tensor]
    sparsity: list[float]


Solver = Callable[[Ratios, Reduction, Sequence[int], ChannelBounds, float], list[int]]


@dataclass(frozen=True)
class Rule:
    """What a method selects by. `alpha`: exponent by which a group's ratio follows its sparsity."""

    criterion: Criterion
    allocation: Allocation
    sparsity: NoSparsity
    bounds: ChannelBounds
    alpha: float
    solve: Solver


class Selector:
    """Selects channels of fixed groups by a fixed rule."""

    def __init__(self, groups: Sequence[Group], cost: CostModel, rule: Rule, measure: Measure, seed: int) -> None:
        self._groups, self._cost, self._rule = groups, cost, rule
        self._measure: Measure = measure
        self._generator = torch.Generator().manual_seed(seed)
        self._scores: list[Tensor] = []

    @property
    def needs_gradients(self) -> bool:
        """Whether scores are read after backward passes, and added up over a window."""
        return self._rule.criterion.needs_gradients

    @property
    def bounds(self) -> ChannelBounds:
        """How many channels each group may lose."""
        return self._rule.bounds

    def scores(self) -> list[Tensor]:
        """Score of every channel now, shape (C_g,) for each group, on the model's device."""
        criterion = self._rule.criterion
        return [
            criterion.score(
                Channels(
                    group.filters(),
                    group.filters(gradients=True) if criterion.needs_gradients else None,
                    group.scales(),
                    group.gate_gradients() if criterion.needs_gradients else None,
                    self._generator,
                )
            )
            for group in self._groups
        ]

    def select(
        self, scores: Sequence[Tensor], target: float, pruned: Sequence[Tensor], constraints: Constraints
    ) -> Selection:
        """Select so that removing the selection meets `target`.

        Args:
            scores: of every channel, (C_g,) for each group; the lowest are selected.
            target: share of the measure to remove.
            pruned: masks (C_g,) of the channels pruned now.
            constraints: what to respect beside scores.
        """
        scores = [score.detach().double().cpu() for score in scores]
        sparsity = self._rule.sparsity.ratios(self._groups, pruned)
        # A channel held at zero has no score of its own: it is ranked by the one that it had.
        self._scores = [
            old.where(held, new)
            for old, held, new in zip(self._scores or scores, constraints.first, scores, strict=True)
        ]
        plain = self._pick(self._scores, sparsity, target, Constraints.none([len(score) for score in scores]))
        masks = self._pick(scores, sparsity, target, constraints) if constraints else plain
        return Selection([mask.clone() for mask in masks], plain, sparsity)

    def _pick(
        self, scores: Sequence[Tensor], sparsity: Sequence[float], target: float, constraints: Constraints
    ) -> list[Tensor]:
        """The masks (C_g,) of a selection."""
        ranked = [
            pruning_order(*channels) for channels in zip(scores, constraints.first, constraints.last, strict=True)
        ]
        ordered = self._cost.order(ranked)
        comparable = self._rule.criterion.comparable
        inputs = AllocationInputs(
            [score if comparable else score / score.mean().clamp(min=1e-300) for score in scores],
            torch.tensor(sparsity),
            self._rule.alpha,
        )

        def reduction(counts: Sequence[int]) -> float:
            return ordered.reduction(counts, self._measure)

        channels = [group.channels for group in self._groups]
        bounds = spare(self._rule.bounds, channels, *constraints.counts(), reduction, target)
        counts = self._rule.solve(self._rule.allocation(inputs), reduction, channels, bounds, target)
        masks = [torch.zeros_like(mask) for mask in constraints.first]
        for mask, order, count in zip(masks, ranked, counts, strict=True):
            mask[order[:count]] = True
        return masks

    def state_dict(self) -> StateDict:
        """What a resumed training needs: the sparsity's threshold, the random numbers' place, and the last scores."""
        known = {"sparsity": self._rule.sparsity.state_dict(), "generator": self._generator.get_state()}
        return {**known, "scores": self._scores}

    def load_state_dict(self, state: StateDict) -> None:
        """Resume from a `state_dict()`."""
        self._rule.sparsity.load_state_dict(state["sparsity"])
        self._generator.set_state(state["generator"].cpu())
        self._scores = list(state["scores"])

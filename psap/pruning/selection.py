"""Which channels a pruning step selects: scores, weight sparsity ratios, allocation and budget put together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from psap.pruning.allocation import Allocation, AllocationInputs
from psap.pruning.budget import ChannelBounds, solve_counts
from psap.pruning.cost import CostModel, Measure
from psap.pruning.criteria import Channels, Criterion
from psap.pruning.graph.groups import Group
from psap.pruning.sparsity import NoSparsity


def pruning_order(scores: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Channels in the order in which they are pruned, shape (C,): `first`, then by score, `last` at the end.

    Protected channels go last rather than never, so that a step meets its target even where protection is wide.
    """
    by_score = scores.argsort(stable=True)
    rank = torch.ones_like(by_score)
    rank[first], rank[last & ~first] = 0, 2
    return by_score[rank[by_score].argsort(stable=True)]


@dataclass(frozen=True)
class Selection:
    """Channels to prune (bool masks (C_g,)), and the groups' weight sparsity ratios (empty if not asked)."""

    masks: list[Tensor]
    sparsity: list[float]


@dataclass(frozen=True)
class Rule:
    """What a method selects by. `alpha`: exponent by which a group's ratio follows its sparsity."""

    criterion: Criterion
    allocation: Allocation
    sparsity: NoSparsity
    bounds: ChannelBounds
    alpha: float


class Selector:
    """Selects channels of fixed groups by a fixed rule."""

    def __init__(self, groups: Sequence[Group], cost: CostModel, rule: Rule, measure: Measure, seed: int) -> None:
        self._groups, self._cost, self._rule = groups, cost, rule
        self._measure: Measure = measure
        self._generator = torch.Generator().manual_seed(seed)

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
                    self._generator,
                )
            )
            for group in self._groups
        ]

    def select(
        self,
        scores: Sequence[Tensor],
        target: float,
        pruned: Sequence[Tensor],
        *,
        first: Sequence[Tensor],
        last: Sequence[Tensor],
        staying: Sequence[Tensor],
    ) -> Selection:
        """Select so that removing the selection meets `target`.

        Args:
            scores: of every channel, (C_g,) for each group; the lowest are selected.
            target: share of the measure to remove.
            pruned: masks (C_g,) of the channels pruned now.
            first: masks of the channels that are selected before all others.
            last: masks of those that are selected after all others.
            staying: masks of those that no step gives back.
        """
        scores = [score.detach().double().cpu() for score in scores]
        sparsity = self._rule.sparsity.ratios(self._groups, pruned)
        ranked = [pruning_order(*channels) for channels in zip(scores, first, last, strict=True)]
        ordered = self._cost.order(ranked)
        comparable = self._rule.criterion.comparable
        inputs = AllocationInputs(
            [score if comparable else score / score.mean().clamp(min=1e-300) for score in scores],
            torch.tensor(sparsity),
            self._rule.alpha,
        )
        counts = solve_counts(
            self._rule.allocation(inputs),
            lambda counts: ordered.reduction(counts, self._measure),
            [group.channels for group in self._groups],
            self._rule.bounds.at_least(torch.tensor([int(mask.sum()) for mask in staying])),
            target,
        )
        masks = [torch.zeros_like(mask) for mask in pruned]
        for mask, channels, count in zip(masks, ranked, counts, strict=True):
            mask[channels[:count]] = True
        return Selection(masks, sparsity)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs: the sparsity's threshold, and where the random numbers are."""
        return {"sparsity": self._rule.sparsity.state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a `state_dict()`."""
        self._rule.sparsity.load_state_dict(state["sparsity"])
        self._generator.set_state(state["generator"].cpu())

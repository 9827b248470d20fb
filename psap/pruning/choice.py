"""Which channels a pruning step chooses: scores, weight sparsity ratios, allocation and budget put together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from psap.pruning.allocation import (
    ALLOCATIONS,
    Evidence,
    group_threshold,
    model_threshold,
    weight_sparsity,
)
from psap.pruning.budget import Limits, check_reachable, limits, solve
from psap.pruning.cost import CostModel, Measure
from psap.pruning.criteria import CRITERIA, Channels
from psap.pruning.groups import Group, summary
from psap.pruning.method import Method
from psap.pruning.reconstruction import order


@dataclass(frozen=True)
class Choice:
    """Channels to prune (bool masks (C_g,)), and the groups' weight sparsity ratios (empty if not asked)."""

    masks: list[Tensor]
    sparsity: list[float]


class Chooser:
    """Chooses channels for a fixed method on fixed groups."""

    def __init__(self, groups: Sequence[Group], cost: CostModel, method: Method, measure: Measure, seed: int) -> None:
        self._groups, self._cost, self._method = groups, cost, method
        self._measure: Measure = measure
        self._generator = torch.Generator().manual_seed(seed)
        self._tau: float | None = None

    def bounds(self) -> Limits:
        """How many channels each group may lose: within the method's bounds, and only channels that it can judge."""
        channels = [group.channels for group in self._groups]
        bounds = self._method.bounds
        return limits(channels, self._judged(), bounds.min_ratio, bounds.max_ratio, self._method.round_to)

    def check_reachable(self, target: float, refused: Sequence[Group]) -> None:
        """Raise PsapError, with what holds it, unless the bounds can meet `target`; `refused` are the other groups."""
        reason = f"the criterion {self._method.criterion} needs batch-norm scales"
        judged = self._judged()
        unjudged = [replace(group, reason=reason) for group, size in zip(self._groups, judged, strict=True) if not size]
        any_order = self._cost.order([torch.arange(group.channels) for group in self._groups])
        check_reachable(
            target,
            lambda counts: any_order.reduction(counts, self._measure),
            self.bounds(),
            [max(size - 1, 0) for size in judged],
            self._measure,
            summary([*refused, *unjudged]),
        )

    def _judged(self) -> list[int]:
        """How many channels of each group the criterion knows something of: all or none."""
        needs_scales = CRITERIA[self._method.criterion].needs_scales
        return [0 if needs_scales and group.scales() is None else group.channels for group in self._groups]

    def scores(self) -> list[Tensor]:
        """Score of every channel now, shape (C_g,) for each group, on the model's device."""
        criterion = CRITERIA[self._method.criterion]
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

    def choose(
        self, scores: Sequence[Tensor], target: float, pruned: Sequence[Tensor], protected: Sequence[Tensor]
    ) -> Choice:
        """Choose so that removing the choice meets `target`; `pruned` and `protected` are masks (C_g,).

        What is held at zero is chosen first; under hard reconstruction it stays pruned for good.
        """
        hard = self._method.reconstruction == "hard"
        held = hard or self._method.holds
        scores = [score.detach().double().cpu() for score in scores]
        sparsity = self._sparsity(pruned) if self._method.reads_sparsity else []
        ranked = [
            order(score, mask if held else torch.zeros_like(mask), keep)
            for score, mask, keep in zip(scores, pruned, protected, strict=True)
        ]
        ordered = self._cost.order(ranked)
        comparable = CRITERIA[self._method.criterion].comparable
        evidence = Evidence(
            [score if comparable else score / score.mean().clamp(min=1e-300) for score in scores],
            torch.tensor(sparsity),
            self._method.sparsity.alpha,
        )
        counts = solve(
            ALLOCATIONS[self._method.allocation](evidence),
            lambda counts: ordered.reduction(counts, self._measure),
            [group.channels for group in self._groups],
            self._held(pruned) if hard else self.bounds(),
            target,
        )
        masks = [torch.zeros_like(mask) for mask in pruned]
        for mask, channels, count in zip(masks, ranked, counts, strict=True):
            mask[channels[:count]] = True
        return Choice(masks, sparsity)

    def _held(self, pruned: Sequence[Tensor]) -> Limits:
        bounds = self.bounds()
        already = torch.tensor([int(mask.sum()) for mask in pruned])
        return Limits(torch.maximum(bounds.fewest, already), torch.maximum(bounds.most, already), bounds.step)

    def _sparsity(self, pruned: Sequence[Tensor]) -> list[float]:
        """Weight sparsity ratio of every group. The threshold of scale `model` is fixed at the first call: a quantile
        taken anew would fall to 0 once enough weights are zero, and every ratio with it."""
        settings = self._method.sparsity
        live = [
            group.filters()[~mask.to(group.weights[0].tensor.device)] if settings.live_only else group.filters()
            for group, mask in zip(self._groups, pruned, strict=True)
        ]
        if settings.scale == "group":
            return [weight_sparsity(w, group_threshold(w, settings.multiple)) for w in live]
        if self._tau is None:
            self._tau = model_threshold(live, settings.quantile)
        return [weight_sparsity(w, self._tau) for w in live]

    def state_dict(self) -> dict[str, Any]:
        """The threshold fixed at the first step, and where the random numbers are."""
        return {"tau": self._tau, "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict()`."""
        self._tau = state["tau"]
        self._generator.set_state(state["generator"].cpu())

"""Convolutions whose weights are standardised over all that they read (weight standardisation, arXiv:1903.10520).

Without one of its inputs such a layer's weights have another mean and variance, so that a zeroed channel is not a
removed one for those who read it. `read_only` lets the layer standardise over the channels that are kept.
"""

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from psap.pruning.graph.members import cut
from psap.pruning.graph.norms import KeptOnly, restore


def is_standardised(module: Any) -> bool:
    """Whether a module is such a convolution of timm."""
    return isinstance(module, nn.Conv2d) and "StdConv" in type(module).__name__  # importing timm takes long


def reads_together(module: Any) -> bool:
    """Whether such a convolution looks at all of its inputs together: of a grouped one each group goes as a whole."""
    return is_standardised(module) and module.groups == 1


class _ReadsOnly(KeptOnly):
    """A hook by which a convolution reads the channels `kept` alone."""

    def __call__(self, conv: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        kept = self.kept.to(output.device)
        own: dict[str, Tensor] = dict(conv.named_parameters(recurse=False))
        own["weight"] = own["weight"].index_select(1, kept)
        found: Tensor = functional_call(self.small, own, (inputs[0].index_select(1, kept),))
        return found

    def lose(self, removed: list[int]) -> None:
        cut(self.small, "weight", 1, removed)
        vars(self.small)["in_channels"] = len(self.kept)


def read_only(conv: nn.Module, keep: Tensor) -> None:
    """Let `conv` standardise its weights over the input channels in `keep`, bool (C,), and read no others."""
    restore(conv)
    if not bool(keep.all()):
        conv.register_forward_hook(_ReadsOnly(conv, keep))

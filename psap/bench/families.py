"""timm's networks by family, each family with its smallest member."""

import re
from collections import defaultdict
from typing import NamedTuple

import timm
import torch

# Parts of a name that say how large a member is, not what it is.
_SIZES = frozenset(
    [
        "zepto",
        "atto",
        "femto",
        "pico",
        "nano",
        "xxtiny",
        "xtiny",
        "tiny",
        "mini",
        "xsmall",
        "small",
        "medium",
        "mediumd",
        "base",
        "large",
        "xlarge",
        "xxlarge",
        "huge",
        "giant",
        "giantopt",
        "gigantic",
        "enormous",
        "big",
        "plus",
        "xx",
        "xxs",
        "xs",
        "xl",
        "xxl",
        "ti",
        "little",
        "betwixt",
        "wee",
        "dwee",
        "pwee",
        "dpwee",
        "dlittle",
        "so",
        "kobe",
        "short",
        "tall",
        "wide",
    ]
)
# A part ends at its first number: vit_base_patch16_224, resnet50d. Not after v (resnetv2), nor within a word (res2net).
_NUMBER = re.compile(r"(?<!v)\d+(?![a-z]{3}).*$")


class Family(NamedTuple):
    """A family of timm's networks: its name, how many members it has, the smallest of them and its parameters."""

    name: str
    members: int
    smallest: str
    parameters: int


def family_of(network: str) -> str:
    """The name of the network's family: its own without numbers, words for sizes and single letters after the first."""
    first, *rest = (_NUMBER.sub("", part) for part in network.split("_"))
    return "_".join([first, *(part for part in rest if len(part) > 1 and part not in _SIZES)])


def families() -> list[Family]:
    """All families of `timm.list_models()`, by name. The smallest member is the one with the fewest parameters."""
    members: dict[str, list[str]] = defaultdict(list)
    for network in timm.list_models():
        members[family_of(network)].append(network)
    found = []
    for name, networks in sorted(members.items()):
        parameters, smallest = min((_parameters(network), network) for network in networks)
        found.append(Family(name, len(networks), smallest, parameters))
    return found


def _parameters(network: str) -> int:
    with torch.device("meta"):  # shapes alone: nothing is allocated or drawn
        return sum(parameter.numel() for parameter in timm.create_model(network).parameters())

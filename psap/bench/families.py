"""timm's networks by family, and torchvision's one by one."""

import re
from collections import defaultdict

import timm

from psap.bench.networks import parameters, torchvision_networks

# Parts of a name that say how large a network is, not what it is: words for sizes, and single letters.
_SIZE = re.compile(
    "[a-z]?|x*(tiny|small|large|s|l)?|ti|zepto|atto|femto|pico|nano|mini|mediumd?|base|huge|giant(opt)?|gigantic|enormous|"
    "big|plus|so|kobe|d?little|betwixt|[dp]*wee|short|tall|wide"
)
# A part ends at its first number: vit_base_patch16_224, resnet50d. Not after v (resnetv2), nor within a word (res2net).
_NUMBER = re.compile(r"(?<!v)\d+(?![a-z]{3}).*$")


def family_of(network: str) -> str:
    """The name of the network's family: its own, whose parts end at their first number, without parts for sizes."""
    first, *rest = (_NUMBER.sub("", part) for part in network.split("_"))
    return "_".join([first, *(part for part in rest if not _SIZE.fullmatch(part))])


def families() -> dict[str, list[str]]:
    """The networks of `timm.list_models()` by their family, and each of torchvision's, in alphabetical order."""
    members: dict[str, list[str]] = defaultdict(list)
    for network in timm.list_models():
        members[family_of(network)].append(network)
    return dict(sorted((members | {network: [network] for network in torchvision_networks()}).items()))


def smallest(networks: list[str]) -> tuple[str, int]:
    """The network with the fewest parameters, and how many it has."""
    least, network = min((parameters(network), network) for network in networks)
    return network, least

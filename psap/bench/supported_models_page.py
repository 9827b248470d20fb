"""The page of `docs/` that a coverage table becomes."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from psap.bench.support import TARGETS, TOLERANCE, column
from psap.utils.text import table

# The first three are of networks that could be built.
_OUTCOMES = ("pruned", "refused", "failed", "not built", "not tried")
Cells = Mapping[str, str]  # a row of the table, every cell as text

_TEXT = """# Which networks can be pruned

Made by `psap bench coverage`, which goes on where it was stopped; `coverage.csv` has the same as data. A row is a
family of the networks of the installed timm: those of one name, once every part of a name ends at its first number and
parts that say a size are left out (`resnet50d` is a `resnet`, `vit_base_patch16_224` a `vit_patch`). The member with
the fewest parameters is built, with fresh weights and without downloads, for the smallest image size that it takes, of
a few.

Before pruning, all parameters that a fresh network has alike (biases, shifts, scales, layer scales) and the statistics
of batch-norms get random values. All channels of all groups are banked, zeroed and given back, which must change
nothing. Then it is pruned by PSAP while it trains, in three steps with two iterations on noise after each, by 30 % and
by 50 % of its multiply-adds: once in each reading of protection (before the choice, with the rest held; after it by the
gradient of the weights, and by that of gates), and compacted. "Restored" is the number of channels that came back on
the way, in all six trainings. The outputs of masked and compacted network are compared in eval mode and float64 on
images that the pruner has not seen, and so are those of the compacted network and of what is loaded when it is saved.
"Pruned" says that the first two differ by at most {tolerance:g} of the largest output and of what pruning changed in
it ("change"), and the last two not at all, in all three readings. Where a family is pruned and "restored" is empty, the
row is of an earlier check, in which the network was pruned at once, without training. Residual streams
through LayerNorm, attention and grouped convolutions keep their channels, each group for its reason; the others are
pruned. A target that they cannot reach is refused.

## Counts

{counts}

Why groups stay whole in the families where a target is refused (a family can have several reasons):

{reasons}

## Families

{rows}
"""
_HEADER = ("family", "network", "input", "prunable / all groups", *(f"{target:g}" for target in TARGETS))
_HEADER += ("restored", "difference", "change", "why not")


def render(rows: Sequence[Cells]) -> str:
    """The page of the table `rows`."""
    lines = [
        [row["family"], row["network"], row["input"], _groups(row)]
        + [row[column(target)] for target in TARGETS]
        + [row["restored"], row["difference"], row["change"], row["reason"].replace("|", "/")]
        for row in rows
    ]
    numbers = [[what, *map(str, values)] for what, values in count(rows).items()]
    why = Counter(reason for row in rows for reason in _reasons(row))
    return _TEXT.format(
        tolerance=TOLERANCE,
        counts=table(("families", *(f"at {target:g}" for target in TARGETS)), numbers),
        reasons=table(("families", "reason"), [[str(number), reason] for reason, number in why.most_common()]),
        rows=table(_HEADER, lines),
    )


def count(rows: Sequence[Cells]) -> dict[str, list[int]]:
    """How many families there are and have been built, and how many came to each outcome, for each target."""
    outcomes = [Counter(row[column(target)] for row in rows) for target in TARGETS]
    built = [sum(found[outcome] for outcome in _OUTCOMES[:3]) for found in outcomes]
    each = {what: [found[what] for found in outcomes] for what in _OUTCOMES}
    return {"all": [len(rows)] * len(TARGETS), "built": built, **each}


def _groups(row: Cells) -> str:
    return f"{row['prunable']} / {row['groups']}" if row["groups"] else ""


def _reasons(row: Cells) -> set[str]:
    """The reasons in brackets, each after the groups that it holds for."""
    if "refused" not in {row[column(target)] for target in TARGETS}:
        return set()
    inner = re.search(r"\((.*)\)$", row["reason"])
    return {part.rpartition(": ")[2] for part in inner[1].split("; ")} if inner else {row["reason"]}

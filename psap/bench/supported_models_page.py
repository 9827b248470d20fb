"""The page of `docs/` that a coverage table becomes."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from psap.bench.networks import TORCHVISION
from psap.bench.support import TARGETS, TOLERANCE, column, through_norms
from psap.utils.text import table

# The first three are of networks that could be built.
_OUTCOMES = ("pruned", "refused", "failed", "not built", "not tried")
Cells = Mapping[str, str]  # a row of the table, every cell as text

_TEXT = """# Coverage

Of timm's families that build here, {timm}.
Of torchvision's networks for classification, segmentation and detection, {torchvision}.
Each of the others has its reason. [coverage.csv](coverage.csv) has a row for every family, and for every network of
torchvision.

## Counts

{counts}

The last row counts networks that were refused, and are pruned where [`through_norms`](prune.md) allows groups whose
channels pass LayerNorm, RMSNorm or GroupNorm. Such a group is exact in a weaker sense: the norm's statistics leave the
pruned channels out, in the masked network as in the compacted one.

Reasons why groups stay whole, where a target is refused. A network can have several:

{reasons}

## Procedure

```sh
psap bench coverage     # resumes where it was stopped
```

A family holds the networks of the installed timm with one name. Each part of a name ends at its first number, and
parts that say a size are left out: `resnet50d` is a `resnet`, `vit_base_patch16_224` a `vit_patch`. The member with
the fewest parameters is built, with fresh weights and without downloads. Its images have the smallest of a few sizes
that it takes.

1. Parameters that a fresh network has alike (biases, shifts, scales, layer scales) get random values, and so do the
   statistics of batch-norm. A detector is compared before it chooses boxes.
2. All channels of all groups are backed up, zeroed and restored. This must change nothing.
3. PSAP prunes the network while it trains, in three steps with two iterations on noise after each. It does so once in
   each of three readings: PSAP's default, and protection after the selection by the gradient of the weights and by
   that of gates.
4. The network is compacted, saved and loaded. Outputs are compared in eval mode and float64, on images that the pruner
   has not seen.

## Columns of coverage.csv

| column | meaning |
| --- | --- |
| `prunable`, `groups` | groups that can be pruned, and all groups |
| {columns} | `pruned`, `refused`, `failed`, `not built` or `not tried` |
| `streams` | groups whose channels pass norms, counted where a target is refused |
| {through} | what becomes of a refused target when these are pruned too |
| `restored` | channels that came back, in all six trainings; empty after an earlier check without training |
| `difference` | largest difference between the outputs of both networks, as a share of the largest output |
| `change` | smallest difference that pruning made in the outputs, as the same share |
| `reason` | why a target is refused, or a network not tried |

`pruned` says two things, for all three readings. `difference`, between the masked and the compacted network, is at
most {tolerance:g}, also as a share of `change`. And the loaded network does not differ from the compacted one at all.
A target that the groups cannot reach is refused.
"""


def render(rows: Sequence[Cells]) -> str:
    """The page of the table `rows`."""
    by_library = {library: count(of_library(rows, library)) for library in ("timm", "torchvision")}
    why = Counter(reason for row in rows for reason in _reasons(row))
    header = ("", *(f"{library} at {target:g}" for library in by_library for target in TARGETS))
    timm, torchvision = by_library.values()
    return _TEXT.format(
        timm=_pruned(timm),
        torchvision=_pruned(torchvision),
        counts=table(header, [[what, *map(str, timm[what] + torchvision[what])] for what in timm]),
        reasons=table(("networks", "reason"), [[str(number), reason] for reason, number in why.most_common()]),
        columns=", ".join(f"`{column(target)}`" for target in TARGETS),
        through=", ".join(f"`{through_norms(target)}`" for target in TARGETS),
        tolerance=TOLERANCE,
    )


def of_library(rows: Sequence[Cells], library: str) -> list[Cells]:
    """The rows of `"timm"` or of `"torchvision"`."""
    return [row for row in rows if row["family"].startswith(TORCHVISION) == (library == "torchvision")]


def _pruned(numbers: Mapping[str, list[int]]) -> str:
    return " and ".join(
        f"{pruned} of {built} can be pruned by {target * 100:g} %"
        for target, pruned, built in zip(TARGETS, numbers["pruned"], numbers["built"], strict=True)
    )


def count(rows: Sequence[Cells]) -> dict[str, list[int]]:
    """How many rows there are and could be built, and how many came to each outcome, for each target."""
    outcomes = [Counter(row[column(target)] for row in rows) for target in TARGETS]
    built = [sum(found[outcome] for outcome in _OUTCOMES[:3]) for found in outcomes]
    each = {what: [found[what] for found in outcomes] for what in _OUTCOMES}
    through = [sum(row[through_norms(target)] == "pruned" for row in rows) for target in TARGETS]
    return {"all": [len(rows)] * len(TARGETS), "built": built, **each, "pruned through norms": through}


def _reasons(row: Cells) -> set[str]:
    """The reasons in brackets, each after the groups that it holds for."""
    if "refused" not in {row[column(target)] for target in TARGETS}:
        return set()
    inner = re.search(r"\((.*)\)$", row["reason"])
    return {part.rpartition(": ")[2] for part in inner[1].split("; ")} if inner else {row["reason"]}

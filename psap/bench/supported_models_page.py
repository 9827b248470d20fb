"""The page of `docs/` that a coverage table becomes."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from psap.bench.support import TARGETS, TOLERANCE, column
from psap.utils.text import table

# The first three are of networks that could be built.
_OUTCOMES = ("pruned", "refused", "failed", "not built", "not tried")
Cells = Mapping[str, str]  # a row of the table, every cell as text

_TEXT = """# Coverage

Of timm's families that build here, {pruned}.
Each of the others has its reason. [coverage.csv](coverage.csv) has a row for every family.

## Counts

{counts}

Reasons why groups stay whole, in the families where a target is refused. A family can have several:

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
   statistics of batch-norm.
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
| `restored` | channels that came back, in all six trainings; empty after an earlier check without training |
| `difference` | largest difference between the outputs of both networks, as a share of the largest output |
| `change` | smallest difference that pruning made in the outputs, as the same share |
| `reason` | why a target is refused, or a network not tried |

`pruned` says two things, for all three readings. `difference`, between the masked and the compacted network, is at
most {tolerance:g}, also as a share of `change`. And the loaded network does not differ from the compacted one at all.
Residual streams through LayerNorm keep their channels, and so did attention and grouped convolutions when this was
measured; the other groups are pruned. A target that these cannot reach is refused.
"""


def render(rows: Sequence[Cells]) -> str:
    """The page of the table `rows`."""
    numbers = count(rows)
    why = Counter(reason for row in rows for reason in _reasons(row))
    at = [
        f"{pruned} of {built} can be pruned by {target * 100:g} %"
        for target, pruned, built in zip(TARGETS, numbers["pruned"], numbers["built"], strict=True)
    ]
    return _TEXT.format(
        pruned=" and ".join(at),
        counts=table(
            ("families", *(f"at {target:g}" for target in TARGETS)),
            [[what, *map(str, values)] for what, values in numbers.items()],
        ),
        reasons=table(("families", "reason"), [[str(number), reason] for reason, number in why.most_common()]),
        columns=", ".join(f"`{column(target)}`" for target in TARGETS),
        tolerance=TOLERANCE,
    )


def count(rows: Sequence[Cells]) -> dict[str, list[int]]:
    """How many families there are and have been built, and how many came to each outcome, for each target."""
    outcomes = [Counter(row[column(target)] for row in rows) for target in TARGETS]
    built = [sum(found[outcome] for outcome in _OUTCOMES[:3]) for found in outcomes]
    each = {what: [found[what] for found in outcomes] for what in _OUTCOMES}
    return {"all": [len(rows)] * len(TARGETS), "built": built, **each}


def _reasons(row: Cells) -> set[str]:
    """The reasons in brackets, each after the groups that it holds for."""
    if "refused" not in {row[column(target)] for target in TARGETS}:
        return set()
    inner = re.search(r"\((.*)\)$", row["reason"])
    return {part.rpartition(": ")[2] for part in inner[1].split("; ")} if inner else {row["reason"]}

"""What a claim compares: from pairs of runs to one difference a cell.

A pair is a row with CELL and, for each of VALUES, the method's (`_x`) and the other's (`_y`).
A contrast turns pairs into a table of some of CELL's columns and `value`, the difference in points.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from psap.analysis.rules import Rules

VALUES = ["top1_last", "drop", "macs_reduction"]
CELL = ["model", "init", "target", "seed"]


def accuracy(pairs: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """Difference of top-1 in each cell."""
    return pairs[CELL].assign(value=pairs["top1_last_x"] - pairs["top1_last_y"])


def compression(pairs: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """Difference of the reductions [%] that cost rules.tolerated_drop, in each (model, init, seed) that tells both."""
    keys, found = ["model", "init", "seed"], []
    for place, cells in pairs.groupby(keys):
        mine, theirs = (
            reduction_at(cells[f"macs_reduction_{side}"].tolist(), cells[f"drop_{side}"].tolist(), rules.tolerated_drop)
            for side in "xy"
        )
        if mine is not None and theirs is not None:
            found.append((*place, 100 * (mine - theirs)))
    return pd.DataFrame(found, columns=[*keys, "value"])


def reduction_at(reductions: Sequence[float], drops: Sequence[float], tolerated: float) -> float | None:
    """The reduction at which the drop first exceeds `tolerated`, on straight lines from dense; None if it never does.

    Dense is a reduction of 0 with a drop of 0.
    """
    order = np.argsort(reductions)
    x, y = (np.concatenate([[0.0], np.asarray(values, dtype=float)[order]]) for values in (reductions, drops))
    # The slack absorbs the rounding of a drop that is exactly what is tolerated.
    beyond = np.flatnonzero(y > tolerated + 1e-9)
    if not len(beyond):
        return None
    end = beyond[0]
    return float(np.interp(tolerated, y[end - 1 : end + 1], x[end - 1 : end + 1]))


def more_at_high_ratio(pairs: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """Advantage at high targets minus that at the others, in each (model, init, seed) that has both."""
    return _excess(accuracy(pairs, rules), pairs["target"] >= rules.high_ratio, ["model", "init", "seed"])


def more_from_scratch(pairs: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """Advantage from scratch minus that from pretrained, in each (model, target, seed) that has both."""
    return _excess(accuracy(pairs, rules), pairs["init"] == "scratch", ["model", "target", "seed"])


def _excess(cells: pd.DataFrame, inside: "pd.Series[bool]", keys: list[str]) -> pd.DataFrame:
    high, low = (cells[side].groupby(keys)["value"].mean().reset_index() for side in (inside, ~inside))
    both = pd.merge(high, low, on=keys)
    return both[keys].assign(value=both["value_x"] - both["value_y"])

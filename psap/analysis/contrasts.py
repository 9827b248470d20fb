"""What a claim compares: from pairs of runs to one difference a cell.

A pair is a row with CELL and, for each of VALUES, the method's (`_x`) and the other's (`_y`).
A contrast turns pairs into a table of some of CELL's columns and `value`, the difference in points.
"""

import pandas as pd

HIGH_RATIO = 0.8
TOLERATED_DROP = 1.0  # points of top-1
VALUES = ["top1_last", "drop", "macs_reduction"]
CELL = ["model", "init", "target", "seed"]


def accuracy(pairs: pd.DataFrame) -> pd.DataFrame:
    """Difference of top-1 in each cell."""
    return pairs[CELL].assign(value=pairs["top1_last_x"] - pairs["top1_last_y"])


def compression(pairs: pd.DataFrame) -> pd.DataFrame:
    """Difference of the largest reduction [%] within TOLERATED_DROP of dense, in each (model, init, seed)."""
    keys = ["model", "init", "seed"]
    pairs = pairs[CELL].assign(
        # The slack absorbs the rounding of a drop of exactly one point.
        x=100 * pairs["macs_reduction_x"].where(pairs["drop_x"] <= TOLERATED_DROP + 1e-9, 0.0),
        y=100 * pairs["macs_reduction_y"].where(pairs["drop_y"] <= TOLERATED_DROP + 1e-9, 0.0),
    )
    largest = pairs.groupby(keys, as_index=False)[["x", "y"]].max()
    return largest[keys].assign(value=largest["x"] - largest["y"])


def more_at_high_ratio(pairs: pd.DataFrame) -> pd.DataFrame:
    """Advantage at high targets minus that at the others, in each (model, init, seed) that has both."""
    return _excess(accuracy(pairs), pairs["target"] >= HIGH_RATIO, ["model", "init", "seed"])


def more_from_scratch(pairs: pd.DataFrame) -> pd.DataFrame:
    """Advantage from scratch minus that from pretrained, in each (model, target, seed) that has both."""
    return _excess(accuracy(pairs), pairs["init"] == "scratch", ["model", "target", "seed"])


def _excess(cells: pd.DataFrame, inside: "pd.Series[bool]", keys: list[str]) -> pd.DataFrame:
    high, low = (cells[side].groupby(keys)["value"].mean().reset_index() for side in (inside, ~inside))
    both = pd.merge(high, low, on=keys)
    return both[keys].assign(value=both["value_x"] - both["value_y"])
